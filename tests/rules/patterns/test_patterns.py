"""Patterns of the policies: flags, spans, refusals at load."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.definition import PatternDefinition
from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import EMPTY_SCAN, Scan
from gateway.domain.vocabulary import Placement, SignalType
from rules.expressions import MAX_MATCHES
from rules.patterns import PatternDetector

CREDIT_REF = PatternDefinition(id="credit_ref", regex="CR-[0-9]{6}", example="CR-204812")
CAFE = PatternDefinition(id="cafe", regex="(?i)caf\u00e9 (rouge|noir)", example="Caf\u00e9 Noir")
DETECTOR = PatternDetector([CREDIT_REF, CAFE])


def scan(text: str) -> Scan:
    return DETECTOR.scan([text])[0]


def test_declares_a_flag_per_pattern() -> None:
    assert (DETECTOR.name, DETECTOR.placement) == ("patterns", Placement.INLINE)
    assert DETECTOR.signals == {"pattern.credit_ref": SignalType.FLAG, "pattern.cafe": SignalType.FLAG}


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("see CR-204812.", "pattern.credit_ref", ["CR-204812"]),
        ("\u20ac\U0001f642 CR-204812CR-204813", "pattern.credit_ref", ["CR-204812", "CR-204813"]),
        ("au CAF\u00c9 ROUGE", "pattern.cafe", ["CAF\u00c9 ROUGE"]),
        ("au cafe\u0301 noir!", "pattern.cafe", ["cafe\u0301 noir"]),
        ("see CR-20\u200b4812.", "pattern.credit_ref", ["CR-20\u200b4812"]),
        (
            "see CR-\uff12\uff10\uff14\uff18\uff11\uff12.",
            "pattern.credit_ref",
            ["CR-\uff12\uff10\uff14\uff18\uff11\uff12"],
        ),
    ],
)
def test_a_match_sets_the_flag_and_its_span(text: str, kind: str, found: list[str]) -> None:
    result = scan(text)
    assert result.values == {kind: True}
    assert [text[finding.start : finding.end] for finding in result.findings] == found
    assert {finding.kind for finding in result.findings} == {kind}


@pytest.mark.parametrize("text", ["", "see CR-2048", "cafe noir", "cr-204812", "\ud83d"])
def test_no_match_is_an_empty_scan(text: str) -> None:
    assert scan(text) == EMPTY_SCAN


def test_texts_are_answered_in_order() -> None:
    assert [bool(result.values) for result in DETECTOR.scan(["CR-000000", "no", "CR-000000"])] == [True, False, True]
    assert DETECTOR.scan([]) == []


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (PatternDefinition(id="p", regex="(a", example="a"), "pattern `p` is not an RE2 expression"),
        (PatternDefinition(id="p", regex="a*", example="a"), "pattern `p` matches empty text"),
        (PatternDefinition(id="p", regex=r"\b", example="a"), "pattern `p` matches empty text"),
        (PatternDefinition(id="p", regex="(?m)$", example="a"), "pattern `p` matches empty text"),
        (PatternDefinition(id="p", regex="a|x?", example="a"), "pattern `p` matches empty text"),
        (PatternDefinition(id="p", regex="ab", example="ba"), "pattern `p` does not match its own example"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_by_name(definition: PatternDefinition, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PatternDetector([CREDIT_REF, definition])


def test_ids_are_unique() -> None:
    with pytest.raises(ConfigurationError, match="same id"):
        PatternDetector([CREDIT_REF, CREDIT_REF])


def test_version_moves_with_the_expressions_only() -> None:
    other = PatternDefinition(id="cafe", regex="caf\u00e9", example="caf\u00e9")
    renamed = PatternDefinition(id="credit_ref", regex=CREDIT_REF.regex, example="CR-000000")
    assert PatternDetector([CAFE, renamed]).version == DETECTOR.version
    assert PatternDetector([CREDIT_REF, other]).version != DETECTOR.version


def test_endless_repetition_is_covered_to_the_end() -> None:
    text = "CR-204812 " * (MAX_MATCHES + 50)
    result = scan(text)
    assert len(result.findings) == MAX_MATCHES + 1
    assert result.findings[-1].end == len(text)
    assert result.values == {"pattern.credit_ref": True}


def test_no_patterns_see_nothing() -> None:
    detector = PatternDetector([])
    assert detector.signals == {}
    assert detector.scan(["CR-204812"]) == [EMPTY_SCAN]


def test_a_thousand_patterns_are_each_found() -> None:
    detector = PatternDetector(
        [PatternDefinition(id=f"p{i}", regex=rf"\bK{i:04d}\b", example=f"K{i:04d}") for i in range(1_000)]
    )
    (result,) = detector.scan(["K0007 and K0999 but not K00071"])
    assert result.values == {"pattern.p7": True, "pattern.p999": True}


@given(
    st.lists(st.sampled_from(["CR-204812", "caf\u00e9 noir", "\u20ac", "\U0001f642", "x", " ", "e\u0301"]), max_size=12)
)
def test_every_finding_is_a_match_at_its_place(pieces: list[str]) -> None:
    text = "".join(pieces)
    result = scan(text)
    assert {text[f.start : f.end] for f in result.findings if f.kind == "pattern.credit_ref"} <= {"CR-204812"}
    assert sum(f.kind == "pattern.credit_ref" for f in result.findings) == pieces.count("CR-204812")
    assert sum(f.kind == "pattern.cafe" for f in result.findings) == pieces.count("caf\u00e9 noir")
