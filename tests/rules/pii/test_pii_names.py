"""Judgement on what models take for names and places."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.pii.mention import Mention, windows
from rules.pii.names import KnownNames, judged, with_agreement


def reported(kind: str, marked: str, score: float = 0.85) -> list[str]:
    text = re.sub("[«»]", "", marked)
    start = marked.index("«")
    end = marked.index("»") - 1
    return [text[m.start : m.end] for m in judged(text, Mention(start, end, kind, score))]


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("«Ana Diaz»", ["Ana Diaz"]),
        ("«Ana Diaz's» card", ["Ana Diaz"]),
        ("(«Ana Diaz).»", ["Ana Diaz"]),
        ("«Jean-Luc O'Neil Jr.»", ["Jean-Luc O'Neil Jr"]),
        ("«customer Ana Diaz»", ["Ana Diaz"]),
        ("«Email Ana Diaz»", ["Ana Diaz"]),
        ("«Ana Diaz\nAddress»", ["Ana Diaz"]),
        ("«Ana Diaz\r\nBo Lund»", ["Ana Diaz", "Bo Lund"]),
        ("«ana diaz»", ["ana diaz"]),
        ("«JOHN SMITH»", ["JOHN SMITH"]),
        ("«April Jones»", ["April Jones"]),
        ("«Bill»", ["Bill"]),
        ("«e\u0301lodie dupont»", ["e\u0301lodie dupont"]),
    ],
)
def test_names_are_kept_and_cut_to_the_name(marked: str, expected: list[str]) -> None:
    assert reported("PERSON", marked) == expected


@pytest.mark.parametrize(
    "marked",
    [
        "«C4»",
        "«S3»",
        "«EKS»",
        "«GPT-4»",
        "«Kubernetes»",
        "«Claude»",
        "«Claude Sonnet»",
        "«Azure DevOps»",
        "«Monday»",
        "«September»",
        "«Branch Manager»",
        "«Customer Support»",
        "«Bronze Rewards Card»",
        "«Green Account»",
        "«Tips»",
        "«APR»",
        "«maria»",
        "«user_42»",
        "«a@b.io»",
        "«...»",
        "«X»",
    ],
)
def test_what_is_no_name_is_dropped(marked: str) -> None:
    assert reported("PERSON", marked) == []


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("«Berlin,»", ["Berlin"]),
        ("«San Francisco»", ["San Francisco"]),
        ("«USA»", []),
        ("«S3»", []),
        ("«Green Account»", []),
        ("«123»", []),
        ("«Redis»", []),
    ],
)
def test_places(marked: str, expected: list[str]) -> None:
    assert reported("LOCATION", marked) == expected


@pytest.mark.parametrize(
    ("marked", "score", "expected"),
    [
        ("«12 Elm Street»", 0.5, ["12 Elm Street"]),
        ("«3rd»", 0.9, []),
        ("«62704»", 0.9, ["62704"]),
        ("«barclays»", 0.5, []),
        ("«Hauptstraße»", 0.9, ["Hauptstraße"]),
    ],
)
def test_pieces_of_addresses(marked: str, score: float, expected: list[str]) -> None:
    assert reported("ADDRESS", marked, score) == expected


def test_place_scores_low_and_agreement_raises_names_only() -> None:
    (place,) = judged("Berlin", Mention(0, 6, "LOCATION", 0.85))
    assert place.score == with_agreement(place).score == 0.4
    assert with_agreement(Mention(0, 3, "PERSON", 0.5)).score == 0.9
    assert with_agreement(Mention(0, 3, "PERSON", 0.95)).score == 0.95


@pytest.mark.parametrize("overlap", [0, 10])
@pytest.mark.parametrize(
    "text", ["", "short", "word " * 60, "x" * 300, "line one\n" * 40, "One sentence here. " * 20, "é😀 " * 90]
)
def test_windows_cover_every_character(text: str, overlap: int) -> None:
    spans = list(windows(text, 100, overlap))
    assert {at for start, end in spans for at in range(start, end)} == set(range(len(text)))
    assert all(0 < end - start <= 100 for start, end in spans)
    if not overlap:
        assert "".join(text[start:end] for start, end in spans) == text


BRANDS = KnownNames(["Larkfield", "Kestrel", "Blue  Harbour", "C++ (x)"])


@pytest.mark.parametrize(
    "value",
    ["Larkfield", "larkfield", "LARKFIELD", "Larkfield's", "Larkfield Bank", "Kestrel Larkfield", "Blue\nHarbour",
     "Ask Kestrel", "C++ (x)"],
)  # fmt: skip
def test_brands_and_words_beside_them_name_nobody(value: str) -> None:
    assert BRANDS.explain(value)


@pytest.mark.parametrize(
    "value",
    ["Ana Larkfield", "Larkfield Diaz", "Larkfieldson", "Kestrels", "O_Kestrel", "Blue Diaz", "Ana Diaz", "Bank", "",
     "Jean-Kestrel Diaz"],
)  # fmt: skip
def test_who_may_be_a_person_stays_one(value: str) -> None:
    assert not BRANDS.explain(value)
    assert not KnownNames([]).explain(value)


@given(st.lists(st.text(min_size=1, max_size=12).filter(str.strip), max_size=4), st.text(max_size=40))
def test_any_text_may_be_a_brand(names: list[str], text: str) -> None:
    known = KnownNames(names)
    assert known.explain(text) in (True, False)
    assert all(known.explain(name.strip()) for name in names if re.fullmatch(r"\w+", name.strip()))
