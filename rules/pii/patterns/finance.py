"""Cards, accounts and wallets."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rules.pii.checksums import aba_routing, bitcoin, iban, iban_length, is_card
from rules.pii.pattern import END, START, Evidence, Pattern

SEPARATOR: Final = r"[ .\-\x{2010}-\x{2015}]"
"""What people put between the groups of a number."""

_SHORTEST_CARD: Final = 12
_LONGEST_CARD: Final = 19
_IBAN_START: Final = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}\d{2}")


def cards_in(value: str) -> list[tuple[int, int]]:
    """Card numbers in a run of digits: all of it, or whole groups of it, since an expiry date, a security code or the
    next card often stands right behind. Groups are as people write them (see `_is_layout`): a table of decimals has
    windows that pass any check digit. Linear: sums over a window of digits are differences of running sums."""
    places = [i for i, char in enumerate(value) if char.isdigit()]
    digits = "".join(value[place] for place in places)
    breaks = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(places)) if b - a > 1), len(places)]
    luhn_sums = _luhn_sums(digits)
    cards: list[tuple[int, int]] = []
    free = 0  # digits before this one are part of a card already
    for first, start in enumerate(breaks[:-1]):
        if start < free:
            continue
        last = bisect_right(breaks, start + _LONGEST_CARD, first) - 1
        while breaks[last] - start >= _SHORTEST_CARD:
            end = breaks[last]
            sums = luhn_sums[end % 2]
            if (
                (sums[end] - sums[start]) % 10 == 0
                and _is_layout(breaks[first : last + 1])
                and is_card(digits[start:end])
            ):
                cards.append((places[start], places[end - 1] + 1))
                free = end
                break
            last -= 1
    return cards


def _luhn_sums(digits: str) -> tuple[list[int], list[int]]:
    """Running Luhn sums for windows that end at an even and at an odd place."""
    once = [int(char) for char in digits]
    twice = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in once]
    even, odd = [0], [0]
    for place, (single, double) in enumerate(zip(once, twice, strict=True)):
        even.append(even[-1] + (single if place % 2 else double))
        odd.append(odd[-1] + (double if place % 2 else single))
    return even, odd


def _is_layout(breaks: Sequence[int]) -> bool:
    """At most five groups of three or more digits, or all digits alone, or in pairs."""
    sizes = [end - start for start, end in pairwise(breaks)]
    return (len(sizes) <= 5 and min(sizes) >= 3) or (len(set(sizes)) == 1 and sizes[0] <= 2)


def ibans_in(value: str) -> list[tuple[int, int]]:
    """Account numbers, each cut to the length that its country prescribes."""
    ibans: list[tuple[int, int]] = []
    for match in _IBAN_START.finditer(value):
        start, wanted, count = match.start(), iban_length(match.group()[:2]), 0
        for i in range(start, min(len(value), start + 2 * wanted)):
            count += value[i].isalnum()
            if count == wanted:
                if not value[i + 1 : i + 2].isalnum() and iban(value[start : i + 1]):
                    ibans.append((start, i + 1))
                break
    return ibans


_ACCOUNT: Final = r"account|acct|a/c|acc\.?|konto|kontonummer|compte|cuenta|conto|bank"

FINANCE: Final = (
    Pattern(
        name="credit_card",
        kind="CREDIT_CARD",
        regex=rf"{START}(\d(?:{SEPARATOR}?\d){{11,}}){END}",
        parts=cards_in,
        evidence=Evidence.CHECKSUM,
        score=1.0,
    ),
    Pattern(
        name="credit_card_spaced",  # each digit on its own, with anything between
        kind="CREDIT_CARD",
        regex=rf"{START}(\d(?:[\s.,*_/\-]{{1,3}}\d){{11,}}){END}",
        parts=cards_in,
        evidence=Evidence.CHECKSUM,
        score=1.0,
    ),
    Pattern(
        name="card_security_code",
        kind="CARD_SECURITY_CODE",
        regex=r"(?i)\b(?:cvv2?|cvc2?|card security code|security code)\b[^\d\n]{0,12}\b(\d{3,4})\b",
        evidence=Evidence.CONTEXT,
        score=0.9,
    ),
    Pattern(
        name="iban",
        kind="IBAN_CODE",
        regex=rf"{START}([A-Za-z]{{2}}\d{{2}}(?:[ \-]?[A-Za-z0-9]){{11,}}){END}",
        parts=ibans_in,
        evidence=Evidence.CHECKSUM,
        score=1.0,
    ),
    Pattern(
        name="account_number",
        kind="US_BANK_NUMBER",
        regex=r"\b\d{6,17}\b",
        context=rf"(?:{_ACCOUNT})(?:[ -]?(?:number|no|nr|num|#))?",
        context_score=0.7,
        unless=r"invoice|order|ticket|policy|reference|ref|case|phone|tel|mobile|member|since",
        before=32,
        after=0,
    ),
    Pattern(
        name="sort_code",
        kind="UK_SORT_CODE",
        regex=r"\b\d{2}[- ]\d{2}[- ]\d{2}\b",
        context=r"sort[- ]?code",
        context_score=0.9,
    ),
    Pattern(
        name="aba_routing",
        kind="ABA_ROUTING_NUMBER",
        regex=r"\b\d{9}\b|\b\d{4}-\d{4}-\d\b",
        check=aba_routing,
        context=r"routing|aba|rtn|transit|wire",
        context_score=0.95,
        evidence=Evidence.FORMAT,
    ),
    Pattern(
        name="bitcoin",
        kind="CRYPTO",
        regex=r"\b(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[ac-hj-np-z02-9]{11,71}|BC1[AC-HJ-NP-Z02-9]{11,71})\b",
        check=bitcoin,
        evidence=Evidence.CHECKSUM,
        score=1.0,
    ),
    Pattern(
        name="ethereum",
        kind="CRYPTO",
        regex=r"\b0x[0-9A-Fa-f]{40}\b",
        score=0.7,
        context=r"eth|ethereum|wallet|address|metamask|erc-?20|send",
        context_score=0.9,
    ),
)
