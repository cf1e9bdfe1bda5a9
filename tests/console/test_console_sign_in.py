"""Local accounts: passwords, throttling, sessions and what the audit log has of them."""

import pytest
from console_support import door_of

from gateway.console.passwords import matches, new_password
from gateway.console.roles import Role
from gateway.domain.errors import RequestError
from gateway.domain.event import EventType
from gateway.domain.text import Secret

PASSWORD = "a long enough password"


@pytest.fixture
def account(stage):
    return stage.parts.accounts.add("zoe", Secret(PASSWORD), roles=[Role.REVIEWER], tenants=["acme"], now=stage.clock())


async def sign_in(browser, name: str = "zoe", password: str = PASSWORD, back: str = "/console"):
    door = door_of(await browser.get("/sign-in"))
    return await browser.post("/sign-in", {"door": door, "name": name, "password": password, "back": back})


async def test_the_right_password_opens_a_session(stage, account) -> None:
    browser = stage.browser()
    answer = await sign_in(browser, back="/console/cases?queue=credit")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/cases?queue=credit")
    cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith("gateway_console="))
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert (await browser.get("/cases")).status_code == 200
    (draft,) = stage.audit.drafts
    assert draft.type is EventType.CONSOLE_SIGNED_IN
    assert (draft.body["by"], draft.body["roles"], draft.tenant) == ("password", ["reviewer"], "acme")


@pytest.mark.parametrize(
    ("name", "password"), [("zoe", "nonsense"), ("nobody", PASSWORD), ("", ""), ("zoe", "x" * 9999)]
)
async def test_anything_else_does_not_and_is_recorded(stage, account, name: str, password: str) -> None:
    browser = stage.browser()
    answer = await sign_in(browser, name, password)
    assert answer.status_code == 401
    assert "Name or password is wrong." in answer.text
    assert "gateway_console" not in browser.cookies
    assert stage.audit.types == [EventType.CONSOLE_SIGN_IN_FAILED]
    assert password not in answer.text or not password


async def test_a_disabled_account_is_as_unknown(stage, account) -> None:
    stage.parts.accounts.disable("zoe", now=stage.clock())
    assert (await sign_in(stage.browser())).status_code == 401


async def test_a_session_does_not_open_that_cannot_be_recorded(stage, account) -> None:
    browser = stage.browser()
    stage.audit.fail_on = EventType.CONSOLE_SIGNED_IN
    assert (await sign_in(browser)).status_code == 503
    assert "gateway_console" not in browser.cookies
    assert stage.parts.db.all("SELECT * FROM sessions") == []


async def test_the_id_is_fresh_whatever_the_browser_brings(stage, account) -> None:
    """Session fixation: a planted cookie is worth nothing after the sign-in."""
    browser = await stage.signed_in("mallory", "reviewer")
    planted = browser.cookies["gateway_console"]
    browser.cookies["gateway_console"] = "A" * 43
    door = door_of(await browser.get("/sign-in"))
    await browser.post("/sign-in", {"door": door, "name": "zoe", "password": PASSWORD})
    assert browser.cookies["gateway_console"] not in (planted, "A" * 43)
    own = stage.browser()
    own.cookies["gateway_console"] = "A" * 43
    assert (await own.get("/cases")).status_code == 303


@pytest.mark.parametrize("door", ["", "0" * 64, "é"])
async def test_a_form_of_another_browser_signs_nobody_in(stage, account, door: str) -> None:
    browser = stage.browser()
    await browser.get("/sign-in")
    answer = await browser.post("/sign-in", {"door": door, "name": "zoe", "password": PASSWORD})
    assert answer.status_code == 403
    assert "gateway_console" not in browser.cookies


async def test_guessing_has_to_wait_and_waits_twice_as_long_each_time(stage, account) -> None:
    browser = stage.browser()
    assert [(await sign_in(browser, password="wrong")).status_code for _ in range(5)] == [401] * 5
    answer = await sign_in(browser)  # even with the right password
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert stage.audit.last["code"] == "throttled"
    stage.clock.forward(seconds=2)
    assert (await sign_in(browser, password="wrong")).status_code == 401
    assert (await sign_in(browser)).headers["retry-after"] == "4"
    stage.clock.forward(seconds=4)
    assert (await sign_in(browser)).status_code == 303
    assert (await sign_in(stage.browser())).status_code == 303  # forgotten


async def test_failures_store_no_names(stage, account) -> None:
    await sign_in(stage.browser(), name=PASSWORD, password="zoe")  # typed into the wrong field
    assert PASSWORD not in str(stage.parts.db.all("SELECT * FROM failures"))
    (draft,) = stage.audit.drafts
    assert PASSWORD not in repr(draft)


async def test_sessions_end_when_idle_and_after_a_day_at_work(stage, account) -> None:
    browser = stage.browser()
    await sign_in(browser)
    for _ in range(16):
        stage.clock.forward(minutes=29)
        assert (await browser.get("/cases")).status_code == 200
    stage.clock.forward(minutes=29)  # 8 h are over
    assert (await browser.get("/cases")).status_code == 303
    idle = stage.browser()
    await sign_in(idle)
    stage.clock.forward(minutes=31)
    assert (await idle.get("/cases")).status_code == 303


async def test_a_page_that_refreshes_itself_keeps_no_session_alive(stage, account) -> None:
    browser = stage.browser()
    await sign_in(browser)
    for _ in range(3):
        stage.clock.forward(minutes=9)
        assert (await browser.get("/cases", **{"x-gateway-poll": "1"})).status_code == 200
    stage.clock.forward(minutes=9)
    assert (await browser.get("/cases", **{"x-gateway-poll": "1"})).status_code == 303


async def test_what_was_typed_outlives_the_session(stage) -> None:
    case = await stage.open_case()
    zoe = await stage.signed_in("zoe", "reviewer")
    typed = {"text": "a long <b>text</b>"}
    assert "a long &lt;b&gt;text&lt;/b&gt;</textarea>" in (await zoe.act(case, "ask", typed, csrf="old")).text
    stage.clock.forward(hours=9)
    answer = await zoe.act(case, "ask", typed)
    assert answer.status_code == 401
    assert "a long &lt;b&gt;text&lt;/b&gt;</textarea>" in answer.text


async def test_signing_out_ends_the_session_everywhere(stage, account) -> None:
    browser = stage.browser()
    await sign_in(browser)
    kept = dict(browser.cookies)
    browser.csrf = stage.parts.sessions.find(kept["gateway_console"], now=stage.clock()).csrf
    assert (await browser.post("/sign-out")).headers["location"] == "/console/sign-in"
    assert stage.audit.types[-1] == EventType.CONSOLE_SIGNED_OUT
    thief = stage.browser()
    thief.cookies = kept
    assert (await thief.get("/cases")).status_code == 303


async def test_a_disabled_account_a_new_password_and_new_roles_count_at_once(stage, account) -> None:
    accounts, browser = stage.parts.accounts, stage.browser()
    await sign_in(browser)
    accounts.set_scope("zoe", roles=[Role.AUDITOR], tenants=["acme"])
    assert (await browser.get("/cases")).status_code == 403
    accounts.set_scope("zoe", roles=[Role.REVIEWER], tenants=["rival"])
    assert (await browser.get("/cases")).status_code == 200
    accounts.set_password("zoe", Secret("another password"))
    assert (await browser.get("/cases")).status_code == 303
    await sign_in(browser, password="another password")
    assert (await browser.get("/cases")).status_code == 200
    accounts.disable("zoe", now=stage.clock())
    assert (await browser.get("/cases")).status_code == 303


@pytest.mark.parametrize(
    ("name", "password", "roles", "tenants", "code"),
    [
        ("zoe", "x" * 12, [Role.REVIEWER], ["acme"], "account_exists"),
        ("a b", "x" * 12, [Role.REVIEWER], ["acme"], "invalid_name"),
        ("bram", "x" * 11, [Role.REVIEWER], ["acme"], "weak_password"),
        ("bram", "x" * 12, [], ["acme"], "invalid_roles"),
        ("bram", "x" * 12, [Role.REVIEWER], [], "invalid_tenants"),
        ("bram", "x" * 12, [Role.REVIEWER], [" acme"], "invalid_tenants"),
    ],
)
def test_accounts_that_cannot_be(stage, account, name, password, roles, tenants, code) -> None:
    with pytest.raises(RequestError) as error:
        stage.parts.accounts.add(name, Secret(password), roles=roles, tenants=tenants, now=stage.clock())
    assert error.value.code == code
    assert password not in error.value.message


def test_passwords_that_are_made_up_differ_and_fit() -> None:
    made = {new_password().reveal() for _ in range(50)}
    assert len(made) == 50
    assert all(len(one) == 20 for one in made)
    assert not matches(None, Secret(PASSWORD))
    assert not matches("not a hash", Secret(PASSWORD))
