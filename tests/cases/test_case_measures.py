import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cases.measures import agreement, share

VERDICTS = st.sampled_from(["approve", "refuse"])


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662), (1, 29, 0.0061, 0.1718)],
)
def test_shares_have_wilsons_interval(hits: int, total: int, low: float, high: float) -> None:
    found = share(hits, total)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def pairs(both: int, only_first: int, only_second: int, neither: int) -> list[tuple[str, str]]:
    return (
        [("approve", "approve")] * both
        + [("approve", "refuse")] * only_first
        + [("refuse", "approve")] * only_second
        + [("refuse", "refuse")] * neither
    )


@pytest.mark.parametrize(
    ("table", "kappa"),
    [((20, 5, 10, 15), 0.4), ((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593), ((10, 0, 0, 10), 1.0)],
)
def test_kappa_of_tables_from_the_textbooks(table: tuple[int, int, int, int], kappa: float) -> None:
    assert agreement(pairs(*table)).kappa == pytest.approx(kappa, abs=1e-4)


def test_the_error_of_kappa_is_that_of_fleiss_cohen_and_everitt() -> None:
    found = agreement(pairs(20, 5, 10, 15))
    # By hand: (.10972 + .36 * .283 - .01) / (.25 * 50) = .016128, whose root is .12700.
    assert (found.high - found.kappa) / 1.959964 == pytest.approx(0.12700, abs=1e-4)


def test_kappa_is_not_defined_without_cases_or_without_a_choice() -> None:
    assert agreement([]).kappa is None
    assert agreement(pairs(9, 0, 0, 0)).kappa is None
    assert (agreement(pairs(9, 0, 0, 0)).agreed, agreement(pairs(0, 3, 0, 0)).kappa) == (9, 0.0)


@given(st.lists(st.tuples(VERDICTS, VERDICTS), min_size=1, max_size=60))
def test_agreement_does_not_ask_who_was_first_and_stays_in_its_bounds(given_pairs) -> None:
    found, turned = agreement(given_pairs), agreement([(second, first) for first, second in given_pairs])
    assert found.agreed == turned.agreed
    if found.kappa is None:
        assert turned.kappa is None
        return
    assert math.isclose(found.kappa, turned.kappa, abs_tol=1e-9)
    assert -1 <= found.low <= found.kappa + 1e-9
    assert found.kappa - 1e-9 <= found.high <= 1


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_share_lies_in_its_interval(hits: int, more: int) -> None:
    found = share(hits, hits + more)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
