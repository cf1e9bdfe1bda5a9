"""The published table of `make audit-table`, with fewer placements; it must say the same."""

import re

import pytest
from detection_table import MUTATIONS, PLACEMENTS, TARGET, Mutation, count

FEW = 4
ROWS = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| (\d+ \| \d+ \| \d+) \|$", TARGET.read_text(), re.MULTILINE))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_is_caught_as_published(mutation: Mutation, tmp_path) -> None:
    published = [int(number) for number in ROWS[mutation.name].split(" | ")]
    assert set(published) <= {0, PLACEMENTS}
    expected = tuple(FEW if number else 0 for number in published)
    assert count(mutation, FEW, tmp_path) == expected


def test_the_table_has_a_row_for_every_mutation_and_no_other() -> None:
    assert list(ROWS) == [mutation.name for mutation in MUTATIONS]


def test_a_true_log_raises_no_alarm_and_honest_zeros_stay() -> None:
    assert ROWS["nothing: a true log"] == "0 | 0 | 0"
    assert ROWS["cut off the tail"].startswith("0 | ")
    assert ROWS["edit, re-chain, re-sign with the key"] == f"0 | 0 | {PLACEMENTS}"
