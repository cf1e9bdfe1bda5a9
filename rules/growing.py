"""The beginnings of a match: from a regular expression to one that matches each non-empty prefix of its matches.

Searched for at the end of a text, the derived expression finds the earliest place from which a match may still be
growing, in one linear pass. Construction by structural induction (prefix closure of a regular language; Hopcroft
and Ullman 1979, exercise 3.4): P(ab) = P(a) | a P(b), P(a*) = a* P(a), P(a|b) = P(a) | P(b). A complete match counts
as a beginning, since the code point after it may extend it or decide a word boundary.
"""

import re
from collections.abc import Iterable, Sequence
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any, Final

import re2

from rules.normalise import normalise

_MAX_CHARS: Final = 2_000_000  # of the joined expression; beyond it RE2's program would not fit
_MEMORY: Final = 256 << 20  # bytes; a bound and not a reservation
_CATEGORIES: Final = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}
_POSITIONS: Final = {
    sre.AT_BEGINNING: "^",
    sre.AT_BEGINNING_STRING: r"\A",
    sre.AT_BOUNDARY: r"\b",
    sre.AT_NON_BOUNDARY: r"\B",
    sre.AT_END: "$",
    sre.AT_END_STRING: r"\z",
}


_CODE_POINT: Final = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_UNICODE_CLASSES: Final = {
    r"[^\pL\pN\pM_]": r"\W",
    r"[\s\pZ]": r"[\s\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
}


class UnsupportedExpressionError(ValueError):
    """The expression uses something whose prefixes cannot be written in RE2."""


def beginnings(expression: str, *, context: int = 0) -> str:
    """An RE2 expression for every non-empty prefix of a match of `expression`, and perhaps for more: what is held
    back for nothing is released a little later.

    `context` says that up to so many characters behind a match may still change what is made of it: they belong to
    the match here. Raises `UnsupportedExpressionError` for look-around, back-references and syntax that Python's
    parser does not share with RE2; callers then judge whole sentences instead.
    """
    try:
        parsed = sre_parser.parse(_python_syntax(expression))
    except (re.error, OverflowError, RecursionError) as error:
        raise UnsupportedExpressionError(f"cannot derive beginnings: {error}") from None
    derived = _prefix_of_sequence(list(parsed))
    if derived is None:
        raise UnsupportedExpressionError("cannot derive beginnings: the expression matches only the empty text")
    if context:
        derived = f"{derived}|{_sequence(list(parsed))}(?s:.{{0,{context}}})"
    flags = _flag_letters(parsed.state.flags)
    return f"(?{flags}:{derived})" if flags else f"(?:{derived})"


def all_beginnings(expressions: Iterable[str]) -> tuple[str, ...] | None:
    """The beginnings of each expression, or `None` if one of them cannot be derived."""
    try:
        return tuple(beginnings(expression) for expression in expressions)
    except UnsupportedExpressionError:
        return None


def _python_syntax(expression: str) -> str:
    """RE2's notations for code points and for the classes of Unicode that our expressions use, in Python's. A class
    becomes one that holds at least as much, unless it is negated, where it holds no more."""
    expression = _CODE_POINT.sub(lambda match: f"\\U{int(match.group(1), 16):08x}", expression)
    for unicode_class, wider in _UNICODE_CLASSES.items():
        expression = expression.replace(unicode_class, wider)
    return expression.replace(r"\z", r"\Z")


class GrowingMatches:
    """Finds the earliest start of a growing match at the end of a text, as received and as a reader sees it
    (invisible characters do not end a match). Raises `UnsupportedExpressionError` if the program is too large."""

    __slots__ = ("_program",)

    def __init__(self, expressions: Sequence[str]) -> None:
        joined = "|".join(expressions)
        if len(joined) > _MAX_CHARS:
            raise UnsupportedExpressionError("cannot derive beginnings: the expressions are too large together")
        options = re2.Options()
        options.max_mem = _MEMORY
        options.log_errors = False
        options.never_capture = True
        self._program = re2.compile(rf"(?:{joined})\z".encode(), options=options)

    def start(self, text: str) -> int | None:
        """Code points of `text`; `None` if nothing is growing."""
        start = self._search(text)
        if text.isascii():
            return start
        view = normalise(text)
        if view.text == text:
            return start
        seen = self._search(view.text)
        if seen is None:
            return start
        at = view.span(seen, len(view.text))[0]
        return at if start is None else min(start, at)

    def _search(self, text: str) -> int | None:
        data = text.encode("utf-8", "replace")  # a lone surrogate becomes `?`, one character like itself
        match = self._program.search(data)
        if match is None:
            return None
        start: int = match.start()
        return start if len(data) == len(text) else len(data[:start].decode())


def _flag_letters(flags: int) -> str:
    letters = (("i", re.IGNORECASE), ("s", re.DOTALL), ("m", re.MULTILINE))
    return "".join(letter for letter, flag in letters if flags & flag)


def _prefix_of_sequence(nodes: list[tuple[Any, Any]]) -> str | None:
    """P(n1 n2 …) = P(n1) | n1 (P(n2) | n2 (…)), built from the right."""
    derived: str | None = None
    for node in reversed(nodes):
        own = _prefix(node)
        rest = None if derived is None else f"{_whole(node)}(?:{derived})"
        alternatives = [part for part in (own, rest) if part is not None]
        derived = "|".join(alternatives) if alternatives else None
    return derived


def _prefix(node: tuple[Any, Any]) -> str | None:
    """Non-empty prefixes of one node's matches, or None where there are none (assertions)."""
    operator, argument = node
    match operator:
        case sre.AT:
            return None
        case sre.LITERAL | sre.NOT_LITERAL | sre.ANY | sre.IN:
            return _whole(node)
        case sre.SUBPATTERN:
            _, add, remove, inner = argument
            derived = _prefix_of_sequence(list(inner))
            return None if derived is None else _with_flags(derived, add, remove)
        case sre.BRANCH:
            parts = [derived for branch in argument[1] if (derived := _prefix_of_sequence(list(branch))) is not None]
            return f"(?:{'|'.join(parts)})" if parts else None
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            _, most, inner = argument
            derived = _prefix_of_sequence(list(inner))
            if derived is None or most == 0:
                return None
            body = _sequence(list(inner))
            repeat = "*" if most == sre.MAXREPEAT else f"{{0,{most - 1}}}"
            return f"(?:{body}){repeat}(?:{derived})" if most != 1 else f"(?:{derived})"
    raise UnsupportedExpressionError(f"cannot derive beginnings of `{operator}`")


def _sequence(nodes: list[tuple[Any, Any]]) -> str:
    return "".join(_whole(node) for node in nodes)


def _whole(node: tuple[Any, Any]) -> str:
    """The node as RE2 text."""
    operator, argument = node
    match operator:
        case sre.AT if argument in _POSITIONS:
            return _POSITIONS[argument]
        case sre.LITERAL:
            return str(re2.escape(chr(argument)))
        case sre.NOT_LITERAL:
            return f"[^{_in_class(argument)}]"
        case sre.ANY:
            return "."
        case sre.IN:
            return _character_class(argument)
        case sre.SUBPATTERN:
            _, add, remove, inner = argument
            return _with_flags(_sequence(list(inner)), add, remove)
        case sre.BRANCH:
            return f"(?:{'|'.join(_sequence(list(branch)) for branch in argument[1])})"
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            least, most, inner = argument
            upper = "" if most == sre.MAXREPEAT else str(most)
            return f"(?:{_sequence(list(inner))}){{{least},{upper}}}"
    raise UnsupportedExpressionError(f"cannot derive beginnings of `{operator}`")


def _with_flags(expression: str, add: int, remove: int) -> str:
    on, off = _flag_letters(add), _flag_letters(remove)
    switches = on + (f"-{off}" if off else "")
    return f"(?{switches}:{expression})"


def _character_class(items: list[tuple[Any, Any]]) -> str:
    negated = bool(items) and items[0][0] is sre.NEGATE
    parts = []
    for operator, argument in items[1:] if negated else items:
        match operator:
            case sre.LITERAL:
                parts.append(_in_class(argument))
            case sre.RANGE:
                parts.append(f"{_in_class(argument[0])}-{_in_class(argument[1])}")
            case sre.CATEGORY if argument in _CATEGORIES:
                parts.append(_CATEGORIES[argument])
            case _:
                raise UnsupportedExpressionError(f"cannot derive beginnings of `{operator}` in a class")
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _in_class(code_point: int) -> str:
    return f"\\x{{{code_point:x}}}"
