"""Reciprocal rank fusion and the query terms of the lexical search."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.retrieval.fusion import reciprocal_rank_fusion
from gateway.retrieval.terms import MAX_TERMS, match_any, query_terms

RANKINGS = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=15), min_size=1, max_size=4)


def items(rankings):
    return [fused.item for fused in reciprocal_rank_fusion(rankings)]


def test_the_sum_of_reciprocal_ranks_decides():
    fused = reciprocal_rank_fusion([[7, 8, 9], [9, 7]])
    assert [one.item for one in fused] == [7, 9, 8]
    assert fused[0].score == pytest.approx((1 / 61 + 1 / 62) / (2 / 61))


@given(RANKINGS)
def test_every_item_comes_once_with_a_falling_score_in_0_to_1(rankings):
    fused = reciprocal_rank_fusion(rankings)
    assert sorted(one.item for one in fused) == sorted({item for ranking in rankings for item in ranking})
    scores = [one.score for one in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 + 1e-12 for score in scores)


@given(RANKINGS, st.randoms())
def test_the_order_of_rankings_does_not_matter(rankings, random):
    shuffled = random.sample(rankings, len(rankings))
    assert {one.item: pytest.approx(one.score) for one in reciprocal_rank_fusion(rankings)} == {
        one.item: one.score for one in reciprocal_rank_fusion(shuffled)
    }


@given(st.lists(st.integers(0, 30), unique=True))
def test_one_ranking_or_the_same_twice_stays_as_it_is(ranking):
    assert items([ranking]) == ranking
    assert items([ranking, ranking]) == ranking


@given(RANKINGS)
def test_an_item_that_is_better_everywhere_comes_first(rankings):
    best = 99
    assert items([[best, *ranking] for ranking in rankings])[0] == best


def test_no_rankings_give_nothing():
    assert reciprocal_rank_fusion([]) == []


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("What is the fee for a transfer abroad?", ["fee", "transfer", "abroad"]),
        ("FEE fee Fee", ["fee"]),
        ("snake_case and kebab-case", ["snake", "case", "kebab"]),
        ("the of and", []),
        ("", []),
        ("Größe über 10.000 €", ["größe", "über", "10", "000"]),
    ],
)
def test_query_terms(text, terms):
    assert query_terms(text) == terms


def test_a_long_query_has_a_bounded_number_of_terms():
    assert len(query_terms(" ".join(f"w{number}" for number in range(10_000)))) == MAX_TERMS


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8))
def test_no_term_is_syntax(terms):
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5 (a, b)")
        query = match_any(term.replace("\x00", "").encode("utf-8", "replace").decode() for term in terms)
        assert connection.execute("SELECT count(*) FROM t WHERE t MATCH ?", (query,)).fetchone() == (0,)
    finally:
        connection.close()
