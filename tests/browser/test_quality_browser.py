"""Review quality in Chromium: what a lead reads, hours tried out, and whether everybody can use it."""

import os
from pathlib import Path
from typing import Any

import pytest
from browser_pages import expect_page
from test_console_browser import violations

pytestmark = [pytest.mark.browser, pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"])]


def decided(site: Any, visit: Any) -> None:
    """A case that zoe has refused."""
    _, case = site.held_answer()
    page = visit("zoe").go(f"/cases/{case}").page
    with expect_page(page):
        page.get_by_role("button", name="Claim this case").click()
    page.get_by_label("It may be answered").check()
    with expect_page(page):
        page.get_by_role("button", name="Note it and show the answer").click()
    page.locator("#decide-code").select_option("against_policy")
    with expect_page(page):
        page.get_by_role("button", name="Refuse", exact=True).click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_lead_sees_who_decided_how_and_tries_hours(site, visit, scheme) -> None:
    decided(site, visit)
    lena = visit("lena", color_scheme=scheme)
    page = lena.page
    with expect_page(page):
        page.get_by_role("link", name="Review quality").click()
    people = page.get_by_role("group", name="Reviewers")
    assert "zoe" in people.inner_text()
    hours = page.get_by_label("Hours a day, q")
    hours.fill("8")
    with expect_page(page):
        page.get_by_role("button", name="Work out with these hours").click()
    assert page.get_by_label("Hours a day, q").input_value() == "8"
    assert "%" in page.get_by_role("group", name="Queues").inner_text()
    assert violations(page) == []
    if folder := os.environ.get("CONSOLE_PICTURES"):
        page.screenshot(path=Path(folder) / f"quality-{scheme}.png", full_page=True)


def test_the_page_fits_a_narrow_window(site, visit) -> None:
    page = visit("lena", viewport={"width": 360, "height": 800}).go("/quality").page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []
