"""Free text -> query terms of the lexical search. Nothing of the text can act as query syntax."""

import re
from collections.abc import Iterable
from typing import Final

MAX_TERMS: Final = 64  # a longer query is a document; its first distinct words say what it is about
_MAX_CHARS: Final = 20_000

_WORD: Final = re.compile(r"[^\W_]+")

# Function words and the frame of a question. They are in most passages, so they cost much and tell nothing.
STOP_WORDS: Final = frozenset(
    """
    a about after again all also am an and any are as at be because been before being below between both but by can
    could did do does doing done down during each either else ever every few for from further get had has have having
    he her here hers him his how i if in into is it its itself just let may me might more most much must my myself
    neither no nor not of off on once one only onto or other our ours out over own per please shall she should since
    so some such tell than that the their theirs them then there these they this those through to too under until up
    upon us very via was we were what when where whether which while who whom whose why will with within without would
    you your yours
    """.split()  # noqa: SIM905 - a list of 170 quoted words would be three pages
)


def query_terms(text: str) -> list[str]:
    """Distinct words in order, folded to lower case, without stop words, at most `MAX_TERMS`."""
    words = dict.fromkeys(match.group().lower() for match in _WORD.finditer(text[:_MAX_CHARS]))
    return [word for word in words if word not in STOP_WORDS][:MAX_TERMS]


def match_any(terms: Iterable[str]) -> str:
    """An FTS5 query for passages that hold any of the terms. A term is a quoted string, whose only special
    character is the quote, so no term is read as an operator or a column name."""
    quoted = ('"' + term.replace('"', '""') + '"' for term in terms)
    return " OR ".join(quoted)
