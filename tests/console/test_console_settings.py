"""Settings of the console: what is refused at the start, and how cookies look behind https."""

from pathlib import Path

import pytest
from console_stage import make_stage
from console_support import door_of

from gateway.console.roles import Role
from gateway.domain.errors import FaultsFound
from gateway.domain.text import Secret
from gateway.settings import ConsoleSettings, load_settings

PUBLIC = "https://gateway.example"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("public_url: https://gateway.example", ""),
        ("public_url: http://127.0.0.1:8080", ""),
        ("public_url: http://gateway.example", "SET011"),
        ("public_url: https://gateway.example/console", "SET011"),
        ("public_url: gateway.example", "SET011"),
        ("oidc: {issuer: 'https://id.example', client_id: console}", ""),
        ("oidc: {issuer: 'https://id.example'}", "SET017"),
        ("oidc: {issuer: 'http://id.example', client_id: console}", "SET011"),
        ("oidc: {issuer: 'https://id.example', client_id: c, client_secret: 'env:CONSOLE_SECRET'}", ""),
        ("oidc: {issuer: 'https://id.example', client_id: c, client_secret: hunter2}", "SET016"),
        ("oidc: {grants: [{group: g, roles: [king]}]}", "SET"),
        ("session_idle_s: 5", "SET"),
    ],
)
def test_what_can_be_set(tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"console:\n  {text}\n")
    if not code:
        assert load_settings(file, {}).console != ConsoleSettings()
        return
    with pytest.raises(FaultsFound) as error:
        load_settings(file, {})
    assert "hunter2" not in str(error.value)
    assert len(error.value.faults) == 1
    assert code == "SET" or error.value.faults[0].code == code


async def test_behind_https_cookies_are_bound_to_the_host(tmp_path: Path) -> None:
    async for stage in make_stage(tmp_path, ConsoleSettings(enabled=True, public_url=PUBLIC), None):
        stage.parts.accounts.add(
            "zoe", Secret("a long enough password"), roles=[Role.REVIEWER], tenants=["acme"], now=stage.clock()
        )
        assert (await stage.browser().get("/sign-in")).status_code == 421  # its loopback address
        browser = stage.browser(host=PUBLIC)
        form = await browser.get("/sign-in")
        assert form.headers["strict-transport-security"] == "max-age=31536000"
        done = await browser.post(
            "/sign-in", {"door": door_of(form), "name": "zoe", "password": "a long enough password"}
        )
        assert done.status_code == 303
        for line in done.headers.get_list("set-cookie"):
            assert line.startswith("__Host-gateway_console")
            assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(line.split("; "))
            assert "domain" not in line.lower()
        assert (await browser.get("/cases")).status_code == 200
        crossed = await browser.post("/sign-out", origin="http://gateway.example")
        assert crossed.status_code == 403


async def test_without_local_accounts_there_is_no_password(tmp_path: Path) -> None:
    async for stage in make_stage(tmp_path, ConsoleSettings(enabled=True, local_accounts=False), None):
        browser = stage.browser()
        page = await browser.get("/sign-in")
        assert 'name="password"' not in page.text
        assert "Nobody can sign in" in page.text
        assert (await browser.post("/sign-in", {"name": "zoe", "password": "x"})).status_code == 403
        assert (await browser.get("/sign-in/provider")).status_code == 404
