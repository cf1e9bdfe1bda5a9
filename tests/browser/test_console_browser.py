"""What people do in the console, in Chromium: whole cases, races, keyboard, colours, accessibility, no script."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_pages import PEOPLE, expect_page

pytestmark = [pytest.mark.browser, pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"])]

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def violations(page: Any) -> list[str]:
    found = Axe().run(page, options=WCAG).response["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


def test_a_case_from_question_to_delivered_answer(site, visit) -> None:
    question, case = site.held_answer()
    zoe = visit("zoe")
    page = zoe.page
    page.get_by_role("link", name="A human is asked about the answer").first.wait_for()
    zoe.go(f"/cases/{case}")
    with expect_page(page):
        page.get_by_role("button", name="Claim this case").click()
    assert question in page.get_by_role("group", name="The question").inner_text()
    assert page.get_by_role("group", name="The model's answer").count() == 0
    page.get_by_label("It may be answered").check()
    with expect_page(page):
        page.get_by_role("button", name="Note it and show the answer").click()
    assert "delicate-answer" in page.get_by_role("group", name="The model's answer").inner_text()
    page.locator("#decide-code").select_option("within_policy")
    with expect_page(page):
        page.get_by_role("button", name="Approve", exact=True).click()
    assert "Done: approve" in page.get_by_role("status").inner_text()
    answer = site.ask(question, **{"x-gateway-case": case})
    assert "delicate-answer" in answer["choices"][0]["message"]["content"]
    page.reload()
    assert "delivered" in page.locator("#clock").inner_text()


def test_an_edited_answer_reaches_its_requester(site, visit) -> None:
    question, case = site.held_answer("You should buy it.")
    page = visit("zoe").go(f"/cases/{case}").page
    with expect_page(page):
        page.get_by_role("button", name="Claim this case").click()
    page.get_by_label("I cannot say").check()
    with expect_page(page):
        page.get_by_role("button", name="Note it").click()
    page.locator("#edit summary").click()
    page.get_by_label("Answer", exact=True).fill("This is a delicate-answer for you. You could ask an adviser.")
    with expect_page(page):
        page.get_by_role("button", name="Show what I change").click()
    assert page.locator("del").all_inner_texts()[0].strip() == "should"
    page.locator("#edit-code").select_option("within_policy")
    with expect_page(page):
        page.get_by_role("button", name="Approve the edited answer").click()
    answer = site.ask(question, **{"x-gateway-case": case})["choices"][0]["message"]["content"]
    assert "You could ask an adviser." in answer


def test_two_reviewers_race_and_the_second_loses_nothing(site, visit) -> None:
    _, case = site.held_answer()
    zoe, bram = visit("zoe"), visit("bram")
    for one in (zoe, bram):
        one.go(f"/cases/{case}")
    with expect_page(zoe.page):
        zoe.page.get_by_role("button", name="Claim this case").click()
    with expect_page(bram.page):
        bram.page.get_by_role("button", name="Claim this case").click()
    assert "Nothing of what you sent has happened" in bram.page.locator("main").inner_text()
    # The holder writes in two windows; the slower one keeps what was typed.
    zoe.page.get_by_label("It may be answered").check()
    with expect_page(zoe.page):
        zoe.page.get_by_role("button", name="Note it").click()
    slow = visit("zoe").go(f"/cases/{case}")
    slow.page.get_by_text("Ask the requester", exact=True).click()
    slow.page.get_by_label("Your question").fill("Which account do you mean?")
    zoe.page.locator("#decide-code").select_option("against_policy")
    with expect_page(zoe.page):
        zoe.page.get_by_role("button", name="Refuse", exact=True).click()
    with expect_page(slow.page):
        slow.page.get_by_role("button", name="Send the question").click()
    assert slow.page.get_by_label("What you typed").input_value() == "Which account do you mean?"


def test_the_next_case_is_a_different_one_for_each(site, visit) -> None:
    for _ in range(2):
        site.held_answer()
    zoe, bram = visit("zoe"), visit("bram")
    for one in (zoe, bram):
        with expect_page(one.page):
            one.page.get_by_role("button", name="Take the next case").click()
    assert zoe.page.url != bram.page.url
    assert "/cases/case_" in zoe.page.url


def test_keyboard_alone_is_enough(site, visit) -> None:
    _, case = site.held_answer()
    page = visit("zoe").go("/cases?view=queued").page
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    first = page.evaluate("document.activeElement.getAttribute('href')")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.getAttribute('href')") == first
    with expect_page(page):
        page.keyboard.press("Enter")
    assert first in page.url
    page.goto(f"{site.url}/cases/{case}")
    with expect_page(page):
        page.keyboard.press("c")
    page.keyboard.press("v")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    with expect_page(page):
        page.keyboard.press("Enter")
    page.keyboard.press("d")
    page.keyboard.type("Against")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Refuse"
    with expect_page(page):
        page.keyboard.press("Enter")
    assert "Done: refuse" in page.get_by_role("status").inner_text()
    with expect_page(page):
        page.keyboard.press("q")
    assert page.url.endswith("/console/cases")


def test_shortcuts_can_be_switched_off(site, visit) -> None:
    site.held_answer()
    page = visit("zoe").page
    page.keyboard.press("?")
    page.get_by_label("Shortcuts are on").uncheck()
    page.get_by_role("button", name="Close").click()
    page.reload()
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_shortcuts_do_not_fire_while_typing(site, visit) -> None:
    _, case = site.held_answer()
    page = visit("zoe").go(f"/cases/{case}").page
    page.get_by_text("Open the texts without claiming").click()
    page.get_by_label("Why do you need to see it?").type("quick check")
    assert page.get_by_label("Why do you need to see it?").input_value() == "quick check"
    assert case in page.url


def test_personal_data_shows_after_a_reason(site, visit) -> None:
    site.asked += 1
    case = site.ask(f"ask-a-human about card 4111 1111 1111 1111, number {site.asked}")["gateway"]["case"]
    page = visit("zoe").go(f"/cases/{case}").page
    with expect_page(page):
        page.get_by_role("button", name="Claim this case").click()
    assert "4111 1111" not in page.content()
    page.locator("summary", has_text="Show personal data").click()
    page.get_by_label("Why do you need to see it?").fill("caller check")
    with expect_page(page):
        page.get_by_role("button", name="Record and show").click()
    assert "4111 1111 1111 1111" in page.get_by_role("group", name="The question").inner_text()


def test_markup_in_texts_runs_nowhere(site, visit) -> None:
    site.asked += 1
    attack = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    site.model.answer = None
    case = site.ask(f"ask-a-human {site.asked} {attack}")["gateway"]["case"]
    page = visit("zoe").go(f"/cases/{case}").page
    with expect_page(page):
        page.get_by_role("button", name="Claim this case").click()
    assert attack in page.get_by_role("group", name="The question").inner_text()
    assert "owned" not in page.title()
    assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize("name", PEOPLE)
def test_everybody_gets_to_their_pages_without_a_complaint(site, visit, name: str) -> None:
    page = visit(name).page
    links = page.locator("nav.pages a")
    for index in range(links.count()):
        with expect_page(page):
            links.nth(index).click()
        assert page.locator("h1").count() == 1
        assert violations(page) == []
    with expect_page(page):
        page.get_by_role("link", name=name, exact=True).click()
    assert violations(page) == []
    with expect_page(page):
        page.get_by_role("button", name="Sign out").click()
    assert "/sign-in" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_in_light_and_dark(site, visit, scheme: str) -> None:
    _, case = site.held_answer()
    visitor = visit(color_scheme=scheme).go("/sign-in")
    page = visitor.page
    assert violations(page) == []
    visitor.sign_in("lena")
    assert violations(page) == []
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    assert violations(page) == []
    page.keyboard.press("Escape")
    visitor.go(f"/cases/{case}")
    assert violations(page) == []
    with expect_page(page):
        page.get_by_role("button", name="Claim this case").click()
    page.get_by_label("It may be answered").check()
    with expect_page(page):
        page.get_by_role("button", name="Note it").click()
    for summary in page.locator("summary").all():
        summary.click()
    assert violations(page) == []
    page.get_by_label("Answer", exact=True).fill("other words")
    with expect_page(page):
        page.get_by_role("button", name="Show what I change").click()
    assert violations(page) == []
    visitor.go("/nothing")
    assert violations(page) == []


def test_the_theme_is_switched_and_kept(visit) -> None:
    page = visit("zoe", color_scheme="light").page
    switch = page.get_by_role("button", name="Theme")
    colours = []
    for _ in range(3):
        switch.click()
        colours.append((page.evaluate("getComputedStyle(document.body).backgroundColor"), switch.inner_text()))
    assert [name for _, name in colours] == ["Theme: light", "Theme: dark", "Theme: system"]
    assert colours[0][0] == colours[2][0] != colours[1][0]
    switch.click()
    switch.click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == colours[1][0]


@pytest.mark.parametrize("width", [320, 768, 1280, 2000])
def test_nothing_is_cut_off(site, visit, width: int) -> None:
    _, case = site.held_answer()
    visitor = visit("zoe", viewport={"width": width, "height": 800})
    for path in ("/cases", f"/cases/{case}", "/account"):
        visitor.go(path)
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width


def test_lists_and_clocks_refresh_by_themselves(site, visit) -> None:
    _, case = site.held_answer()
    page = visit("zoe").go(f"/cases/{case}").page
    page.clock.install()
    page.reload()
    with page.expect_response(lambda answer: answer.url.endswith(f"/{case}/clock")) as got:
        page.clock.fast_forward(21_000)
    assert got.value.status == 200
    assert page.locator("#clock").count() == 1
    page.goto(f"{site.url}/cases")
    with page.expect_response(lambda answer: "/cases?" in answer.url) as got:
        page.clock.fast_forward(21_000)
    assert got.value.status == 200
    page.wait_for_function("document.querySelectorAll('#list').length === 1")


def test_who_is_typing_is_not_signed_out(site, visit) -> None:
    _, case = site.held_answer()
    page = visit("zoe").go(f"/cases/{case}").page
    page.clock.install()
    page.reload()
    for typing in (False, True):
        if typing:
            page.locator("summary", has_text="Open the texts").click()
            page.get_by_label("Why do you need to see it?").fill("quick check")
        with page.expect_request(lambda request: request.url.endswith(f"/{case}/clock")) as got:
            page.clock.fast_forward(21_000)
        assert ("x-gateway-poll" in got.value.headers) is not typing


def test_a_whole_case_without_javascript(site, visit) -> None:
    question, case = site.held_answer()
    visitor = visit("zoe", java_script_enabled=False)
    page = visitor.page
    assert not page.get_by_role("button", name="Theme").is_visible()
    page.get_by_label("Show").select_option("queued")
    page.get_by_role("button", name="Filter").click()
    page.locator(f'a[href$="{case}"]').click()
    page.get_by_role("button", name="Claim this case").click()
    page.get_by_label("It should not be answered").check()
    page.get_by_role("button", name="Note it").click()
    page.locator("#decide-code").select_option("within_policy")
    page.get_by_role("button", name="Approve", exact=True).click()
    assert "Done: approve" in page.get_by_role("status").inner_text()
    assert "delicate-answer" in site.ask(question, **{"x-gateway-case": case})["choices"][0]["message"]["content"]
    page.get_by_role("button", name="Sign out").click()
    assert page.get_by_label("Password").is_visible()
