"""The shared expression set: hits, spans in code points, errors, and the bound on findings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ConfigurationError
from rules.expressions import MAX_MATCHES, ExpressionSet, Reading, bounded_findings, readings
from rules.normalise import View


def test_hits_keep_the_order_of_the_expressions() -> None:
    expressions = ExpressionSet({"b": "[0-9]+", "a": "x+", "c": "never"})
    assert expressions.hits(Reading(View("xx 12"))) == ["b", "a"]
    assert expressions.hits(Reading(View(""))) == []


def test_spans_are_code_points_and_follow_captured_groups() -> None:
    expressions = ExpressionSet({"e": "x(\u00e9+)y|(?:q)"}, captures=True)
    reading = Reading(View("\u00e4x\ud83d x\u00e9\u00e9y\U0001f642x\u00e9y q"))
    spans = [(match.start, match.end) for match in expressions.matches("e", reading)]
    assert [reading.text[start:end] for start, end in spans] == ["\u00e9\u00e9", "\u00e9", "q"]


def test_matches_that_are_empty_are_skipped() -> None:
    expressions = ExpressionSet({"e": "a*"})
    assert [(m.start, m.end) for m in expressions.matches("e", Reading(View("ba\u00e4aa")))] == [(1, 2), (3, 5)]


@pytest.mark.parametrize("regex", ["(", "(?=x)", r"(a)\1", "a{5000}", "[b-a]"])
def test_an_expression_that_is_not_re2_is_refused_by_name(regex: str) -> None:
    with pytest.raises(ConfigurationError, match="pattern `odd` is not an RE2 expression: ") as caught:
        ExpressionSet({"odd": regex})
    assert "\n" not in caught.value.message


def test_a_set_beyond_its_budget_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="1000 expressions do not fit into one set: "):
        ExpressionSet({f"p{i}": rf"\bA{i}-[0-9]{{4,6}}\b" for i in range(1_000)}, memory=64 * 1024)


def test_a_text_is_read_twice_only_if_it_reads_differently() -> None:
    assert len(readings("plain")) == 1
    assert [reading.text for reading in readings("hid\u200bden")] == ["hid\u200bden", "hidden"]


@given(st.text(max_size=50), st.integers(0, 50))
def test_point_undoes_utf8(text: str, index: int) -> None:
    index = min(index, len(text))
    offset = len(text[:index].encode("utf-8", "replace"))
    assert Reading(View(text)).point(offset) == index


def test_findings_beyond_the_bound_cover_the_rest() -> None:
    spans = [(i, i + 1) for i in range(MAX_MATCHES + 5)]
    findings = bounded_findings("k", spans, length=9_999, detector="d", evidence="e")
    assert len(findings) == MAX_MATCHES + 1
    assert (findings[-1].start, findings[-1].end, findings[-1].evidence) == (MAX_MATCHES, 9_999, "overflow")


def test_rejected_matches_count_towards_the_bound() -> None:
    spans = [(0, 1), *[None] * (MAX_MATCHES + 5)]
    findings = bounded_findings("k", spans, length=77, detector="d", evidence="e")
    assert [(finding.start, finding.end) for finding in findings] == [(0, 1), (1, 77)]
    assert bounded_findings("k", [None] * MAX_MATCHES, length=77, detector="d", evidence="e") == []
