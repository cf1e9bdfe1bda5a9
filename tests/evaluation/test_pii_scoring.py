"""Scoring of personal-data detection."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evaluation.pii import Labelled, PiiScore, Span, Tally, read_labelled, score

TEXT = "Call Ana Diaz, 12 Elm Street, Springfield 12345 now please"
KINDS = {"PERSON": "PERSON", "ADDRESS": "PLACE", "LOCATION": "PLACE", "PHONE": "PHONE"}


def run(gold: list[Span], found: list[Span], **options: float) -> PiiScore:
    return score([Labelled(text=TEXT, spans=tuple(gold))], [found], kinds=KINDS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gold", "found", "expected"),
    [
        pytest.param([Span(5, 13, "PERSON")], [Span(5, 13, "PERSON")], (1, 0, 0), id="exact"),
        pytest.param([Span(5, 13, "PERSON")], [Span(5, 8, "PERSON")], (0, 1, 1), id="less than half"),
        pytest.param([Span(5, 13, "PERSON")], [Span(5, 9, "PERSON")], (1, 0, 0), id="half"),
        pytest.param([Span(5, 13, "PERSON")], [Span(5, 13, "PHONE")], (0, 1, 1), id="wrong kind"),
        pytest.param([Span(5, 13, "PERSON")], [], (0, 0, 1), id="missed"),
        pytest.param([], [Span(5, 13, "PERSON")], (0, 1, 0), id="invented"),
        pytest.param([], [], (0, 0, 0), id="nothing"),
        pytest.param([], [Span(5, 13, "OTHER")], (0, 0, 0), id="found kind that is not compared"),
        pytest.param([Span(5, 13, "OTHER")], [Span(5, 13, "PERSON")], (0, 0, 0), id="gold kind that is not compared"),
        pytest.param(
            [Span(15, 28, "ADDRESS"), Span(30, 41, "LOCATION"), Span(42, 47, "ADDRESS")],
            [Span(15, 47, "ADDRESS")],
            (1, 0, 0),
            id="an address in pieces is one place",
        ),
        pytest.param([Span(5, 8, "PERSON")], [Span(5, 8, "PERSON"), Span(5, 8, "PERSON")], (1, 0, 0), id="found twice"),
        pytest.param(
            [Span(5, 8, "PERSON"), Span(15, 18, "PERSON")], [Span(5, 18, "PERSON")], (0, 1, 2), id="one for two"
        ),
    ],
)
def test_spans_are_compared_by_kind_and_place(
    gold: list[Span], found: list[Span], expected: tuple[int, int, int]
) -> None:
    tally = run(gold, found).spans
    assert (tally.true_positive, tally.false_positive, tally.false_negative) == expected


def test_stricter_overlap_demands_more() -> None:
    gold, found = [Span(5, 13, "PERSON")], [Span(5, 12, "PERSON")]
    assert run(gold, found, overlap=0.8).spans.true_positive == 1
    assert run(gold, found, overlap=0.95).spans.true_positive == 0


def test_characters_ask_for_the_mark_not_for_the_kind() -> None:
    result = run([Span(5, 13, "PERSON")], [Span(5, 8, "PHONE")])
    assert result.characters == Tally(3, 0, 4), "white space is not counted"
    assert result.by_kind["PERSON"].recall == 0.0


def test_measures() -> None:
    tally = Tally(8, 2, 4)
    assert tally.precision == pytest.approx(0.8)
    assert tally.recall == pytest.approx(2 / 3)
    assert tally.f(1) == pytest.approx(2 * 0.8 * (2 / 3) / (0.8 + 2 / 3))
    assert tally.f(2) == pytest.approx(5 * 0.8 * (2 / 3) / (4 * 0.8 + 2 / 3))
    assert (Tally().precision, Tally().recall, Tally().f(2)) == (1.0, 1.0, 1.0)


def test_unequal_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        score([Labelled(text="a", spans=())], [], kinds=KINDS)


def test_rows_are_read_with_their_template(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    row = b'{"id": "1", "text": "Hi Bo", "spans": [{"type": "PERSON", "start": 3, "end": 5}], "template_id": 7}\n'
    path.write_bytes(gzip.compress(row))
    assert read_labelled(path) == [Labelled(text="Hi Bo", spans=(Span(3, 5, "PERSON"),), template=7)]
    assert "Hi Bo" not in repr(read_labelled(path))


_spans = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from(["PERSON", "ADDRESS", "OTHER"])).map(
        lambda s: Span(s[0], s[0] + s[1], s[2])
    ),
    max_size=5,
)


@given(gold=_spans, found=_spans)
def test_laws_of_the_score(gold: list[Span], found: list[Span]) -> None:
    perfect = run(gold, gold)
    assert perfect.spans.f(2) == perfect.characters.f(2) == 1.0
    result = run(gold, found)
    assert result.spans.true_positive == sum(tally.true_positive for tally in result.by_kind.values())
    assert 0.0 <= result.spans.precision <= 1.0
    assert 0.0 <= result.spans.recall <= 1.0
    assert min(result.spans.precision, result.spans.recall) <= result.spans.f(2) + 1e-9
    nothing = run(gold, [])
    assert nothing.spans.false_negative == result.spans.true_positive + result.spans.false_negative
