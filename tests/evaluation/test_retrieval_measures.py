"""Measures of a ranking, and the labelled sets where they are present."""

import gzip
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evaluation.retrieval import (
    LabelledQuery,
    RetrievalSet,
    evaluate,
    ndcg,
    recall,
    reciprocal_rank,
    rhobank,
    scifact,
)

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("ranking", "relevant", "expected"),
    [
        ("abc", "a", 1.0),
        ("abc", "b", 1 / math.log2(3)),
        ("abc", "ac", (1 + 1 / 2) / (1 + 1 / math.log2(3))),
        ("abc", "x", 0.0),
        ("", "a", 0.0),
        ("abc", "", 0.0),
    ],
)
def test_ndcg(ranking, relevant, expected):
    assert ndcg(list(ranking), set(relevant)) == pytest.approx(expected)


def test_only_the_first_k_count():
    ranking = [str(number) for number in range(20)]
    assert ndcg(ranking, {"10"}) == recall(ranking, {"10"}) == reciprocal_rank(ranking, {"10"}) == 0
    assert recall(ranking, {"10"}, 11) == 1
    assert reciprocal_rank(ranking, {"10"}, 11) == pytest.approx(1 / 11)


@pytest.mark.parametrize(
    ("ranking", "relevant", "expected"), [("abc", "a", 1.0), ("abc", "ax", 0.5), ("aab", "a", 1.0), ("abc", "", 0.0)]
)
def test_recall(ranking, relevant, expected):
    assert recall(list(ranking), set(relevant)) == expected


@pytest.mark.parametrize(("ranking", "relevant", "expected"), [("abc", "bc", 0.5), ("abc", "x", 0.0), ("", "a", 0.0)])
def test_reciprocal_rank(ranking, relevant, expected):
    assert reciprocal_rank(list(ranking), set(relevant)) == expected


IDS = st.lists(st.sampled_from("abcdefghijklmnop"), unique=True)


@given(IDS, st.sets(st.sampled_from("abcdefghijklmnop")))
def test_measures_lie_between_0_and_1_and_are_1_for_an_ideal_ranking(ranking, relevant):
    for measure in (ndcg, recall, reciprocal_rank):
        assert 0 <= measure(ranking, relevant) <= 1 + 1e-12
        if 0 < len(relevant) <= 10:
            assert measure([*relevant, *ranking], relevant) == pytest.approx(1)


@given(IDS, st.sets(st.sampled_from("abcdefghijklmnop"), min_size=1), st.integers(0, 14))
def test_moving_a_relevant_item_up_never_lowers_a_measure(ranking, relevant, at):
    if at + 1 >= len(ranking) or ranking[at + 1] not in relevant or ranking[at] in relevant:
        return
    better = [*ranking[:at], ranking[at + 1], ranking[at], *ranking[at + 2 :]]
    for measure in (ndcg, recall, reciprocal_rank):
        assert measure(better, relevant) >= measure(ranking, relevant)


async def test_a_set_is_averaged_over_queries_with_a_relevant_document():
    queries = (
        LabelledQuery(id="1", text="first", relevant=frozenset("a")),
        LabelledQuery(id="2", text="second", relevant=frozenset("b")),
        LabelledQuery(id="3", text="none", relevant=frozenset()),
    )

    async def search(text):
        return {"first": ["a", "a", "b"], "second": ["a", "a", "b"]}[text]

    scores = await evaluate(RetrievalSet(name="s", documents=(), queries=queries), search)
    assert (scores.queries, scores.recall, scores.mrr) == (2, 1.0, 0.75)
    assert scores.ndcg == pytest.approx((1 + 1 / math.log2(3)) / 2)


async def test_a_set_without_queries_scores_nothing():
    async def search(_text):
        raise AssertionError

    assert (await evaluate(RetrievalSet(name="s", documents=(), queries=()), search)).ndcg == 0


def write(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


def test_sets_are_read_from_a_folder(tmp_path):
    folder = tmp_path / "retrieval"
    write(folder / "scifact_corpus.jsonl.gz", [{"id": "d", "title": "T", "sentences": ["One.", "Two."]}])
    write(folder / "scifact_claims_train.jsonl.gz", [{"id": "1", "text": "claim", "relevant": ["d"], "split": "x"}])
    write(folder / "rhobank_docs.jsonl.gz", [{"id": "b", "title": "B", "text": "# B", "internal": True}])
    write(
        folder / "rhobank_tasks.jsonl.gz",
        [{"id": "t", "scenario": {"persona": None, "instructions": "- **Ask** this"}, "required_documents": ["b"]}],
    )
    claims, tasks = scifact(tmp_path), rhobank(tmp_path)
    assert (claims.documents[0].text, claims.queries[0].relevant) == ("One. Two.", {"d"})
    assert (tasks.documents[0].internal, tasks.queries[0].text.split()) == (True, ["Ask", "this"])
    assert "claim" not in repr(claims)


def test_sets_that_are_absent_are_none(tmp_path):
    assert scifact(tmp_path) is None
    assert rhobank(tmp_path) is None


@pytest.mark.skipif(not (DATA / "retrieval").is_dir(), reason="../shared/data has no labelled sets")
def test_the_labelled_sets_have_their_documents():
    for labelled in (scifact(DATA), rhobank(DATA)):
        known = {document.id for document in labelled.documents}
        judged = [query for query in labelled.queries if query.relevant]
        assert len(judged) > 40
        assert all(query.relevant <= known for query in judged)
