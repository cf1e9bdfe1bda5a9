"""HTML: sections, tables, lists, and what no reader sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.retrieval.parsing.html import parse_html
from gateway.retrieval.parsing.parsed import ParseLimits, UnreadableDocument

SEEN = "<p>The fee is three pounds.</p>"


def blocks(text):
    return [block.text for section in parse_html(text).sections for block in section.blocks]


def test_headings_make_sections():
    parsed = parse_html(
        "<title> Card\n fees </title><p>Before.</p><h1>Cards</h1><p>One <b>bold</b> word.</p>"
        "<h2>Abroad</h2><div>Two<br>lines</div><h2>At home</h2>Loose text<h1>Loans</h1><p>Last."
    )
    assert parsed.title == "Card fees"
    assert [(section.path, section.line, [block.text for block in section.blocks]) for section in parsed.sections] == [
        ((), "", ["Before."]),
        (("Cards",), "# Cards", ["One bold word."]),
        (("Cards", "Abroad"), "## Abroad", ["Two lines"]),
        (("Cards", "At home"), "## At home", ["Loose text"]),
        (("Loans",), "# Loans", ["Last."]),
    ]


def test_tables_lists_and_code_keep_their_shape():
    assert blocks(
        "<table><caption>Fees</caption><thead><tr><th>Card</th><th>Fee | year</th></tr></thead>"
        "<tr><td>Gold</td><td><b>9</b> pounds</td></tr><tr><td>Blue</td></tr></table>"
        "<ul><li>one<ul><li>deep</li></ul></li><li><p>two</p></li></ul><ol><li>first</li><li>second</li></ol>"
        "<pre>a = 1\n  b</pre>"
    ) == [
        "| Fees |  |\n|---|---|\n| Card | Fee \\| year |\n| Gold | 9 pounds |\n| Blue |  |",
        "- one\n  - deep\n- two",
        "1. first\n2. second",
        "```\na = 1\n  b\n```",
    ]


def test_a_table_that_only_lays_out_the_page_is_read_as_text():
    made = blocks(
        "<table><tr><td><h2>Fees</h2><p>Three pounds.</p><table><tr><td>a</td></tr></table></td></tr></table>"
    )
    assert made == ["Three pounds.", "a"]


@pytest.mark.parametrize("tag", ["script", "style", "nav", "noscript", "template", "textarea", "iframe", "svg"])
def test_what_is_no_text_is_dropped_without_being_counted(tag):
    parsed = parse_html(f"{SEEN}<{tag}>alert menu</{tag}>")
    assert [block.text for block in parsed.sections[0].blocks] == ["The fee is three pounds."]
    assert parsed.hidden == 0


HIDDEN = [
    '<p hidden>ORDER</p>',
    '<p style="display:none">ORDER</p>',
    '<p style="DISPLAY : None !important">ORDER</p>',
    '<div style="visibility:hidden"><p>ORDER</p></div>',
    '<p style="opacity:0.01">ORDER</p>',
    '<p style="font-size:0">ORDER</p>',
    '<p style="font-size:1px">ORDER</p>',
    '<p style="font-size:0.1em">ORDER</p>',
    '<p style="color:white">ORDER</p>',
    '<p style="color:#fffffe">ORDER</p>',
    '<p style="color:rgb(255, 255, 255)">ORDER</p>',
    '<p style="color:rgba(0,0,0,0)">ORDER</p>',
    '<p style="color:transparent">ORDER</p>',
    '<p><font color="#FFF">ORDER</font></p>',
    '<div style="background:#102030"><p style="color:#112131">ORDER</p></div>',
    '<p style="background:black">ORDER</p>',
    '<p style="position:absolute;left:-9999px">ORDER</p>',
    '<p style="text-indent:-1000px">ORDER</p>',
    '<p style="height:0;overflow:hidden">ORDER</p>',
    '<p style="clip:rect(0 0 0 0);position:absolute">ORDER</p>',
    '<p style="clip-path: inset(100%)">ORDER</p>',
    '<p style="transform:scale(0)">ORDER</p>',
    "<style>.x{display:none}</style><p class=x>ORDER</p>",
    "<style>/* a */ p.y, .z {color:#fff}</style><p class=y>ORDER</p>",
    "<style>@media screen { #k { font-size: 0 } }</style><p id=k>ORDER</p>",
    "<p>\U000e004f\U000e0052\U000e0044\U000e0045\U000e0052</p>",
    '<ul><li style="display:none">ORDER</li></ul>',
    '<table><tr><td style="color:white">ORDER</td></tr></table>',
    '<table><tr style="display:none"><td>ORDER</td></tr></table>',
    '<h2 style="display:none">ORDER</h2>',
]  # fmt: skip


@pytest.mark.parametrize("hidden", HIDDEN)
def test_text_that_no_reader_sees_is_left_out_and_counted(hidden):
    parsed = parse_html(SEEN + hidden)
    assert [block.text for section in parsed.sections for block in section.blocks] == ["The fee is three pounds."]
    assert parsed.hidden == 5


SHOWN = [
    '<p style="color:white;background:#003">TEXT</p>',
    '<div style="background-color:navy"><h6></h6><p style="color:#fff">TEXT</p></div>',
    '<table bgcolor="#000"><tr><td><font color="white">TEXT</font></td></tr></table>',
    '<p style="background:url(x.png);color:white">TEXT</p>',
    '<p style="font-size:90%;opacity:0.9;left:-2px">TEXT</p>',
    '<p style="width:0">TEXT</p>',
    "<style>.x{display:none}</style><p class=xy>TEXT</p>",
    "<style>p:unknown(a){display:none} p::before{display:none}</style><p>TEXT</p>",
    '<details><summary>TEXT</summary></details>',
    '<div hidden="until-found">TEXT</div>',
]  # fmt: skip


@pytest.mark.parametrize("shown", SHOWN)
def test_text_that_readers_see_stays(shown):
    parsed = parse_html(shown)
    assert "TEXT" in "".join(block.text for section in parsed.sections for block in section.blocks)
    assert parsed.hidden == 0


def test_limits():
    with pytest.raises(UnreadableDocument, match="nested deeper than 400"):
        parse_html("<div>" * 600 + "deep")
    with pytest.raises(UnreadableDocument, match="nested deeper than 50"):
        parse_html("<p>" + "<b>" * 90 + "deep", ParseLimits(depth=50))
    with pytest.raises(UnreadableDocument, match="nested deeper than 50"):
        parse_html("<ul><li>" * 90 + "deep", ParseLimits(depth=50))
    with pytest.raises(UnreadableDocument, match="more than 20 characters"):
        parse_html(SEEN * 3, ParseLimits(chars=20))
    with pytest.raises(UnreadableDocument, match="style sheets match too many"):
        parse_html("<style>" + "p{color:red}" * 300 + "</style>" + "<p>x" * 1000)


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error_and_leaves_no_empty_block(text):
    assert all(block.strip() for block in blocks(text))


@given(st.lists(st.sampled_from(["<p>", "</p>", "<table>", "<tr>", "<td>", "<ul>", "<li>", "<h1>", "word ", "</ul>"])))
def test_no_word_is_lost_however_the_tags_stand(parts):
    parsed = parse_html("".join(parts))
    said = "".join(section.line + "".join(block.text for block in section.blocks) for section in parsed.sections)
    assert said.count("word") == parts.count("word ")
