"""Methods of cutting besides sections: what they keep, where they cut, and the token bound of the embedder."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.retrieval.chunk import Chunk, ChunkingParameters, ChunkMethod
from gateway.retrieval.chunking import chunks
from gateway.retrieval.embedding import CachingEmbedder, MiniLmEmbedder, TokenBound
from gateway.retrieval.markdown import Section, prose, sections
from gateway.retrieval.parsing.spreadsheet import parse_csv
from gateway.retrieval.preparing import _within


class TopicEmbedder:
    """Two subjects, told apart by their words."""

    name, version, dimensions = "topics", "1", 2

    def embed(self, texts):
        rows = [[text.count("loan") + 0.01, text.count("card") + 0.01] for text in texts]
        matrix = np.array(rows, np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def by(method, target=200, overlap=40, small=40):
    return ChunkingParameters(method=ChunkMethod(method), target_chars=target, overlap_chars=overlap, small_chars=small)


def cut(text, parameters, title=""):
    return chunks(sections(text), title=title, parameters=parameters, embedder=TopicEmbedder())


SENTENCES = [f"Sentence number {n} says something of its own." for n in range(12)]


def test_windows_overlap_by_whole_sentences_and_lose_none():
    made = [chunk.text for chunk in cut(" ".join(SENTENCES), by("window", overlap=60))]
    assert all(len(text) <= 200 for text in made)
    for one, other in itertools.pairwise(made):
        assert one.split(". ")[-1].rstrip(".") == other.split(". ")[0].rstrip(".")
    assert {sentence for text in made for sentence in SENTENCES if sentence in text} == set(SENTENCES)


def test_windows_go_across_headings_and_keep_them():
    [chunk] = cut("# A\n\nOne.\n\n## B\n\nTwo.\n", by("window"))
    assert chunk.text == "# A\n\nOne.\n\n## B\n\nTwo."
    assert chunk.section == "A"


def test_paragraphs_stay_whole_across_headings():
    text = "# A\n\n" + "\n\n".join(f"{word} " * 15 for word in ("one", "two", "six")) + "\n\n# B\n\nlast words\n"
    made = cut(text, by("paragraph"))
    assert [chunk.section for chunk in made] == ["A", "B"]
    assert made[1].text == "# B\n\nlast words"
    for word in ("one", "two", "six"):
        assert any(chunk.text.count(word) == 15 for chunk in made)


def test_rows_stand_alone_with_their_place():
    parsed = parse_csv("Card,Fee\nGold,9\nBlue,0\n")
    alone = chunks(parsed.sections, parameters=by("row"))
    assert [(chunk.text, chunk.place(parsed.unit)) for chunk in alone] == [
        ("Card: Gold; Fee: 9", "row 2"),
        ("Card: Blue; Fee: 0", "row 3"),
    ]
    [grouped] = chunks(parsed.sections, parameters=by("section"))
    assert (grouped.text, grouped.place(parsed.unit)) == ("Card: Gold; Fee: 9\n\nCard: Blue; Fee: 0", "rows 2 to 3")


def test_meaning_cuts_where_the_subject_changes():
    loans = "A loan is paid back monthly. The loan rate is fixed."
    cards = "A card costs nothing. The card is sent by post."
    made = [chunk.text for chunk in cut(f"{loans} {cards}", by("semantic", target=400, small=20))]
    assert made == [loans, cards]


def test_meaning_needs_an_embedder():
    with pytest.raises(ValueError, match="needs an embedder"):
        chunks(sections("One. Two."), parameters=by("semantic"))


BLOCKS = st.lists(
    st.one_of(
        st.sampled_from(["# loan", "## card terms", "| a | b |\n|---|---|\n| 1 | 2 |", "- item\n- more"]),
        st.text(alphabet="loan card. x", min_size=1, max_size=260),
    ),
    max_size=12,
).map("\n\n".join)


@settings(max_examples=150)
@given(BLOCKS, st.sampled_from(list(ChunkMethod)))
def test_no_method_loses_a_word_or_passes_the_size(text, method):
    parameters = by(method.value, target=150, overlap=30, small=30)
    made = cut(text, parameters)
    assert all(0 < len(chunk.text) <= 150 for chunk in made)
    assert made == cut(text, parameters)
    kept = "".join("".join(f"{chunk.section}{chunk.text}" for chunk in made).split())
    for word in text.replace("#", " ").replace("|", " ").split():
        assert word[:10].strip("-*") in kept


@pytest.mark.parametrize("method", list(ChunkMethod))
def test_places_follow_the_text(method):
    blocks = tuple(prose(f"Words of page {page} about a loan. More of them.", place=page) for page in range(1, 9))
    made = chunks(
        [Section(path=(), line="", blocks=blocks)],
        parameters=by(method.value, target=140, overlap=0, small=0),
        embedder=TopicEmbedder(),
    )
    for chunk in made:
        named = [page for page in range(1, 9) if f"page {page} " in chunk.text]
        assert not named or (chunk.first <= min(named) and max(named) <= chunk.last)
    assert [chunk.first for chunk in made] == sorted(chunk.first for chunk in made)


def test_identities_name_method_version_and_sizes():
    assert ChunkingParameters().identity == "section-2/900/120/240"
    assert by("window").identity == "window-1/200/40/40"


@pytest.mark.parametrize(("first", "last", "place"), [(0, 0, ""), (3, 3, "page 3"), (3, 5, "pages 3 to 5")])
def test_places_in_words(first, last, place):
    assert Chunk(section="", text="x", first=first, last=last).place("page") == place


def test_a_text_is_not_halved_for_ever_where_nothing_fits():
    made = list(_within([Chunk(section="", text="word " * 100)], lambda _: False))
    assert 4 <= len(made) <= 10


def test_a_heading_that_is_a_sentence_stands_in_the_text():
    heading = "very long heading " * 40
    [chunk] = chunks(sections(f"# {heading}\n\nWords."), parameters=by("section", target=2000))
    assert len(chunk.section) <= 300
    assert heading.strip() in chunk.text


@given(st.text(alphabet="ab. \n", min_size=1, max_size=900))
def test_texts_over_the_bound_are_halved_without_losing_a_word(text):
    made = list(_within([Chunk(section="", text=text)], lambda chunk: len(chunk.text) <= 120))
    assert all(len(chunk.text) <= 120 for chunk in made)
    assert "".join("".join(chunk.text for chunk in made).split()) == "".join(text.split())


def test_the_built_in_embedder_counts_tokens_beyond_what_it_reads():
    embedder = MiniLmEmbedder()
    cached = CachingEmbedder(embedder)
    for one in (embedder, cached):
        assert isinstance(one, TokenBound)
        assert one.max_tokens == 256
        assert one.tokens(["fee", "fee " * 1000, "\ud800"])[:2] == [3, 1002]
    assert not isinstance(CachingEmbedder(TopicEmbedder()), TokenBound)
