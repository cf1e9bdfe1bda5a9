import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.enforce.units import MAX_UNIT_CHARS, Granularity, UnitSplitter
from rules.growing import GrowingMatches

DIGITS = GrowingMatches([r"\b\d(?:[ .\n-]{0,2}\d){0,15}[ .\n-]{0,2}"])


def split(text: str, granularity: Granularity, cuts: list[int] = (), growing=None) -> list[str]:
    splitter = UnitSplitter(granularity, growing)
    units: list[str] = []
    position = 0
    for cut in sorted({min(cut, len(text)) for cut in cuts}):
        units += splitter.feed(text[position:cut])
        position = cut
    return units + splitter.feed(text[position:]) + splitter.finish()


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("First one. Second one.", ["First one. ", "Second one."]),
        ("See Dr. Who at 3 p.m. today. Then go.", ["See Dr. Who at 3 p.m. today. ", "Then go."]),
        ("J. Doe called. Fine.", ["J. Doe called. ", "Fine."]),
        ("1. First\n2. Second", ["1. First\n", "2. Second"]),
        ('He said "no." She left.', ['He said "no." ', "She left."]),
        ("What?! Really… Yes.", ["What?! ", "Really… ", "Yes."]),
        ("line\n\nline", ["line\n\n", "line"]),
    ],
)
def test_sentences_survive_abbreviations_initials_and_lists(text, units):
    assert split(text, Granularity.SENTENCE) == units


def test_a_whole_text_is_one_unit():
    assert split("One. Two.\nThree.", Granularity.WHOLE, [3, 5]) == ["One. Two.\nThree."]


def test_a_growing_match_is_not_cut():
    text = "It is 4111 1111.\n1111 1111. Thanks."
    assert split(text, Granularity.SENTENCE, growing=DIGITS) == ["It is 4111 1111.\n1111 1111. ", "Thanks."]
    assert split(text, Granularity.SENTENCE) == ["It is 4111 1111.\n", "1111 1111. ", "Thanks."]


def test_a_unit_is_bounded_and_never_cuts_a_stand_in():
    text = "x" * (MAX_UNIT_CHARS - 4) + "<PERSON_1>" + "y" * 10
    units = split(text, Granularity.SENTENCE)
    assert units == ["x" * (MAX_UNIT_CHARS - 4), "<PERSON_1>" + "y" * 10]


TEXTS = st.text(alphabet="ab1 4.\n<>?。é😀A", max_size=120)


@given(TEXTS, st.lists(st.integers(0, 120), max_size=12), st.sampled_from(Granularity))
def test_units_join_to_the_text_and_do_not_depend_on_the_chunks(text, cuts, granularity):
    """I5, at the level of units."""
    whole = split(text, granularity, growing=DIGITS)
    assert "".join(whole) == text
    assert split(text, granularity, cuts, growing=DIGITS) == whole
