"""Chunks keep every word, respect sizes, and are cut where the author made a break."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.retrieval.chunk import ChunkingParameters
from gateway.retrieval.chunking import chunks
from gateway.retrieval.markdown import BlockKind, paragraphs, sections, sentences

SMALL = ChunkingParameters(target_chars=120, overlap_chars=30, small_chars=20)


def markdown(text, parameters=SMALL, title=""):
    return chunks(sections(text), title=title, parameters=parameters)


def texts(text, parameters=SMALL):
    return [chunk.text for chunk in markdown(text, parameters)]


def test_sections_are_named_by_the_headings_above_them():
    made = markdown(
        "Before any heading there is an introduction.\n\n# Top\n\nUnder the top heading.\n\n## Left\n\n"
        "Under the left heading.\n\n### Deep #\n\nUnder the deep heading.\n\n"
        "Right\n-----\n\nUnder the right heading.\n",
        ChunkingParameters(target_chars=120, overlap_chars=0, small_chars=0),
    )
    assert [(chunk.section, chunk.text) for chunk in made] == [
        ("", "Before any heading there is an introduction."),
        ("Top", "Under the top heading."),
        ("Top > Left", "Under the left heading."),
        ("Top > Left > Deep", "Under the deep heading."),
        ("Top > Right", "Under the right heading."),
    ]


def test_a_heading_that_repeats_the_title_is_left_out():
    whole = ChunkingParameters(target_chars=120, overlap_chars=0, small_chars=0)
    made = markdown("# Card fees\n\nIntroduction.\n\n## Abroad\n\nThe fee.", whole, title="Card Fees")
    assert [chunk.section for chunk in made] == ["", "Abroad"]
    made = markdown("# Card fees\n\nIntroduction of some length.", title="Card fees")
    assert [(chunk.section, chunk.text) for chunk in made] == [("", "Introduction of some length.")]


def test_small_neighbouring_sections_share_a_chunk_and_keep_their_headings():
    [chunk] = markdown("## Opening\n\nNine.\n\n## Closing\n\nFive.")
    assert chunk.section == ""
    assert chunk.text == "## Opening\n\nNine.\n\n## Closing\n\nFive."


def test_sections_of_different_branches_do_not_share_a_chunk():
    made = markdown("# A\n\n## A1\n\n### A11\n\nx\n\n# B\n\ny")
    assert all(not ("x" in chunk.text and "y" in chunk.text) for chunk in made)


def test_a_heading_without_any_text_is_kept():
    assert [chunk.text for chunk in markdown("# Only a heading")] == ["# Only a heading"]


TABLE_HEAD = "| Country | Fee |\n|---|---|"


def test_a_table_that_fits_stays_whole():
    table = f"{TABLE_HEAD}\n| France | 3 |\n| Spain | 4 |"
    assert texts(f"Fees of transfers to other countries are these, by country.\n\n{table}\n\nAfter.")[0].endswith(table)


def test_a_table_that_is_cut_repeats_its_header_rows():
    rows = [f"| Country number {number} | {number}.00 |" for number in range(12)]
    made = texts("\n".join([TABLE_HEAD, *rows]))
    assert len(made) > 1
    assert all(text.startswith(TABLE_HEAD) and len(text) <= 120 for text in made)
    assert [line for text in made for line in text.split("\n")[2:]] == rows


def test_code_that_is_cut_stays_fenced():
    lines = [f"line {number} of the program = {number}" for number in range(12)]
    made = texts("```python\n" + "\n".join(lines) + "\n```")
    assert len(made) > 1
    assert all(text.startswith("```python\n") and text.endswith("\n```") for text in made)
    assert [line for text in made for line in text.split("\n")[1:-1]] == lines


@pytest.mark.parametrize("inner", ["# no heading", "| a | b |\n|---|---|", "- item", "~~~", "``` x"])
def test_code_is_not_read_as_markup(inner):
    [section] = sections(f"```\n{inner}\n```")
    assert [block.kind for block in section.blocks] == [BlockKind.CODE]


def test_an_open_fence_runs_to_the_end():
    [section] = sections("~~~\na\n# b")
    assert section.blocks[0].units == ("a", "# b")


def test_a_list_is_cut_between_items_and_an_item_keeps_its_lines():
    items = [f"{number}. Step number {number} is done\n   with a second line" for number in range(1, 8)]
    made = texts("\n".join(items))
    assert len(made) > 1
    assert "\n".join(made) == "\n".join(items)
    assert all(re.match(r"\d+\. ", text) for text in made)


def test_nested_and_loose_lists_are_one_block():
    [section] = sections("- a\n\n  more of a\n  - nested\n- b\n\n- c\n\nafter")
    assert [block.kind for block in section.blocks] == [BlockKind.LIST, BlockKind.PARAGRAPH]
    assert section.blocks[0].units == ("- a\n\n  more of a\n  - nested", "- b", "- c")


def test_long_prose_is_cut_between_sentences_and_the_next_chunk_begins_with_the_last_one():
    prose = " ".join(f"Sentence number {number} says a thing." for number in range(12))
    made = texts(prose, ChunkingParameters(target_chars=120, overlap_chars=40, small_chars=20))
    assert len(made) > 2
    assert all(text.endswith(".") and len(text) <= 120 for text in made)
    for before, after in itertools.pairwise(made):
        assert sentences(before)[-1] == sentences(after)[0]


def test_a_word_longer_than_a_chunk_is_cut():
    made = texts("x" * 500)
    assert "".join(made) == "x" * 500
    assert max(map(len, made)) <= 120


def test_plain_text_has_no_markup():
    made = chunks(paragraphs("# not a heading\n\n| a | b |\n|---|---|"), parameters=SMALL)
    assert [(chunk.section, chunk.text) for chunk in made] == [("", "# not a heading\n\n| a | b |\n|---|---|")]


@pytest.mark.parametrize("text", ["", "\n\n", "   \n\t\n"])
def test_nothing_gives_no_chunks(text):
    assert chunks(sections(text)) == []
    assert chunks(paragraphs(text)) == []


def test_parameters_that_leave_no_room_are_refused():
    with pytest.raises(ValueError, match="overlap_chars"):
        ChunkingParameters(target_chars=100, overlap_chars=50)


LINES = st.one_of(
    st.text(alphabet="ab c.!|-#*`>\t1)=~ ", max_size=40),
    st.sampled_from(
        ["# H", "## H two", "---", "===", "```", "| a | b |", "|---|---|", "- item", "1. item", "", "", "  indented"]
    ),
    st.text(alphabet="word ", min_size=100, max_size=300),
)
DOCUMENTS = st.lists(LINES, max_size=25).map("\n".join)
MARKUP = set("#`~=-|: *")


def words(text):
    return [word for word in text.split() if not set(word) <= MARKUP]


@given(DOCUMENTS, st.sampled_from([sections, paragraphs]))
def test_no_word_is_lost(text, read):
    made = chunks(read(text), parameters=SMALL)
    kept = "".join("".join(f"{chunk.section} {chunk.text}" for chunk in made).split())
    for word in words(text):
        for piece in re.split(r"[#|]+", word):  # bars and closing hashes are markup inside words
            assert all(part in kept for part in (piece[:20], piece[-20:]))


@given(DOCUMENTS)
def test_every_line_of_prose_is_in_a_chunk_or_cut_at_a_break(text):
    """Lines no longer than a chunk, of one sentence: whole in some chunk, in order."""
    lines = [f"Line {number} says this and no more." for number, _ in enumerate(text.split("\n"))]
    mixed = "\n\n".join(f"{line}\n\n{other}" for line, other in zip(lines, text.split("\n"), strict=True))
    if "```" in mixed or "~~~" in mixed:
        return
    made = [chunk.text for chunk in markdown(mixed)]
    places = [next(at for at, chunk in enumerate(made) if line in chunk) for line in lines]
    assert places == sorted(places)


@given(DOCUMENTS, st.sampled_from([sections, paragraphs]))
def test_chunks_are_within_the_size_and_deterministic(text, read):
    made = chunks(read(text), parameters=SMALL)
    assert made == chunks(read(text), parameters=SMALL)
    assert all(0 < len(chunk.text) <= 120 for chunk in made)
    assert all(chunk.text.strip() for chunk in made)


@given(st.text(max_size=300))
def test_sentences_keep_all_but_white_space(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
