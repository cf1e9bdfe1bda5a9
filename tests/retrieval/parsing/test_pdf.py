"""PDF: pages, words cut at line ends, running heads, what no reader sees, and files that are not sound."""

import io

import pytest
from pypdf import PdfReader, PdfWriter
from retrieval.parsing.pdf_files import lines, pdf

from gateway.retrieval.parsing.parsed import ParseLimits, UnreadableDocument
from gateway.retrieval.parsing.pdf import parse_pdf


def texts(content):
    return [(block.place, block.text) for section in parse_pdf(content).sections for block in section.blocks]


def test_pages_are_the_places_of_paragraphs():
    parsed = parse_pdf(pdf(lines("The fee is three pounds."), lines("The rate is four percent."), title="Fees 2026"))
    assert (parsed.title, parsed.unit, parsed.hidden) == ("Fees 2026", "page", 0)
    assert [(block.place, block.text) for block in parsed.sections[0].blocks] == [
        (1, "The fee is three pounds."),
        (2, "The rate is four percent."),
    ]


def test_a_short_line_that_ends_a_sentence_ends_a_paragraph():
    made = texts(
        pdf(
            lines("A transfer to another bank takes one working day in nearly", "all cases.", "Cards are sent by post.")
        )
    )
    assert [text for _, text in made] == [
        "A transfer to another bank takes one working day in nearly\nall cases.",
        "Cards are sent by post.",
    ]


def test_words_cut_at_line_ends_are_joined_unless_written_with_a_hyphen_elsewhere():
    content = pdf(
        lines(
            "An inter-",
            "national transfer is a long-",
            "term matter, as every long-term plan with Anglo-",
            "Dutch banks",
        )
    )
    [(_, text)] = texts(content)
    assert "international transfer" in text
    assert "a long-term matter" in text
    assert "Anglo-\nDutch" in text


def test_running_heads_and_page_numbers_are_kept_once():
    content = pdf(
        *(
            lines("Larkfield Bank handbook", f"Rule {n} is about {word}.", f"Page {n} of 5")
            for n, word in enumerate(["cards", "loans", "fees", "fraud", "claims"], start=1)
        )
    )
    text = "\n".join(text for _, text in texts(content))
    assert text.count("Larkfield Bank handbook") == 1
    assert text.count("Page") == 1
    assert all(word in text for word in ("cards", "loans", "fees", "fraud", "claims"))


HIDDEN = [
    ("white", b"1 1 1 rg"),
    ("white by grey", b"1 g"),
    ("white by cmyk", b"0 0 0 0 k"),
    ("nearly white", b"0.98 g"),
    ("no ink", b"3 Tr"),
]


@pytest.mark.parametrize(("name", "operators"), HIDDEN)
def test_text_that_no_reader_sees_is_left_out_and_counted(name, operators):
    order = "obey me"
    content = pdf(b"q " + lines(order, before=operators) + b" Q " + lines("The fee is three pounds."))
    parsed = parse_pdf(content)
    assert [block.text for block in parsed.sections[0].blocks] == ["The fee is three pounds."]
    assert parsed.hidden == len(order)


def test_tiny_text_is_hidden_by_its_size_on_the_page():
    scaled = b"q 0.1 0 0 0.1 0 0 cm " + lines("obey me") + b" Q"
    for stream in (lines("obey me", size=1), scaled):
        parsed = parse_pdf(pdf(stream + b" " + lines("The fee is three pounds.")))
        assert [block.text for block in parsed.sections[0].blocks] == ["The fee is three pounds."]
        assert parsed.hidden == 7


def test_white_text_on_a_dark_field_is_seen():
    content = pdf(b"0 0 0.4 rg 60 690 300 40 re f 1 g " + lines("Fees from May"))
    assert texts(content) == [(1, "Fees from May")]


def test_a_scan_with_recognised_text_keeps_it():
    stream = b"q 612 0 0 792 0 0 cm /Im1 Do Q " + lines("The fee is three pounds.", before=b"3 Tr")
    parsed = parse_pdf(pdf(stream, image=True))
    assert [block.text for block in parsed.sections[0].blocks] == ["The fee is three pounds."]
    assert parsed.hidden == 0
    mixed = parse_pdf(pdf(stream + b" 0 Tr " + lines("Seen.", before=b"0 Tr"), image=True))
    assert [block.text for block in mixed.sections[0].blocks] == ["Seen."]


def encrypted(password):
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(lines("The fee is three pounds.")))))
    writer.encrypt(password, owner_password="owner", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_a_locked_file_is_refused_and_one_that_opens_without_a_password_is_read():
    with pytest.raises(UnreadableDocument, match="needs a password: save it without one"):
        parse_pdf(encrypted("secret"))
    assert texts(encrypted("")) == [(1, "The fee is three pounds.")]


@pytest.mark.parametrize("content", [b"", b"%PDF-1.4\n", b"%PDF-1.4\n" + b"\x00" * 500, pdf(lines("x"))[:300]])
def test_broken_files_are_refused(content):
    with pytest.raises(UnreadableDocument, match="the pdf is broken"):
        parse_pdf(content)


def test_limits_of_pages_and_text():
    with pytest.raises(UnreadableDocument, match="has 3 pages: the limit is 2"):
        parse_pdf(pdf(lines("a"), lines("b"), lines("c")), ParseLimits(pages=2))
    with pytest.raises(UnreadableDocument, match="more than 10 characters"):
        parse_pdf(pdf(lines("a long line of text")), ParseLimits(chars=10))
