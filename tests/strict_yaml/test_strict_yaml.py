"""Strict YAML: one meaning, every fault with its place."""

import datetime as dt
import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from gateway.domain.errors import Fault, FaultsFound
from gateway.domain.vocabulary import Effect
from gateway.strict_yaml import MAX_CHARS, Document, Hole, Mapping, Node, Scalar, load, load_document, nearest, read


class Canary(Struct, frozen=True, kw_only=True):
    canary: Annotated[int, Meta(ge=1, le=100)]


class Rule(Struct, frozen=True, kw_only=True):
    id: Annotated[str, Meta(pattern="^[A-Z]+-[0-9]+$")]
    effect: Effect = Effect.FLAG
    mode: Literal["enforce", "shadow"] | Canary = "enforce"
    score: float | None = None
    phases: str | tuple[str, ...] = ()


class File(Struct, frozen=True, kw_only=True, rename={"api_version": "apiVersion"}):
    api_version: str
    count: int = 0
    ratio: float = 0.0
    on: bool = False
    day: dt.date | None = None
    path: Path = Path()
    rules: tuple[Rule, ...] = ()
    names: dict[str, str] = {}
    free: Any = None


def faults_of(text: str, type_: type = File) -> list[str]:
    with pytest.raises(FaultsFound) as caught:
        load(text, "f.yaml", type_)
    return [str(fault) for fault in caught.value.faults]


def test_a_sound_text_becomes_a_frozen_value() -> None:
    value = load(
        "# c\napiVersion: 1.10\ncount: 0x1F\nratio: 1\non: true\nday: 2027-05-01\npath: a/b\n"
        "rules:\n  - {id: AB-1, effect: refuse, mode: {canary: 10}, phases: [a, b]}\n  - id: AB-2\n    score: .5\n"
        "    phases: a\n",
        "f.yaml",
        File,
    )
    assert value == File(
        api_version="1.10",
        count=31,
        ratio=1.0,
        on=True,
        day=dt.date(2027, 5, 1),
        path=Path("a/b"),
        rules=(
            Rule(id="AB-1", effect=Effect.REFUSE, mode=Canary(canary=10), phases=("a", "b")),
            Rule(id="AB-2", score=0.5, phases="a"),
        ),
    )


@pytest.mark.parametrize(
    "text", ["NO", "off", "1.10", "12:30", "2026-11-24", "0777", "1_000", "true", "1e3", "0x1F", "+5", "-"]
)
def test_a_text_field_keeps_what_the_author_wrote(text: str) -> None:
    if text == "-":  # a lone dash is a list item
        text = "'-'"
    assert load(f"apiVersion: {text}\n", "f", File).api_version == text.strip("'")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("2026-11-24", "2026-11-24"),
        ("1_000", "1_000"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.10", 1.1),
        ("-3", -3),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("True", True),
        ("~", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("[1, a, {b: null}]", [1, "a", {"b": None}]),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_an_untyped_value_follows_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert load(f"apiVersion: a\nfree: {text}\n", "f", File).free == value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "f.yaml:1:1: YAML004 the document is empty: write its keys"),
        ("apiVersion: a\napiVersion: b\n", "f.yaml:2:1: YAML010 key `apiVersion` is already on line 1"),
        ("apiVersion: a\n'apiVersion': b\n", "f.yaml:2:1: YAML010"),
        ("apiVersion: &x a\n", "f.yaml:1:13: YAML007 an anchor `&x`"),
        ("apiVersion: !!str a\n", "f.yaml:1:13: YAML008 a tag `!!str`"),
        ("apiVersion: ! a\n", "f.yaml:1:13: YAML008"),
        ("apiVersion: a\nfree: !!python/object/apply:os.system [id]\n", "f.yaml:2:7: YAML008 a tag `!!python"),
        ("apiVersion: a\nnames:\n  <<: {b: c}\n", "f.yaml:3:3: YAML007 a merge key `<<`"),
        ("apiVersion: a\n---\napiVersion: b\n", "f.yaml:2:1: YAML005 a second document"),
        ("%YAML 1.1\n---\napiVersion: a\n", "f.yaml:"),
        ("apiVersion: a\nnames: {[a]: b}\n", "f.yaml:2:9: YAML009 a key is a list"),
        ("apiVersion: 'a\n", "f.yaml:"),
        ("apiVersion: a\n\tb: c\n", "f.yaml:2:"),
        ("apiVersion: a\nnames: {a: \u202eb}\n", "f.yaml:2:12: YAML002 character `U+202E`"),
        ("apiVersion: a\u200bb\n", "f.yaml:1:14: YAML002 character `U+200B`"),
        ("apiVersion: a\xadb\n", "f.yaml:1:14: YAML002 character `U+00AD`"),
        ("apiVersion: 'a\u2067b'\n", "f.yaml:1:15: YAML002 character `U+2067`"),
        ("apiVersion: a # \U000e0041\n", "f.yaml:1:17: YAML002 character `U+E0041`"),
        ("apiVersion: a\x00\n", "f.yaml:1:14: YAML002 character `U+0000`"),
        ("apiVersion: \ud800\n", "f.yaml:1:13: YAML002 character `U+D800`"),
        ("apiVersion: a\nnames: " + "[" * 100 + "]" * 100, "f.yaml:2:39: YAML001 nested deeper than 32"),
        ("#" * (MAX_CHARS + 1), "f.yaml:1:1: YAML001 text has"),
        ("- a\n", "f.yaml:1:1: YAML021 a list where a mapping is expected: write a mapping with `apiVersion`"),
        ("count: 1\n", "f.yaml:1:1: YAML022 key `apiVersion` is missing: add it"),
        ("apiversion: a\n", "f.yaml:1:1: YAML020 unknown key `apiversion`: did you mean `apiVersion`?"),
        ("apiVersion:\n", "f.yaml:1:12: YAML021 no value where text is expected"),
        ("apiVersion: a\ncount: 1.5\n", "f.yaml:2:8: YAML021 `1.5` is not a whole number"),
        ("apiVersion: a\ncount: '1'\n", "f.yaml:2:8: YAML021 `1` is not a whole number: remove the quotes"),
        ("apiVersion: a\non: yes\n", "f.yaml:2:5: YAML021 `yes` is not `true` or `false`: write `true`"),
        ("apiVersion: a\nratio: .nan\n", "f.yaml:2:8: YAML021 `.nan` is not a number"),
        ("apiVersion: a\nday: 2027-02-30\n", "f.yaml:2:6: YAML021 `2027-02-30` is not a date such as `2027-01-31`"),
        ("apiVersion: a\nrules: {}\n", "f.yaml:2:8: YAML021 a mapping where a list is expected"),
        ("apiVersion: a\nrules: [{id: ab}]\n", "f.yaml:2:14: YAML024 `ab` has the wrong form"),
        ("apiVersion: a\nrules: [{id: AB-1, effect: refuze}]\n", "f.yaml:2:28: YAML023 unknown value `refuze`: did"),
        ("apiVersion: a\nrules: [{id: AB-1, mode: {canary: 0}}]\n", "f.yaml:2:35: YAML024 `0` is out of range"),
        ("apiVersion: a\nrules: [{id: AB-1, mode: shadw}]\n", "f.yaml:2:26: YAML023 unknown value `shadw`"),
        ("apiVersion: a\nrules: [{id: AB-1, mode: [x]}]\n", "f.yaml:2:26: YAML021 a list is not possible here"),
    ],
)  # fmt: skip
def test_a_fault_names_place_value_and_remedy(text: str, fault: str) -> None:
    found = faults_of(text)
    assert len(found) == 1, found
    assert found[0].startswith(fault), found


def test_an_alias_is_a_fault_and_nothing_is_expanded() -> None:
    bomb = "apiVersion: a\nfree:\n  - &a [x, x]\n" + "".join(
        f"  - &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    started = time.perf_counter()
    found = faults_of(bomb)
    assert time.perf_counter() - started < 1
    assert sum("YAML007 an alias" in fault for fault in found) == 81
    assert sum("YAML007 an anchor" in fault for fault in found) == 10


def test_all_faults_are_reported_together_in_order_of_place() -> None:
    found = faults_of(
        "apiVersion: a\ncount: x\nrulez: []\nrules:\n  - {id: A, efect: flag}\n  - {id: AB-1, effect: no}\n"
    )
    assert [fault.split(": ")[0] for fault in found] == [
        "f.yaml:2:8",
        "f.yaml:3:1",
        "f.yaml:5:10",
        "f.yaml:5:13",
        "f.yaml:6:24",
    ]


def test_what_is_sound_is_decoded_beside_a_fault_for_later_checks() -> None:
    faults: list[Fault] = []
    document = load_document("apiVersion: a\ncount: x\nrules:\n  - {id: bad}\n  - {id: AB-1}\n", "f", File, faults)
    assert len(faults) == 2
    assert isinstance(document, Document)
    assert document.value.rules == (Rule(id="AB-1"),)
    assert document.value.count == 0
    place = document.node(document.value.rules[0], "id")
    assert (place.line, place.column) == (5, 10)
    assert document.node(document.value.rules[0], "absent").line == 5


def test_front_matter_has_the_places_of_its_file() -> None:
    faults: list[Fault] = []
    load_document("apiVersion: a\ncount: x\n", "d.md", File, faults, first_line=2)
    assert [(fault.line, fault.column) for fault in faults] == [(3, 8)]


def test_a_representation_shows_no_text() -> None:
    faults: list[Fault] = []
    root = read("key: zebra\n", "f", faults)
    assert isinstance(root, Mapping)
    assert "zebra" not in repr(root.child("key"))
    assert isinstance(root.child("key"), Scalar)


@pytest.mark.parametrize(("word", "near"), [("efect", "effect"), ("REFUSE", "refuse"), ("zzz", "")])
def test_nearest_spelling(word: str, near: str) -> None:
    assert nearest(word, ["effect", "refuse", "flag"]) == near


@given(st.text(max_size=200))
def test_any_text_is_read_or_faulted_and_never_raises(text: str) -> None:
    faults: list[Fault] = []
    root = read(text, "f", faults)
    assert isinstance(root, Node)
    assert faults or not isinstance(root, Hole)
    assert all(fault.line >= 1 and fault.column >= 1 and "\n" not in fault.message for fault in faults)


_SHOWN = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"])
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False, width=16)
    | st.text(_SHOWN, max_size=8)
)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef", min_size=1), inner, max_size=3),
    max_leaves=12,
)


class _Plain(yaml.SafeDumper):
    """No aliases, and texts in quotes: the dumper leaves `0E0` bare, which YAML 1.2 reads as a number."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Plain.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@given(_TREES)
def test_json_is_read_as_json_reads_it(tree: object) -> None:
    text = json.dumps({"apiVersion": "a", "free": tree}, ensure_ascii=False)
    assert load(text, "f", File).free == tree


@given(_TREES, st.booleans())
def test_layout_does_not_change_the_value(tree: object, flow: bool) -> None:
    text = yaml.dump({"apiVersion": "a", "free": tree}, Dumper=_Plain, default_flow_style=flow, allow_unicode=True)
    assert load(text, "f", File).free == tree
