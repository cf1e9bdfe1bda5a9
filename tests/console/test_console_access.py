"""Who gets to which page: roles, tenants, sessions, tokens, origins, hosts; and what every answer carries."""

import re

import pytest

from gateway.console.assets import HTMX_SHA256, load_assets
from gateway.console.guard import safe_back
from gateway.console.page import NAVIGATION
from gateway.console.roles import Role

PAGES = {
    # page: the roles that may open it
    "/cases": {"reviewer", "lead"},
    "/cases/{case}": {"reviewer", "lead"},
    "/cases/{case}/clock": {"reviewer", "lead"},
    "/quality": {"lead"},
    "/policies": {"author", "auditor", "admin"},
    "/policies/rules/C-003": {"author", "auditor", "admin"},
    "/policies/event": {"author", "auditor", "admin"},
    "/policies/explain": {"author"},
    "/sources": {"author", "auditor", "admin"},
    "/try": {"author", "admin"},
    "/overview": {"lead", "auditor", "admin"},
    "/audit": {"lead", "auditor", "admin"},
    "/audit/integrity": {"lead", "auditor", "admin"},
    "/account": set(Role),
}
ACTS = ("claim", "release", "approve", "refuse", "edit", "ask", "break-glass", "uphold", "first-view", "unmask", "mask")


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("path", PAGES)
async def test_each_page_opens_for_its_roles_alone(stage, path: str, role: Role) -> None:
    case = await stage.open_case()
    browser = await stage.signed_in("zoe", role)
    answer = await browser.get(path.format(case=case.id))
    assert answer.status_code == (200 if role in PAGES[path] else 403)
    assert ("this page is for the role" in answer.text.lower()) == (role not in PAGES[path])


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.AUTHOR, Role.ADMIN])
@pytest.mark.parametrize("act", ACTS)
async def test_nobody_else_acts_on_a_case(stage, act: str, role: Role) -> None:
    case = await stage.open_case()
    browser = await stage.signed_in("zoe", role)
    answer = await browser.act(case, act, {"code": "within_policy", "reason": "look", "view": "unsure"})
    assert answer.status_code == 403
    assert await stage.case(case) == case


async def test_every_route_says_whom_it_is_for(stage) -> None:
    """There is no default: what forgets to say so answers an error."""
    every = [handler for route in stage.app.routes for handler in route.route_handlers]
    handlers = [handler for handler in every if handler.http_methods & {"GET", "POST"}]
    assert len(handlers) > 12
    for handler in handlers:
        said = set(handler.opt) & {"roles", "open", "asset"}
        assert len(said) == 1, handler
        assert "roles" not in said or handler.opt["roles"] <= set(Role)


@pytest.mark.parametrize("path", PAGES)
async def test_without_a_session_every_page_leads_to_the_sign_in(stage, path: str) -> None:
    case = await stage.open_case()
    wanted = path.format(case=case.id)
    answer = await stage.browser().get(f"{wanted}?queue=a%26b")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/sign-in?back=%2Fconsole%2F")
    refreshed = await stage.browser().get(wanted, **{"hx-request": "true"})
    assert (refreshed.status_code, refreshed.headers["hx-redirect"]) == (401, "/console/sign-in")


@pytest.mark.parametrize("act", ACTS)
async def test_without_a_session_nothing_is_done(stage, act: str) -> None:
    case = await stage.open_case()
    answer = await stage.browser().act(case, act)
    assert answer.status_code == 401
    assert await stage.case(case) == case


@pytest.mark.parametrize("act", ["", "/clock", *(f"/{act}" for act in ACTS)])
async def test_a_case_of_another_tenant_is_not_there(stage, act: str) -> None:
    case = await stage.open_case(tenant="rival")
    browser = await stage.signed_in("zoe", "lead", tenants=("acme", "third"))
    if act in ("", "/clock"):
        answer = await browser.get(f"/cases/{case.id}{act}")
    else:
        answer = await browser.act(case, act[1:], {"code": "within_policy", "reason": "look", "view": "unsure"})
    missing = await browser.get("/cases/case_" + "0" * 32)
    assert answer.status_code == missing.status_code == 404
    assert "there is no such case" in answer.text.lower()
    assert await stage.case(case) == case
    assert case.id not in (await browser.get("/cases?view=all")).text
    assert case.id not in (await browser.get("/cases?view=all&tenant=rival")).text


async def test_somebody_of_several_tenants_sees_each(stage) -> None:
    first, second = await stage.open_case(1), await stage.open_case(2, tenant="third")
    browser = await stage.signed_in("zoe", "reviewer", tenants=("acme", "third"))
    listed = (await browser.get("/cases")).text
    assert first.id in listed
    assert second.id in listed
    assert first.id not in (await browser.get("/cases?tenant=third")).text


@pytest.mark.parametrize("token", ["", "x" * 43, "é"])
@pytest.mark.parametrize("act", ACTS)
async def test_a_form_without_the_sessions_token_does_nothing(stage, act: str, token: str) -> None:
    case = await stage.open_case()
    browser = await stage.signed_in("zoe", "lead")
    answer = await browser.act(case, act, {"code": "within_policy", "view": "unsure", "reason": "look"}, csrf=token)
    assert answer.status_code == 403
    assert "not of this session" in answer.text
    assert await stage.case(case) == case


async def test_a_token_of_another_session_is_no_token(stage) -> None:
    case = await stage.open_case()
    zoe, bram = await stage.signed_in("zoe", "lead"), await stage.signed_in("bram", "lead")
    answer = await zoe.act(case, "claim", csrf=bram.csrf)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:8080"}, 303),
        ({"origin": "https://127.0.0.1:8080"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:8080.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
    ],
)
async def test_a_form_from_another_site_does_nothing(stage, headers: dict[str, str], status: int) -> None:
    case = await stage.open_case()
    browser = await stage.signed_in("zoe", "reviewer")
    assert (await browser.act(case, "claim", **headers)).status_code == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("http://127.0.0.1:8080", 200),
        ("http://localhost:8080", 200),
        ("http://[::1]:8080", 200),
        ("http://gateway.example", 421),
        ("http://127.0.0.1.evil.example", 421),
    ],
)
async def test_without_a_public_address_only_loopback_is_served(stage, host: str, status: int) -> None:
    answer = await stage.browser(host=host).get("/sign-in")
    assert answer.status_code == status


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/console//evil.example",
        "/console/../v1/models",
        "/consolevil",
        "/v1/models",
        "/console/\n",
        "/console/cases é",
        "javascript:alert(1)",
        "",
    ],
)
async def test_nobody_is_sent_to_another_place(stage, back: str) -> None:
    assert safe_back(stage.parts, back) == "/console"
    browser = await stage.signed_in("zoe", "reviewer")
    answer = await browser.get("/sign-in?" + f"back={back}".replace("\n", "%0A").replace("\\", "%5C"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


@pytest.mark.parametrize("back", ["/console", "/console/cases", "/console/cases?queue=credit&mine=1"])
async def test_a_page_of_the_console_is_returned_to(stage, back: str) -> None:
    assert safe_back(stage.parts, back) == back


@pytest.mark.parametrize("path", ["/sign-in", "/cases", "/nothing", "/account", "/static/nothing.css"])
async def test_every_answer_carries_the_security_headers(stage, path: str) -> None:
    browser = await stage.signed_in("zoe", "admin")
    headers = (await browser.get(path)).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


async def test_pages_hold_no_inline_script_style_or_foreign_address(stage) -> None:
    case = await stage.open_case()
    browser = await stage.signed_in("zoe", "lead")
    await browser.act(case, "claim")
    for path in ("/sign-in", "/cases", f"/cases/{case.id}", "/account", "/nothing"):
        page = (await browser.get(path)).text
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:|hx-on|hx-vals", page), path
        assert re.findall(r"<script(?! src=\"/console/static/)", page) == []
        assert re.findall(r"(?:src|href|action)=\"(?!/console|#)[^\"]*\"", page) == []


async def test_assets_are_kept_for_good_and_change_their_name(stage) -> None:
    assets = load_assets()
    assert {"console.css", "console.js", "htmx.js", "icon.svg"} <= assets.names.keys()
    for name, asset in assets.served.items():
        answer = await stage.browser().get(f"/static/{name}")
        assert (answer.status_code, answer.content) == (200, asset.content)
        assert "immutable" in answer.headers["cache-control"]
        again = await stage.browser().get(f"/static/{name}", **{"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert len(HTMX_SHA256) == 64


@pytest.mark.parametrize("path", ["/static/console.css", "/static/..%2Fapp.py", "/static/../app.py"])
async def test_no_other_file_is_served(stage, path: str) -> None:
    assert (await stage.browser().get(path)).status_code in (303, 404)


async def test_the_navigation_shows_what_may_be_opened(stage) -> None:
    for role in Role:
        browser = await stage.signed_in("zoe", role)
        page = (await browser.get("/account")).text
        for entry in NAVIGATION:
            assert (f'href="/console{entry.path}"' in page) == (role in entry.roles)
        start = (await browser.get("/")).headers["location"]
        assert (await browser.get(start.removeprefix("/console"))).status_code == 200


async def test_a_form_that_is_too_large_is_refused(stage) -> None:
    case = await stage.open_case()
    browser = await stage.signed_in("zoe", "reviewer")
    answer = await browser.act(case, "claim", {"text": "x" * 1_100_000})
    assert answer.status_code == 413


async def test_a_broken_store_shows_nothing(stage) -> None:
    await stage.open_case()
    browser = await stage.signed_in("zoe", "reviewer")
    stage.parts.db.close()
    answer = await browser.get("/cases")
    assert answer.status_code == 503
    assert "nothing unrecorded" in answer.text


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_other_methods_do_nothing(stage, method: str) -> None:
    case = await stage.open_case()
    browser = await stage.signed_in("zoe", "lead")
    for path in ("/cases", f"/cases/{case.id}", f"/cases/{case.id}/claim"):
        assert (await browser.send(method, path)).status_code == 405
    assert await stage.case(case) == case
