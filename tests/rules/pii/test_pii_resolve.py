"""Overlaps: who wins, and that nothing covered is uncovered; addresses as wholes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.signal import Finding
from rules.pii.places import joined_addresses
from rules.pii.resolve import resolve

TEXT = "abcdefghij klmnopqrst uvwxyz0123"


def finding(start: int, end: int, kind: str, evidence: str = "format", score: float = 0.5) -> Finding:
    return Finding(start=start, end=end, kind=kind, evidence=evidence, score=score, detector="pii")


def places(findings: list[Finding]) -> list[tuple[int, int, str]]:
    return [(f.start, f.end, f.kind) for f in findings]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(
            [finding(0, 10, "A", "model"), finding(2, 6, "B", "checksum")],
            [(0, 2, "A"), (2, 6, "B"), (6, 10, "A")],
            id="checksum beats a longer model",
        ),
        pytest.param(
            [finding(0, 6, "A", "context"), finding(0, 6, "B", "format", 1.0)], [(0, 6, "A")], id="context beats format"
        ),
        pytest.param([finding(0, 6, "A"), finding(0, 8, "B")], [(0, 8, "B")], id="longer beats shorter"),
        pytest.param(
            [finding(0, 6, "A", score=0.4), finding(0, 6, "B", score=0.9)], [(0, 6, "B")], id="score decides at last"
        ),
        pytest.param([finding(0, 6, "A"), finding(4, 9, "A", "checksum")], [(0, 9, "A")], id="one kind unites"),
        pytest.param(
            [finding(0, 11, "A", "model"), finding(0, 10, "B", "format")],
            [(0, 10, "B")],
            id="a left-over blank is none",
        ),
        pytest.param([finding(0, 3, "A"), finding(3, 6, "B")], [(0, 3, "A"), (3, 6, "B")], id="neighbours stay"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_the_stronger_finding_wins(found: list[Finding], expected: list[tuple[int, int, str]]) -> None:
    assert places(resolve(found, TEXT)) == expected
    assert places(resolve(reversed(found), TEXT)) == expected


_findings = st.lists(
    st.builds(
        lambda start, length, kind, evidence: finding(start, min(len(TEXT), start + length), kind, evidence),
        st.integers(0, len(TEXT) - 1),
        st.integers(1, 12),
        st.sampled_from("ABC"),
        st.sampled_from(["checksum", "context", "format", "model", "overflow"]),
    ),
    max_size=8,
)


@given(_findings)
def test_resolved_findings_are_disjoint_and_cover_the_same_letters(found: list[Finding]) -> None:
    resolved = resolve(found, TEXT)
    assert all(left.end <= right.start for left, right in pairwise(resolved))
    covered = {at for f in found for at in range(f.start, f.end) if TEXT[at].isalnum()}
    kept = {at for f in resolved for at in range(f.start, f.end) if TEXT[at].isalnum()}
    assert kept == covered


@given(_findings, st.randoms())
def test_order_of_findings_does_not_matter(found: list[Finding], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolve(shuffled, TEXT) == resolve(found, TEXT)


ADDRESS = "at 12 Elm Street, Springfield\r\n62704 or in Berlin, Germany with 1200"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(
            [finding(3, 16, "ADDRESS"), finding(18, 29, "LOCATION", "model"), finding(31, 36, "ADDRESS", "model")],
            [(3, 36, "ADDRESS")],
            id="street, city and code are one",
        ),
        pytest.param(
            [finding(43, 49, "LOCATION", "model"), finding(51, 58, "LOCATION", "model")],
            [(43, 49, "LOCATION"), (51, 58, "LOCATION")],
            id="places alone are no address",
        ),
        pytest.param([finding(64, 68, "ADDRESS", "model")], [], id="a lone number of a model is none"),
        pytest.param([finding(64, 68, "ADDRESS", "context")], [(64, 68, "ADDRESS")], id="an announced number is one"),
        pytest.param(
            [finding(3, 16, "ADDRESS"), finding(43, 49, "LOCATION", "model")],
            [(3, 16, "ADDRESS"), (43, 49, "LOCATION")],
            id="words between keep them apart",
        ),
        pytest.param(
            [finding(3, 16, "ADDRESS"), finding(18, 29, "PERSON", "model"), finding(31, 36, "ADDRESS", "context")],
            [(3, 16, "ADDRESS"), (18, 29, "PERSON"), (31, 36, "ADDRESS")],
            id="another kind keeps them apart",
        ),
    ],
)
def test_pieces_of_an_address_are_joined(found: list[Finding], expected: list[tuple[int, int, str]]) -> None:
    assert places(joined_addresses(found, ADDRESS)) == expected
