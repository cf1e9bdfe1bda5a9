"""Sign-in at an identity provider, against a real one on loopback, with its attacks."""

from collections.abc import AsyncIterator

import pytest
from console_stage import OPENED, Stage, make_stage
from oidc_provider import Provider, callback, provider

from gateway.console.oidc import OidcClient
from gateway.domain.event import EventType
from gateway.domain.text import Secret
from gateway.settings import ConsoleSettings, GrantSettings, OidcSettings

CLIENT = "console"


@pytest.fixture
async def issuer() -> AsyncIterator[Provider]:
    async with provider() as made:
        made.now = int(OPENED.timestamp())
        yield made


@pytest.fixture
async def stage(tmp_path, issuer: Provider) -> AsyncIterator[Stage]:
    oidc = OidcSettings(
        issuer=issuer.issuer,
        client_id=CLIENT,
        timeout_s=5,
        grants=(
            GrantSettings(group="reviewers", roles=("reviewer",), tenants=("acme",)),
            GrantSettings(group="leads", roles=("lead",), tenants=("acme", "third")),
        ),
    )

    def client(clock) -> OidcClient:
        return OidcClient(
            oidc, secret=Secret("client secret"), redirect_uri="http://127.0.0.1:8080/console/callback", clock=clock
        )

    async for made in make_stage(tmp_path, ConsoleSettings(enabled=True, oidc=oidc), client):
        yield made


async def sign_in(browser, issuer: Provider):
    begun = await browser.get("/sign-in/provider?back=/console/cases%3Fqueue%3Dcredit")
    assert begun.status_code == 303
    return await browser.get(callback(issuer.authorise(begun.headers["location"])))


async def test_groups_become_roles_and_tenants(stage, issuer) -> None:
    browser = stage.browser()
    answer = await sign_in(browser, issuer)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/cases?queue=credit")
    assert (await browser.get("/cases")).status_code == 200
    session = stage.parts.sessions.find(browser.cookies["gateway_console"], now=stage.clock())
    assert (session.account, session.roles, session.tenants, session.local) == ("zoe", {"reviewer"}, ("acme",), False)
    assert session.groups == {"reviewers"}
    (draft,) = stage.audit.drafts
    assert (draft.type, draft.body["by"]) == (EventType.CONSOLE_SIGNED_IN, "oidc")


async def test_several_groups_add_up_and_one_may_be_a_string(stage, issuer) -> None:
    issuer.person["groups"] = ["reviewers", "leads", "others", 7]
    browser = stage.browser()
    await sign_in(browser, issuer)
    session = stage.parts.sessions.find(browser.cookies["gateway_console"], now=stage.clock())
    assert (session.roles, session.tenants) == ({"reviewer", "lead"}, ("acme", "third"))
    issuer.person["groups"] = "reviewers"
    assert (await sign_in(stage.browser(), issuer)).status_code == 303


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"nonce": "another"}, "oidc_nonce"),
        ({"nonce": None}, "oidc_nonce"),
        ({"nonce": 7}, "oidc_nonce"),
        ({"aud": "another"}, "oidc_id_token"),
        ({"aud": None}, "oidc_id_token"),
        ({"aud": ["console", "another"]}, "oidc_id_token"),
        ({"aud": ["console", "another"], "azp": "another"}, "oidc_id_token"),
        ({"azp": "another"}, "oidc_id_token"),
        ({"iss": "http://127.0.0.1:1"}, "oidc_id_token"),
        ({"iss": None}, "oidc_id_token"),
        ({"exp": int(OPENED.timestamp()) - 61}, "oidc_id_token"),
        ({"exp": None}, "oidc_id_token"),
        ({"exp": "tomorrow"}, "oidc_id_token"),
        ({"iat": int(OPENED.timestamp()) + 61}, "oidc_id_token"),
        ({"iat": None}, "oidc_id_token"),
        ({"nbf": int(OPENED.timestamp()) + 61}, "oidc_id_token"),
        ({"sub": None}, "oidc_id_token"),
        ({"sub": ""}, "oidc_id_token"),
        ({"sub": "zoe\nroot"}, "oidc_claims"),
        ({"groups": ["others"]}, "oidc_no_role"),
        ({"groups": None}, "oidc_no_role"),
        ({"groups": {"reviewers": True}}, "oidc_no_role"),
    ],
)
async def test_a_token_that_does_not_fit_signs_nobody_in(stage, issuer, claims: dict, code: str) -> None:
    issuer.claims = claims
    browser = stage.browser()
    answer = await sign_in(browser, issuer)
    assert answer.status_code == 403
    assert "gateway_console" not in browser.cookies
    (draft,) = stage.audit.drafts
    assert (draft.type, draft.body["code"]) == (EventType.CONSOLE_SIGN_IN_FAILED, code)


async def test_an_audience_of_several_with_us_as_the_client_is_right(stage, issuer) -> None:
    issuer.claims = {"aud": ["console", "another"], "azp": "console"}
    assert (await sign_in(stage.browser(), issuer)).status_code == 303


@pytest.mark.parametrize("how", ["unsigned", "with_public_key_as_secret", "with_a_key_of_its_own"])
async def test_a_forged_signature_signs_nobody_in(stage, issuer, how: str) -> None:
    issuer.sign = getattr(issuer, how)
    browser = stage.browser()
    assert (await sign_in(browser, issuer)).status_code == 403
    assert "gateway_console" not in browser.cookies
    assert stage.audit.last["code"] == "oidc_id_token"


@pytest.mark.parametrize("token", ["", "a.b.c", "not a token", "é" * 40, "{}"])
async def test_a_token_that_is_none(stage, issuer, token: str) -> None:
    issuer.sign = lambda _: token
    assert (await sign_in(stage.browser(), issuer)).status_code == 403


async def test_an_answer_of_another_issuer_is_not_taken(stage, issuer) -> None:
    """Mix-up: the browser was sent to one provider and comes back from another (RFC 9207)."""
    for said in ("http://127.0.0.1:1", ""):
        issuer.answer = {"iss": said}
        assert (await sign_in(stage.browser(), issuer)).status_code == 403
        assert stage.audit.last["code"] == "oidc_issuer"


async def test_a_provider_that_never_names_itself_in_answers_works(stage, issuer) -> None:
    issuer.names_issuer = False
    issuer.answer = {"iss": ""}
    assert (await sign_in(stage.browser(), issuer)).status_code == 303


async def test_a_state_counts_once_and_for_its_browser(stage, issuer) -> None:
    browser = stage.browser()
    begun = await browser.get("/sign-in/provider")
    answer = issuer.authorise(begun.headers["location"])
    victim = stage.browser()
    await victim.get("/sign-in")
    assert (await victim.get(callback(answer))).status_code == 403  # an attacker's answer in another browser
    assert (await browser.get(callback(answer))).status_code == 403  # … which used the state up
    begun = await browser.get("/sign-in/provider")
    answer = issuer.authorise(begun.headers["location"])
    assert (await browser.get(callback(answer))).status_code == 303
    replayed = await browser.get(callback(answer))
    assert replayed.status_code == 403
    assert "was not begun here" in replayed.text


@pytest.mark.parametrize("change", [{"state": "made up"}, {"state": ""}, {"code": "made up"}, {"code": ""}])
async def test_an_answer_that_was_not_asked_for(stage, issuer, change: dict[str, str]) -> None:
    issuer.answer = change
    browser = stage.browser()
    assert (await sign_in(browser, issuer)).status_code == 403
    assert "gateway_console" not in browser.cookies


async def test_an_attempt_lapses(stage, issuer) -> None:
    browser = stage.browser()
    begun = await browser.get("/sign-in/provider")
    stage.clock.forward(minutes=11)
    assert (await browser.get(callback(issuer.authorise(begun.headers["location"])))).status_code == 403


async def test_a_denial_is_told_without_its_text(stage, issuer) -> None:
    issuer.answer = {"code": "", "error": "access_denied", "error_description": "<script>alert(1)</script>"}
    answer = await sign_in(stage.browser(), issuer)
    assert answer.status_code == 403
    assert "The provider did not sign you in" in answer.text
    assert "alert(1)" not in answer.text


async def test_new_keys_of_the_provider_are_fetched(stage, issuer) -> None:
    assert (await sign_in(stage.browser(), issuer)).status_code == 303
    assert issuer.fetched_keys == 1
    assert (await sign_in(stage.browser(), issuer)).status_code == 303
    assert issuer.fetched_keys == 1
    issuer.rotate()
    assert (await sign_in(stage.browser(), issuer)).status_code == 303
    assert issuer.fetched_keys == 2


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"token_endpoint": "http://provider.example/token"},
        {"jwks_uri": None},
    ],
)
async def test_a_provider_that_is_not_the_configured_one_is_not_used(stage, issuer, discovery: dict) -> None:
    issuer.discovery = discovery
    answer = await stage.browser().get("/sign-in/provider")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text


async def test_a_provider_that_is_away_is_told(stage, issuer) -> None:
    issuer.token_status = 500
    answer = await sign_in(stage.browser(), issuer)
    assert answer.status_code == 403


async def test_the_page_offers_what_is_configured(stage) -> None:
    page = (await stage.browser().get("/sign-in?back=/console/cases")).text
    assert 'href="/console/sign-in/provider?back=/console/cases"' in page
    assert "Sign in with single sign-on" in page
    assert 'name="password"' in page
