"""The audit and overview pages in Chromium: what is found and opened, colours, accessibility, keyboard, no script."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_pages import expect_page

pytestmark = [pytest.mark.browser, pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"])]

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PATHS = ("/overview", "/overview?days=90", "/audit", "/audit?type=", "/audit?effect=nonsense", "/audit/integrity")


def violations(page: Any) -> list[str]:
    found = Axe().run(page, options=WCAG).response["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


def test_an_auditor_finds_an_exchange_and_takes_it_along(site, visit, tmp_path: Path) -> None:
    question, _ = site.held_answer()
    ada = visit("auditor").go("/audit")
    page = ada.page
    page.get_by_label("Rule", exact=True).fill("C-003")
    with expect_page(page):
        page.get_by_role("button", name="Search").click()
    with expect_page(page):
        page.locator("[data-row] th a").first.click()
    assert "escalate" in page.locator("h1").inner_text()
    assert page.locator(".timeline > li").count() >= 2
    assert question not in page.content()
    ada.go("/audit?rule=C-003")
    page.get_by_text("Find an exact text").click()
    page.get_by_label("Text, to the letter").fill(question)
    with expect_page(page):
        page.get_by_role("button", name="Find", exact=True).click()
    assert page.locator("[data-row]").count() >= 1
    ada.go("/audit?rule=C-003")
    page.get_by_text("Export these events").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    bundle = tmp_path / "evidence.zip"
    download.value.save_as(bundle)
    with zipfile.ZipFile(bundle) as archive:
        events = [json.loads(line) for line in archive.read("events.jsonl").splitlines()]
    assert {event["type"] for event in events} <= {"outcome", "stream.close"}
    assert events


def test_a_view_is_kept_and_forgotten(site, visit) -> None:
    page = visit("auditor").go("/audit?type=ended&effect=escalate").page
    page.get_by_text("Keep this view").click()
    page.get_by_label("Name").fill("Escalations")
    with expect_page(page):
        page.get_by_role("button", name="Keep", exact=True).click()
    assert page.get_by_role("link", name="Escalations").get_attribute("aria-current") == "true"
    with expect_page(page):
        page.get_by_role("button", name="Forget the view Escalations").click()
    assert page.get_by_role("link", name="Escalations").count() == 0


def test_the_whole_log_is_verified_on_demand(site, visit) -> None:
    site.held_answer()
    page = visit("lena").go("/audit/integrity").page
    page.set_default_timeout(60_000)
    with expect_page(page):
        page.get_by_role("button", name="Verify the whole log now").click()
    assert "verified-unanchored" in page.get_by_role("status").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(site, visit, scheme: str) -> None:
    site.held_answer()
    ada = visit("auditor", color_scheme=scheme)
    for path in PATHS:
        ada.go(path)
        for details in ada.page.locator("main details").all():
            details.evaluate("one => { one.open = true; }")
        assert violations(ada.page) == [], path
    ada.go("/audit")
    with expect_page(ada.page):
        ada.page.locator("[data-row] th a").first.click()
    assert violations(ada.page) == []


def test_the_list_is_walked_by_keyboard(site, visit) -> None:
    site.held_answer()
    page = visit("auditor").go("/audit?type=ended").page
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('[data-row]') !== null")
    with expect_page(page):
        page.keyboard.press("Enter")
    assert page.locator("h1").inner_text().startswith("Exchange")
    with expect_page(page):
        page.keyboard.press("q")
    assert page.locator("h1").inner_text() == "Audit"


def test_without_scripts_everything_is_there(site, visit) -> None:
    site.held_answer()
    ada = visit("auditor", java_script_enabled=False)
    page = ada.go("/overview?days=7").page
    assert page.locator("svg.chart").count() == 3
    page.get_by_text("As a table").first.click()
    assert page.get_by_role("table", name="Exchanges a day by effect").is_visible()
    with expect_page(page):
        page.get_by_role("link", name="escalate").click()
    assert page.locator("[data-row]").count() >= 1


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(site, visit, width: int) -> None:
    site.held_answer()
    ada = visit("auditor", viewport={"width": width, "height": 800})
    for path in (*PATHS, "/audit/events/3"):
        ada.go(path)
        assert ada.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
