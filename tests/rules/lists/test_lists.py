"""Word lists of the policies: matching, case, spans, refusals at load."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.definition import ListDefinition, ListMatch
from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import EMPTY_SCAN
from gateway.domain.vocabulary import Placement, SignalType
from rules.lists import ListDetector

LOANS = ListDefinition(id="loans", values=("loan", "mortgage", "credit line", "Stra\u00dfe", "c++"))


def detector(match: ListMatch = ListMatch.WORD, *values: str, fold_case: bool = True) -> ListDetector:
    return ListDetector([ListDefinition(id="l", values=values, match=match, fold_case=fold_case)])


def found(of: ListDetector, text: str) -> list[str]:
    (result,) = of.scan([text])
    assert bool(result.values) == bool(result.findings)
    return [text[finding.start : finding.end] for finding in result.findings]


def test_declares_a_flag_per_list() -> None:
    lists = ListDetector([LOANS])
    assert (lists.name, lists.placement, lists.signals) == ("lists", Placement.INLINE, {"list.loans": SignalType.FLAG})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A loan, please", ["loan"]),
        ("LOAN loan\tLoan", ["LOAN", "loan", "Loan"]),
        ("loans and reloan", []),
        ("loan_id, 3loan", []),
        ("\u00e4loan\u00e4", []),
        ("credit line", ["credit line"]),
        ("Credit\n \u00a0Line!", ["Credit\n \u00a0Line"]),
        ("creditline", []),
        ("in der STRASSE, Stra\u00dfe", ["STRASSE", "Stra\u00dfe"]),
        ("write c++ now", ["c++"]),
        ("lo\u200ban", ["lo\u200ban"]),
        ("l\u043e\u0430n", ["l\u043e\u0430n"]),
        ("\ufb02oan \uff4c\uff4f\uff41\uff4e", ["\uff4c\uff4f\uff41\uff4e"]),
        ("\u0130 loan \u00df mortgage", ["loan", "mortgage"]),
        ("\ud83dloan\ud83d", ["loan"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert found(ListDetector([LOANS]), text) == words


@pytest.mark.parametrize(
    ("match", "fold_case", "text", "words"),
    [
        (ListMatch.SUBSTRING, True, "reLOANed", ["LOAN"]),
        (ListMatch.SUBSTRING, False, "reLOANed loan", ["loan"]),
        (ListMatch.WORD, False, "Loan loan", ["loan"]),
        (ListMatch.EXACT, True, "  Loan\n", ["Loan"]),
        (ListMatch.EXACT, True, "a loan", []),
        (ListMatch.EXACT, False, "Loan", []),
    ],
)
def test_modes(match: ListMatch, fold_case: bool, text: str, words: list[str]) -> None:
    assert found(detector(match, "loan", fold_case=fold_case), text) == words


def test_the_longest_value_wins_at_a_place() -> None:
    assert found(detector(ListMatch.WORD, "credit", "credit line", "line"), "credit line, line") == [
        "credit line",
        "line",
    ]
    assert found(detector(ListMatch.SUBSTRING, "a", "ab"), "abab") == ["ab", "ab"]


def test_lists_of_both_cases_work_side_by_side() -> None:
    lists = ListDetector([LOANS, ListDefinition(id="acme", values=("ACME",), fold_case=False)])
    (result,) = lists.scan(["an Acme Loan from ACME"])
    assert result.values == {"list.loans": True, "list.acme": True}
    assert [(finding.kind, finding.start) for finding in result.findings] == [("list.loans", 8), ("list.acme", 18)]


def test_thousands_of_values_are_each_found() -> None:
    values = tuple(f"term{i:04d}" for i in range(5_000))
    assert found(detector(ListMatch.WORD, *values), "xterm0001 TERM0002 term4999 term5000") == ["TERM0002", "term4999"]


@pytest.mark.parametrize("values", [(), ("",), ("a", "  ")])
def test_an_empty_list_or_value_is_refused_by_name(values: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="list `l` is empty or holds an empty value"):
        detector(ListMatch.WORD, *values)


def test_ids_are_unique() -> None:
    with pytest.raises(ConfigurationError, match="same id"):
        ListDetector([LOANS, LOANS])


def test_version_is_that_of_the_values() -> None:
    assert detector(ListMatch.WORD, "a", "b").version == detector(ListMatch.WORD, "b", "a").version
    assert detector(ListMatch.WORD, "a").version != detector(ListMatch.SUBSTRING, "a").version


def test_no_lists_see_nothing() -> None:
    assert ListDetector([]).scan(["loan"]) == [EMPTY_SCAN]


@given(st.text("ab \u00e4.\U0001f642-", max_size=25))
def test_words_agree_with_the_plain_definition(text: str) -> None:
    expected = [match.group() for match in re.finditer(r"(?<!\w)ab?(?!\w)", text)]
    assert found(detector(ListMatch.WORD, "ab", "a"), text) == expected
