"""The pages for authors and admins in a real Chromium: policies, sources, trial runs."""

import pytest
from browser_pages import expect_page
from playwright.sync_api import Page
from support.server import completion
from test_console_browser import violations

pytestmark = [pytest.mark.browser, pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"])]

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def explain(page: Page, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    with expect_page(page):
        page.get_by_role("button", name="Explain").click()


def run(page: Page, text: str, *, real_case: bool = False) -> None:
    page.get_by_label("Question", exact=True).fill(text)
    page.get_by_label("Application").fill("desk")
    page.get_by_label("open a real case").set_checked(real_case)
    with expect_page(page):
        page.get_by_role("button", name="Run").click()


def test_an_author_looks_explains_and_tries(site, visit) -> None:
    site.model.answer = lambda body: completion("It costs 5 pounds, says card 4111 1111 1111 1111.")
    page = visit("author").page
    page.get_by_role("link", name="A human is asked about the answer").click()
    page.get_by_role("heading", name="As it is written").wait_for()
    assert "signal: list.delicate" in page.get_by_label("Text of C-003").inner_text()
    page.get_by_role("link", name="Policies", exact=True).first.click()
    page.get_by_role("link", name="Explain a text").click()
    explain(page, "please ask-a-human")
    assert "escalate" in page.get_by_role("heading", name="Verdict").inner_text()
    page.get_by_role("link", name="Try it").click()
    run(page, "What does my account cost?")
    assert "redact" in page.get_by_role("heading", name="Ended with").inner_text()
    assert "4111 1111" not in page.content()
    exchange = page.locator("dd.mono").first.inner_text()
    page.goto(f"{site.url}/policies/event?id={exchange}")
    assert page.get_by_role("heading", name="answer: redact").is_visible()


def test_a_trial_opens_a_case_only_if_that_is_asked_for(site, visit) -> None:
    author = visit("author").go("/try").page
    run(author, "please ask-a-human")
    assert author.get_by_text("none was opened").is_visible()
    reviewer = visit("zoe").page
    before = reviewer.locator("tr[data-row]").count()
    run(author, "please ask-a-human now", real_case=True)
    case = author.locator("dd.mono").nth(1).inner_text()
    reviewer.reload()
    assert reviewer.locator("tr[data-row]").count() == before + 1
    assert reviewer.locator(f"#row-{case}").is_visible()


def test_markup_runs_nowhere(site, visit) -> None:
    site.model.answer = lambda body: completion(f"It is {HOSTILE} free.")
    page = visit("author").go("/try").page
    run(page, f"What is {HOSTILE}?")
    assert page.title() == "Try it · Answer gateway"
    assert page.locator("main img, main script").count() == 0
    page.goto(f"{site.url}/policies/explain")
    explain(page, HOSTILE)
    assert page.title() == "Explain a text · Answer gateway"
    assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_in_light_and_dark(site, visit, scheme: str) -> None:
    site.model.answer = lambda body: completion("It costs 5 pounds, says card 4111 1111 1111 1111.")
    page = visit("author", color_scheme=scheme).page
    for path in ("/policies", "/policies/rules/C-005", "/policies/event", "/sources"):
        page.goto(site.url + path)
        for summary in page.locator("main summary").all():
            summary.click()
        assert violations(page) == [], path
    page.goto(f"{site.url}/policies/explain")
    explain(page, "please ask-a-human")
    for summary in page.locator("main summary").all()[-3:]:
        summary.click()
    assert violations(page) == []
    page.goto(f"{site.url}/try")
    run(page, "What does my account cost?")
    for summary in page.locator("main summary:visible").all():
        summary.click()
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 768, 2000])
def test_nothing_is_cut_off(site, visit, width: int) -> None:
    page = visit("admin", viewport={"width": width, "height": 900}).page
    for path in ("/policies", "/policies/rules/C-003", "/policies/event", "/sources", "/try"):
        page.goto(site.url + path)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path


def test_all_of_it_works_without_javascript(site, visit) -> None:
    site.model.answer = lambda body: completion("It costs 5 pounds a month.")
    page = visit("author", java_script_enabled=False).go("/policies/explain").page
    explain(page, "forbidden-word")
    assert page.get_by_text("list.forbidden is true").first.is_visible()
    page.goto(f"{site.url}/try")
    run(page, "What does my account cost?")
    assert page.get_by_text("It costs 5 pounds a month.").first.is_visible()
    page.goto(f"{site.url}/sources")
    assert page.get_by_text("Nothing is indexed").is_visible()
