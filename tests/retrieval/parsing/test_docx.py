"""DOCX: headings, lists, tables, what is inserted and deleted, what no reader sees, and hostile archives."""

import io
import re
import zipfile

import docx
import pytest
from docx.enum.text import WD_COLOR_INDEX
from docx.shared import Pt, RGBColor

from gateway.retrieval.parsing.docx import parse_docx
from gateway.retrieval.parsing.parsed import ParseLimits, UnreadableDocument


def saved(document):
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def made(build, title=""):
    document = docx.Document()
    document.core_properties.title = title
    build(document)
    return saved(document)


def edited(content, part, change):
    """The archive with one part changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            body = old.read(name)
            new.writestr(name, change(body) if name == part else body)
    return out.getvalue()


def texts(content):
    return [block.text for section in parse_docx(content).sections for block in section.blocks]


def test_headings_lists_and_tables_keep_their_shape():
    def build(document):
        document.add_paragraph("Before.")
        document.add_heading("Cards", 1)
        document.add_paragraph("One\ttab.")
        document.add_paragraph("first", style="List Bullet")
        document.add_paragraph("second", style="List Number")
        table = document.add_table(2, 2)
        for cell, text in zip((c for row in table.rows for c in row.cells), ["Card", "Fee", "Gold", "9"], strict=True):
            cell.text = text
        document.add_heading("Abroad", 2)
        document.add_paragraph("Two.")

    parsed = parse_docx(made(build, title="Card fees"))
    assert parsed.title == "Card fees"
    assert [(section.path, [block.text for block in section.blocks]) for section in parsed.sections] == [
        ((), ["Before."]),
        (("Cards",), ["One tab.", "- first\n- second", "| Card | Fee |\n|---|---|\n| Gold | 9 |"]),
        (("Cards", "Abroad"), ["Two."]),
    ]


def hidden_runs():
    def vanish(run):
        run.font.hidden = True

    def white(run):
        run.font.color.rgb = RGBColor(255, 255, 255)

    def tiny(run):
        run.font.size = Pt(1)

    return [vanish, white, tiny]


@pytest.mark.parametrize("hide", hidden_runs())
def test_text_that_no_reader_sees_is_left_out_and_counted(hide):
    def build(document):
        paragraph = document.add_paragraph("The fee ")
        hide(paragraph.add_run("ORDER"))
        paragraph.add_run("is three pounds.")

    parsed = parse_docx(made(build))
    assert [block.text for block in parsed.sections[0].blocks] == ["The fee is three pounds."]
    assert parsed.hidden == 5


def test_a_hidden_style_hides_and_a_run_can_show_itself_again():
    def build(document):
        style = document.styles.add_style("Ghost", 1)
        style.font.hidden = True
        paragraph = document.add_paragraph("ORDER", style="Ghost")
        run = paragraph.add_run(" but shown")
        run.font.hidden = False

    parsed = parse_docx(made(build))
    assert [block.text for block in parsed.sections[0].blocks] == ["but shown"]
    assert parsed.hidden == 5


def test_white_text_on_a_colour_is_seen():
    def build(document):
        run = document.add_paragraph().add_run("Fees")
        run.font.color.rgb = RGBColor(255, 255, 255)
        run.font.highlight_color = WD_COLOR_INDEX.DARK_BLUE

    assert texts(made(build)) == ["Fees"]


def test_inserted_text_content_controls_and_text_boxes_are_read_and_deleted_text_is_not():
    wrap = (
        b"<w:ins w:id='1' w:author='a'><w:r><w:t>inserted </w:t></w:r></w:ins>"
        b"<w:del w:id='2' w:author='a'><w:r><w:delText>deleted</w:delText></w:r></w:del>"
        b"<w:sdt><w:sdtContent><w:r><w:t>controlled</w:t></w:r></w:sdtContent></w:sdt>"
        b"<w:r><w:pict><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent></w:pict></w:r>"
    )
    block = b"<w:sdt><w:sdtContent><w:p><w:r><w:t>a whole block</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    content = edited(
        made(lambda document: document.add_paragraph("MARK")),
        "word/document.xml",
        lambda xml: re.sub(
            rb"<w:p>\s*<w:r>\s*<w:t>MARK</w:t>\s*</w:r>\s*</w:p>", b"<w:p>" + wrap + b"</w:p>" + block, xml
        ),
    )
    assert texts(content) == ["inserted controlled", "boxed", "a whole block"]


def test_xml_entities_are_refused():
    declared = b"<?xml version='1.0'?><!DOCTYPE w [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>"
    content = edited(
        made(lambda document: document.add_paragraph("x")),
        "word/document.xml",
        lambda xml: declared + xml.partition(b"?>")[2],
    )
    with pytest.raises(UnreadableDocument, match="declares xml entities"):
        parse_docx(content)


def test_an_archive_that_unpacks_beyond_the_limit_is_refused():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\x00" * 50_000_000)
    with pytest.raises(UnreadableDocument, match="unpacks to far more than it holds"):
        parse_docx(bomb.getvalue())
    with pytest.raises(UnreadableDocument, match="unpacks to more than 1000 bytes"):
        parse_docx(made(lambda document: document.add_paragraph("x")), ParseLimits(expanded_bytes=1000))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x03\x04" + b"\x00" * 400])
def test_broken_archives_are_refused(content):
    with pytest.raises(UnreadableDocument, match="the docx is broken: BadZipFile"):
        parse_docx(content)


def test_an_archive_of_another_kind_is_refused():
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("hello.txt", "confidential words")
    with pytest.raises(UnreadableDocument, match="the docx is broken") as raised:
        parse_docx(other.getvalue())
    assert "confidential" not in str(raised.value)


def test_damaged_xml_is_refused_without_showing_it():
    content = edited(
        made(lambda document: document.add_paragraph("x")), "word/document.xml", lambda _: b"<w:document>confidential"
    )
    with pytest.raises(UnreadableDocument, match="the docx is broken") as raised:
        parse_docx(content)
    assert "confidential" not in str(raised.value)
