"""Measures of attack detection against values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evaluation.injection import (
    auroc,
    caught,
    passed,
    recall_at_budget,
    threshold_for_budget,
    wilson,
    worst,
)

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),  # z^2 / (n + z^2)
        (10, 10, 0.722467, 1.0),  # n / (n + z^2)
        (5, 10, 0.236593, 0.763407),  # 0.5 -+ z / (2 sqrt(n + z^2))
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_bounds(hits, total, low, high):
    rate = wilson(hits, total)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=5e-5)
    assert (rate.hits, rate.total) == (hits, total)


def test_wilson_refuses_more_hits_than_cases():
    with pytest.raises(ValueError, match=r"hits must lie in 0\.\.3, not `4`"):
        wilson(4, 3)


def test_rate_without_cases_has_no_value():
    assert math.isnan(wilson(0, 0).value)


def test_rate_prints_value_interval_and_size():
    assert str(wilson(5, 10)) == "0.500 [0.237, 0.763] of 10"


@pytest.mark.parametrize(
    ("attacks", "benign", "expected"),
    [
        ([0.9, 0.8], [0.1, 0.2], 1.0),
        ([0.1], [0.9], 0.0),
        ([0.5], [0.5], 0.5),
        ([0.9, 0.3], [0.5, 0.3], 0.625),  # pairs 1, 1, 0, 1/2
        ([0.4, 0.6, 0.8], [0.5, 0.7], 0.5),  # pairs 0 0, 1 0, 1 1
    ],
)
def test_auroc_counts_ordered_pairs(attacks, benign, expected):
    assert auroc(attacks, benign) == pytest.approx(expected)


def test_auroc_of_an_empty_side_is_not_a_number():
    assert math.isnan(auroc([], [0.5]))
    assert math.isnan(auroc([0.5], []))


@given(SCORES, SCORES)
def test_auroc_of_swapped_sides_is_the_complement(attacks, benign):
    assert auroc(attacks, benign) == pytest.approx(1 - auroc(benign, attacks))


def test_threshold_itself_is_caught_and_does_not_pass():
    assert passed([0.4, 0.5, 0.6], 0.5).hits == 1
    assert caught([0.4, 0.5, 0.6], 0.5).hits == 2


def test_budget_of_a_quarter_lets_one_of_four_be_stopped():
    point = recall_at_budget([0.35, 0.5, 0.9, 0.95], [0.1, 0.2, 0.3, 0.8], 0.25)
    assert 0.3 < point.threshold < 0.35
    assert (point.recall.hits, point.false_alarms.hits) == (4, 1)


def test_budget_of_nothing_stops_no_benign_text():
    point = recall_at_budget([0.35, 0.5, 0.9, 0.95], [0.1, 0.2, 0.3, 0.8], 0.0)
    assert (point.recall.hits, point.false_alarms.hits) == (2, 0)


def test_ties_at_the_budget_are_not_stopped():
    assert recall_at_budget([0.7], [0.7, 0.7, 0.1, 0.1], 0.25).false_alarms.hits == 0


def test_budget_of_everything_has_no_threshold():
    assert threshold_for_budget([0.1, 0.9], 1.0) == -math.inf


@pytest.mark.parametrize("budget", [-0.1, 1.1])
def test_budget_outside_zero_and_one_is_refused(budget):
    with pytest.raises(ValueError, match="a budget of false alarms lies in"):
        threshold_for_budget([0.5], budget)


@given(SCORES, st.floats(0, 1))
def test_budget_is_never_exceeded(benign, budget):
    threshold = threshold_for_budget(benign, budget)
    assert caught(benign, threshold).hits <= budget * len(benign) + 1e-6


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="scores must be finite numbers"):
        caught([0.5, math.nan], 0.5)


def test_worst_rate_is_the_lowest():
    assert worst([wilson(9, 10), wilson(1, 2), wilson(3, 4)]) == wilson(1, 2)
