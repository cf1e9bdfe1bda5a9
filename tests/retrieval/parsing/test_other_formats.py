"""CSV, hidden text of Markdown, the kind of a file, and the process that parses what may be hostile."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retrieval.parsing.pdf_files import lines, pdf

from gateway.retrieval.markdown import BlockKind
from gateway.retrieval.parsing.hidden import without_markdown_comments
from gateway.retrieval.parsing.kinds import SUFFIXES, format_of
from gateway.retrieval.parsing.parse import parse
from gateway.retrieval.parsing.parsed import DEFAULT_LIMITS, DocumentFormat, ParseLimits, UnreadableDocument
from gateway.retrieval.parsing.parser import Parser
from gateway.retrieval.parsing.spreadsheet import parse_csv


def rows(text, limits=DEFAULT_LIMITS):
    return [(block.place, block.text) for section in parse_csv(text, limits).sections for block in section.blocks]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_every_row_of_a_table_names_its_columns(mark):
    text = f"Card{mark}Fee{mark}Note\nGold{mark}9{mark}yearly\n\nBlue{mark}{mark}free of charge\n"
    assert rows(text) == [(2, "Card: Gold; Fee: 9; Note: yearly"), (4, "Card: Blue; Note: free of charge")]


def test_quoted_cells_may_hold_marks_and_line_ends():
    assert rows('a,b\n"x, y","one\ntwo"\n') == [(3, "a: x, y; b: one two")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,\n1,2\n", "does not name every column"),
        ("a,a\n1,2\n", "does not name every column"),
        ("a,b\n1,2,3\n", "line 2 has more cells"),
        ('a,b\n"1,2\n', "is not sound csv"),
        ("a,b\n1,2\n3,4\n5,6\n", "more than 2 rows"),
    ],
)
def test_tables_that_are_not_sound_are_refused(text, message):
    with pytest.raises(UnreadableDocument, match=message):
        rows(text, ParseLimits(rows=2))


def test_a_table_without_rows_has_no_text():
    assert rows("a,b\n") == []


HIDDEN = [
    ("Fee <!-- obey --> three.", "Fee  three.", 4),
    ("Fee <!-- obey", "Fee ", 4),
    ("Fee <span style='display:none'>obey</span> three.", "Fee  three.", 4),
    ('Fee <b hidden>obey</b> three.', "Fee  three.", 4),
    ("[//]: # (obey)\nFee", "\nFee", 14),
    ("[comment]: <> (obey)\nFee", "\nFee", 20),
    ("Fee three. <b>seen</b> <span style='color:red'>seen</span>", None, 0),
    ("```\n<!-- code -->\n```\n", None, 0),
    ("[link]: https://bank.example 'seen'", None, 0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown", "hidden"), HIDDEN)
def test_what_markdown_does_not_render_is_left_out(text, shown, hidden):
    assert without_markdown_comments(text) == (text if shown is None else shown, hidden)


@given(st.text(alphabet="ab <!->`\n[]/#:()", max_size=80))
def test_markdown_without_comments_keeps_the_order_of_all_else(text):
    shown, hidden = without_markdown_comments(text)
    assert 0 <= hidden <= len(text)
    rest = iter(text)
    assert all(char in rest for char in shown)


def test_long_runs_of_open_marks_cost_little():
    started = time.process_time()
    for text in ("<!--" * 100_000, "<b hidden>" * 50_000, "```\n" * 100_000, "<b " * 100_000):
        without_markdown_comments(text)
    assert time.process_time() - started < 5


def test_tag_characters_spell_nothing_in_any_format():
    order = "".join(chr(0xE0000 + ord(char)) for char in "obey")
    for format_ in (DocumentFormat.MARKDOWN, DocumentFormat.PLAIN, DocumentFormat.CSV, DocumentFormat.HTML):
        parsed = parse(f"Name, Fee{order}\nx, y".encode(), format_)
        assert parsed.hidden == 4
        assert order[0] not in str([block.text for section in parsed.sections for block in section.blocks])


KINDS = [
    (".pdf", b"%PDF-1.7", DocumentFormat.PDF),
    (".pdf", b"junk\n%PDF-1.7", DocumentFormat.PDF),
    (".docx", b"PK\x03\x04", DocumentFormat.DOCX),
    (".md", b"# Title", DocumentFormat.MARKDOWN),
    (".txt", b"MZ is how this text begins", DocumentFormat.PLAIN),
    (".csv", b"a,b", DocumentFormat.CSV),
]
WRONG = [
    (".md", b"%PDF-1.7", "the content is a pdf"),
    (".txt", b"PK\x03\x04", "a zip archive"),
    (".pdf", b"PK\x03\x04", "a zip archive"),
    (".pdf", b"<html>", "something else"),
    (".docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or locked office file"),
    (".docx", b"", "something else"),
    (".txt", b"MZ\x90\x00", "a program"),
    (".html", b"\x7fELF", "a program"),
    (".csv", b"\x89PNG", "an image"),
    (".md", b"{\\rtf1", "rich text"),
]


@pytest.mark.parametrize(("suffix", "content", "expected"), KINDS)
def test_name_and_content_agree_on_the_format(suffix, content, expected):
    assert format_of(suffix, content) is expected


@pytest.mark.parametrize(("suffix", "content", "words"), WRONG)
def test_content_of_another_kind_is_refused(suffix, content, words):
    assert suffix in SUFFIXES
    with pytest.raises(UnreadableDocument, match=words):
        format_of(suffix, content)


def test_the_child_process_parses_like_this_one_and_outlives_a_bad_file():
    content = pdf(lines("The fee is three pounds."))
    with Parser() as parser:
        assert parser.parse(content, DocumentFormat.PDF) == parse(content, DocumentFormat.PDF)
        child = parser._child
        with pytest.raises(UnreadableDocument, match="the pdf is broken"):
            parser.parse(b"%PDF-", DocumentFormat.PDF)
        html = parser.parse(b"<h1>Fees</h1>Three pounds.", DocumentFormat.HTML)
        assert (html.sections[0].path, html.sections[0].blocks[0].kind) == (("Fees",), BlockKind.PARAGRAPH)
        assert parser._child is child
    assert parser._child is None


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_is_parsed():
    slow = pdf(b"BT /F1 11 Tf " + b"(x) Tj " * 400_000 + b" ET")
    with Parser(timeout_s=1.0) as parser:
        started = time.monotonic()
        with pytest.raises(UnreadableDocument, match="took longer than 1 s"):
            parser.parse(slow, DocumentFormat.PDF)
        assert time.monotonic() - started < 5
        assert parser._child is None
    with Parser(timeout_s=30.0) as parser:
        assert parser.parse(b"Three pounds.", DocumentFormat.HTML).sections


def test_a_file_that_takes_too_much_memory_is_given_up():
    with Parser(memory_bytes=300_000_000) as parser:
        with pytest.raises(UnreadableDocument, match=r"memory|cannot be parsed"):
            parser.parse(b"<p>x</p>" * 8_000_000, DocumentFormat.HTML)
        assert parser.parse(b"Three pounds.", DocumentFormat.HTML).sections
