import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.terms import terms, words
from gateway.upstream.units import UnitKind, plain, split_sentences, units_of

SENTENCES = [
    ("two", "One thing. Another thing.", ["One thing.", "Another thing."]),
    ("question and call", "Really? Yes! Fine.", ["Really?", "Yes!", "Fine."]),
    ("abbreviations", "Mr. Jones pays approx. 5 EUR. He is happy.", ["Mr. Jones pays approx. 5 EUR.", "He is happy."]),
    ("initials", "It was J. Smith. He left.", ["It was J. Smith.", "He left."]),
    ("numbers", "Version 3.11 costs 2.50. Pay it.", ["Version 3.11 costs 2.50.", "Pay it."]),
    ("lower case goes on", "Use e.g. this one. ok", ["Use e.g. this one. ok"]),
    ("no space", "It belongs to the group.The group is old.", ["It belongs to the group.", "The group is old."]),
    ("quotes", 'She said "Stop." Then she left.', ['She said "Stop."', "Then she left."]),
    ("other scripts", "Das ist gut. Über alles. Ó sim.", ["Das ist gut.", "Über alles.", "Ó sim."]),
    ("nothing", " -- ", []),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in SENTENCES], ids=[case[0] for case in SENTENCES])
def test_sentences(text, expected):
    assert split_sentences(text) == expected


MARKUP = [
    ("**bold** and __bold__", "bold and bold"),
    ("*soft* and _soft_", "soft and soft"),
    ("`code` and ``more``", "code and more"),
    ("[text](https://a.example/x) and [text][1]", "text and text"),
    ('[text](../a.md "title")', "text"),
    ("![picture](a.png)", "picture"),
    ("~~gone~~", "gone"),
    ("a <br> b <b>c</b> <!-- d -->", "a b c"),
    ("<https://a.example>", "https://a.example"),
    ("snake_case_name and 2*3*4", "snake_case_name and 2*3*4"),
    (r"\*literal\*", "*literal*"),
    ("stated [3], and again[^4].", "stated, and again."),
    ("<PERSON_1> and [PERSON] and [PERSON:9f2c41aa03]", "<PERSON_1> and [PERSON] and [PERSON:9f2c41aa03]"),
]


@pytest.mark.parametrize(("text", "expected"), MARKUP)
def test_markup_is_removed_and_words_are_kept(text, expected):
    assert plain(text) == expected


def shown(text):
    return [(unit.kind.value, unit.lead, unit.text) for unit in units_of("Title", "", text)]


def test_list_items_keep_their_lead():
    text = "## Papers\n\nBring these. You need:\n\n1. a *passport*\n2. a bill\n   from this year\n\nThank you."
    assert shown(text) == [
        ("sentence", "", "Bring these."),
        ("list", "You need:", "a passport; a bill from this year"),
        ("item", "You need:", "a passport"),
        ("item", "You need:", "a bill from this year"),
        ("sentence", "", "Thank you."),
    ]


def test_a_long_list_is_quoted_by_its_items_only():
    text = "Many:\n" + "\n".join(f"- item {number}" for number in range(20))
    assert {unit.kind for unit in units_of("", "", text)} == {UnitKind.ITEM}


def test_table_rows_name_their_columns():
    text = "| Account | Fee |\n|:--|--:|\n| **Plus** | £9 |\n| A \\| B | |\n\nNext."
    assert shown(text) == [
        ("row", "", "Account: Plus; Fee: £9"),
        ("row", "", "Account: A | B"),
        ("sentence", "", "Next."),
    ]


def test_a_table_without_header_gives_its_cells():
    assert shown("| Plus | £9 |\n| Basic | £0 |") == [("row", "", "Plus; £9"), ("row", "", "Basic; £0")]


def test_headings_are_context_not_text():
    (unit,) = units_of("Title of it", "Section", "# Fees\nThey are low.")
    assert unit.text == "They are low."
    assert unit.context.match("cost") == 1.0
    assert unit.context.match("titl") == 1.0
    assert unit.own.match("cost") == 0.0


def test_quotes_fences_and_rules():
    assert shown("> Quoted text.\n\n---\n\n```\ncode line\n```") == [
        ("sentence", "", "Quoted text."),
        ("sentence", "", "code line"),
    ]


@given(st.text(alphabet="ab.1 \n|-*#_[]()>`:;\\<&é", max_size=200))
def test_any_text_gives_units_whose_words_it_holds(text):
    known = set(words(text))
    for unit in units_of("", "", text):
        assert unit.text
        assert unit.text == unit.text.strip()
        joined = "".join(known)
        assert all(word in known or set(word) <= set(joined) for word in words(unit.text))


def test_terms_leave_out_scaffolding():
    assert terms("What is the fee for 1,500.50 EUR?") == ("cost", "1,500.50", "eur")
