"""Pure parts of the pages: masked texts, differences, invisible characters, clocks, whole answers."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cases.case import CaseContent
from gateway.console.case_view import plain
from gateway.console.difference import differences
from gateway.console.held_answer import held_answer
from gateway.console.rendering import left, visible
from gateway.console.shown_text import shown_text
from gateway.domain.signal import Finding

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def finding(start: int, end: int, kind: str = "PERSON") -> Finding:
    return Finding(start=start, end=end, kind=kind, detector="t")


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], "ask Zoe Quill now"),
        ([finding(4, 13)], "ask [PERSON] now"),
        ([finding(4, 7), finding(8, 13, "SURNAME")], "ask [PERSON] [SURNAME] now"),
        ([finding(4, 9), finding(6, 13, "OTHER")], "ask [PERSON] now"),
        ([finding(4, 13), finding(5, 6, "INNER")], "ask [PERSON] now"),
        ([finding(0, 17)], "[PERSON]"),
        ([finding(4, 4)], "ask Zoe Quill now"),
    ],
)
def test_places_are_masked(findings: list[Finding], expected: str) -> None:
    shown = shown_text("ask Zoe Quill now", findings, masked=True)
    assert plain(shown) == expected
    assert plain(shown_text("ask Zoe Quill now", findings, masked=False)) == "ask Zoe Quill now"


def test_without_findings_a_masked_text_is_withheld() -> None:
    assert shown_text("Zoe Quill", None, masked=True).withheld
    assert shown_text("Zoe Quill", None, masked=True).pieces == ()
    assert plain(shown_text("Zoe Quill", None, masked=False)) == "Zoe Quill"


@given(
    text=st.text(alphabet="abcdefgh", min_size=1, max_size=30),
    places=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5),
)
def test_nothing_of_a_found_place_is_shown(text: str, places: list[tuple[int, int]]) -> None:
    findings = [finding(min(place), min(max(place), len(text))) for place in places if min(place) < len(text)]
    covered = {at for one in findings for at in range(one.start, one.end)}
    shown = shown_text(text, findings, masked=True)
    outside = "".join(char for at, char in enumerate(text) if at not in covered)
    assert "".join(piece.text for piece in shown.pieces) == outside
    assert plain(shown_text(text, findings, masked=False)) == text


@given(before=st.text(max_size=80), after=st.text(max_size=80))
def test_differences_hold_both_texts(before: str, after: str) -> None:
    found = differences(before, after)
    assert "".join(one.text for one in found if one.change != "added") == before
    assert "".join(one.text for one in found if one.change != "removed") == after


def test_long_texts_are_compared_by_lines() -> None:
    before = "\n".join(f"line {number} with some words" for number in range(3000))
    after = before.replace("line 7 with", "line 7 without")
    changes = [one for one in differences(before, after) if one.change != "same"]
    assert [one.text for one in changes] == ["line 7 with some words\n", "line 7 without some words\n"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode, 中文, עברית", "plain, ünïcode, 中文, עברית"),
        ("a\nb\tc\u00a0d", "a\nb\tc\u00a0d"),
        ("a\r\nb", "a\nb"),
        ("\u202e", '<span class="unseen">U+202E</span>'),
        ("a\u200bb", 'a<span class="unseen">U+200B</span>b'),
        ("\U000e0041", '<span class="unseen">U+E0041</span>'),
        ("\ufe0f", '<span class="unseen">U+FE0F</span>'),
        ("\u3164", '<span class="unseen">U+3164</span>'),
        ("\x00\x1b", '<span class="unseen">U+0000</span><span class="unseen">U+001B</span>'),
        ("\ud800", '<span class="unseen">U+D800</span>'),
        ('<a href="x">&', "&lt;a href=&#34;x&#34;&gt;&amp;"),
    ],
)
def test_what_cannot_be_seen_is_named(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_a_page_can_hold_any_text(text: str) -> None:
    made = str(visible(text))
    made.encode()
    assert "<" not in made.replace('<span class="unseen">', "").replace("</span>", "")


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(0), "0 s left"),
        (timedelta(seconds=119), "119 s left"),
        (timedelta(minutes=2), "2 min left"),
        (timedelta(hours=1, minutes=5), "1 h 05 min left"),
        (timedelta(hours=47, minutes=59), "47 h 59 min left"),
        (timedelta(days=3), "3 d left"),
        (timedelta(seconds=-30), "30 s late"),
        (timedelta(days=-9), "9 d late"),
    ],
)
def test_clocks_in_words(span: timedelta, words: str) -> None:
    assert left(NOW + span, NOW) == words


def content(*messages: dict) -> CaseContent:
    completion = json.dumps({"choices": [{"index": 0, "message": message} for message in messages]})
    return CaseContent(question="q", candidate="the text", passages=(), completion=completion)


def test_an_answer_that_is_a_text_is_that_text() -> None:
    assert held_answer(CaseContent(question="q", candidate="the text", passages=())) == "the text"
    assert held_answer(content({"role": "assistant", "content": "the text", "tool_calls": None})) == "the text"


def test_everything_that_would_leave_is_shown() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "transfer", "arguments": '{"to":"X","sum":5}'}}
    odd = {"id": "c2", "type": "function", "function": {"name": "odd", "arguments": "not json"}}
    shown = held_answer(
        content(
            {"role": "assistant", "content": "first", "tool_calls": [call, odd]},
            {"role": "assistant", "content": None, "refusal": "no", "thinking": {"deep": ["hidden"]}},
        )
    )
    for part in ("Choice 1 of 2", "first", "Calls transfer with", '"to": "X"', "Calls odd with\nnot json", "Choice 2"):
        assert part in shown
    assert '"refusal": "no"' in shown
    assert "hidden" in shown


def test_content_in_parts_is_shown_as_it_is() -> None:
    assert '"text": "deep"' in held_answer(
        content({"role": "assistant", "content": [{"type": "text", "text": "deep"}]})
    )
