"""Strangers at the console's door: what they send is refused as what it is, and no trick is a way around the wait."""

import asyncio
from collections import Counter

import httpx
import pytest
from console_support import door_of

from gateway.console.roles import Role
from gateway.domain.text import Secret

HOST = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    "host", ["[", "[::1", "a]b", "[1]", "127.0.0.1@evil.example", "evil.example", "127.0.0.1.evil.example"]
)
async def test_a_host_that_is_none_is_another_address(stage, host: str) -> None:
    answer = await stage.browser().get("/sign-in", host=host)
    assert answer.status_code == 421
    assert "public_url" in answer.text


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "application/json", "text/plain"]
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/audit/texts", "/cases/next"])
async def test_a_body_that_is_no_form_does_nothing(stage, kind: str, path: str) -> None:
    headers = {"content-type": kind, "origin": HOST}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=stage.app), base_url=HOST) as client:
        answer = await client.post(path, content=b"--x\r\n{", headers=headers)
    assert answer.status_code in (400, 401, 403)
    assert stage.audit.drafts == []


async def test_guesses_at_once_wait_like_guesses_one_after_the_other(stage) -> None:
    await asyncio.to_thread(
        stage.parts.accounts.add,
        "zoe",
        Secret("a long enough password"),
        roles=[Role.REVIEWER],
        tenants=["acme"],
        now=stage.clock(),
    )
    browser = stage.browser()
    door = door_of(await browser.get("/sign-in"))
    forms = [{"name": "zoe", "password": f"guess {number}", "door": door} for number in range(40)]
    answers = await asyncio.gather(*(browser.post("/sign-in", form) for form in forms))
    assert Counter(answer.status_code for answer in answers) == {401: 5, 429: 35}


async def test_guesses_at_many_names_at_once_wait_for_their_address(stage) -> None:
    throttle, now = stage.parts.throttle, stage.clock()
    waits = await asyncio.gather(
        *(asyncio.to_thread(throttle.admitted, f"n{i}", "10.0.0.1", now=now) for i in range(80))
    )
    assert Counter(wait > 0 for wait in waits) == {False: 50, True: 30}
    assert throttle.admitted("n1", "10.0.0.2", now=now) == 0
