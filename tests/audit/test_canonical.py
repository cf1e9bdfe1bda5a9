import json
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.canonical import MAX_INTEGER, canonical, plain, pointer
from gateway.domain.event import Commitment
from gateway.domain.passage import Passage


class Word(StrEnum):
    YES = "yes"


SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def reference(value: object) -> str:
    """RFC 8785 by the letter, for values without floats."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(SHORT.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(reference, value)) + "]"
    assert isinstance(value, dict)
    members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
    return "{" + ",".join(f"{reference(key)}:{reference(item)}" for key, item in members) + "}"


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_canonical_agrees_with_the_reference_and_reads_back(value: object) -> None:
    encoded = canonical(value)
    assert encoded == reference(value).encode()
    assert json.loads(encoded) == value
    assert canonical(json.loads(encoded)) == encoded


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "{}"),
        ({"b": 1, "a": [True, False, None]}, '{"a":[true,false,null],"b":1}'),
        ({"10": 0, "9": 0, "": 0}, '{"":0,"10":0,"9":0}'),
        ("\x00\x1f\x7f/€\u2028", '"\\u0000\\u001f\x7f/€\u2028"'),
        # By UTF-16 code units the character beyond U+FFFF comes first; by code points it comes last.
        ({"\ufb33": 1, "\U0001f600": 2, "ö": 3}, '{"ö":3,"\U0001f600":2,"\ufb33":1}'),
        ({"o": {"\uffff": [{"\U00010000": 1, "\ue000": 2}]}}, '{"o":{"\uffff":[{"\U00010000":1,"\ue000":2}]}}'),
        ({Word.YES: Word.YES, "t": (1, Word.YES)}, '{"t":[1,"yes"],"yes":"yes"}'),
        ([MAX_INTEGER, -MAX_INTEGER], "[9007199254740991,-9007199254740991]"),
    ],
)
def test_canonical_table(value: object, expected: str) -> None:
    assert canonical(value) == expected.encode()


PASSAGE = Passage(doc="d", number=0, revision="r", title="t", text="secret", access=frozenset())


@pytest.mark.parametrize(
    ("value", "error", "place"),
    [
        ({"a": [{"b": 0.5}]}, TypeError, "float at `/a/0/b`"),
        ({"a": 1.0}, TypeError, "float at `/a`"),
        ({"a": float("nan")}, TypeError, "float at `/a`"),
        ({"n": 2**53}, ValueError, "2^53 at `/n`"),
        ([-(2**53)], ValueError, "2^53 at `/0`"),
        ({"a": {1: "x"}}, TypeError, "no string at `/a`"),
        ({"a/b": {"~": b"x"}}, TypeError, "`bytes` at `/a~1b/~0`"),
        ({"a": {"b": {1, 2}}}, TypeError, "`set` at `/a/b`"),
        ({"p": PASSAGE}, TypeError, "`Passage` at `/p`"),
        ({"c": Commitment(text="secret")}, TypeError, "`Commitment` at `/c`"),
        ({"s": "\ud800"}, ValueError, "lone surrogate"),
    ],
)
def test_what_has_no_canonical_form_is_refused_with_its_place(value: object, error: type, place: str) -> None:
    with pytest.raises(error) as caught:
        canonical(value)
    assert place in str(caught.value)
    assert "secret" not in str(caught.value)


def test_plain_values_are_not_copied_and_inputs_not_changed() -> None:
    body = {"a": [1, {"b": "c"}]}
    assert plain(body) is body
    mixed = {"a": Word.YES, "b": {"c": Commitment(text="x")}}
    assert plain(mixed, (), lambda text, path: pointer(path)) == {"a": "yes", "b": {"c": "/b/c"}}
    assert mixed == {"a": Word.YES, "b": {"c": Commitment(text="x")}}
