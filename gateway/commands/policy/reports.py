"""Findings in the formats of other programs: SARIF 2.1.0 (OASIS) for code scanning, JUnit XML for CI."""

import json
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct

from gateway.domain.errors import Fault
from gateway.policy.codes import CODES, is_error

FORMATS: Final = ("sarif", "junit")

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(Struct, frozen=True):
    """Something that was checked at a place; `fault` says what is wrong with it, `None` if nothing is."""

    file: str
    line: int
    name: str
    fault: Fault | None = None


def render(form: str, suite: str, cases: Sequence[Case]) -> str:
    """The cases as SARIF or JUnit, in order of their places."""
    ordered = sorted(cases, key=lambda case: (case.file, case.line, case.name))
    return _sarif(ordered) if form == "sarif" else _junit(suite, ordered)


def _sarif(cases: Sequence[Case]) -> str:
    faults = [case.fault for case in cases if case.fault is not None]
    codes = sorted({fault.code for fault in faults})
    rules = [
        {
            "id": code,
            "shortDescription": {"text": CODES[code].title},
            "help": {"text": CODES[code].remedy},
            "defaultConfiguration": {"level": _level(code)},
        }
        for code in codes
    ]
    run = {
        "tool": {"driver": {"name": "gateway policy", "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(fault, codes.index(fault.code)) for fault in faults],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _result(fault: Fault, index: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(PurePath(fault.file).as_posix())}}
    if fault.line:
        place["region"] = {"startLine": fault.line, **({"startColumn": fault.column} if fault.column else {})}
    return {
        "ruleId": fault.code,
        "ruleIndex": index,
        "level": _level(fault.code),
        "message": {"text": fault.message},
        "locations": [{"physicalLocation": place}] if fault.file else [],
    }


def _level(code: str) -> str:
    return "error" if is_error(code) else "warning"


def _junit(suite: str, cases: Sequence[Case]) -> str:
    wrong = sum(_fails(case) for case in cases)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append(f'<testsuites name={_attribute(f"gateway policy {suite}")} tests="{len(cases)}" failures="{wrong}">')
    for file, members in groupby(cases, key=lambda case: case.file):
        mine = list(members)
        failing = sum(_fails(case) for case in mine)
        lines.append(f'  <testsuite name={_attribute(file)} tests="{len(mine)}" failures="{failing}" errors="0">')
        for case in mine:
            lines += _testcase(suite, case)
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"])


def _testcase(suite: str, case: Case) -> list[str]:
    head = f'    <testcase classname={_attribute(suite)} name={_attribute(case.name)} line="{case.line}"'
    fault = case.fault
    if fault is None:
        return [head + "/>"]
    if not _fails(case):
        return [head + ">", f"      <system-out>{_text(str(fault))}</system-out>", "    </testcase>"]
    failure = f"      <failure type={_attribute(fault.code)} message={_attribute(fault.message)}>"
    return [head + ">", f"{failure}{_text(str(fault))}</failure>", "    </testcase>"]


def _fails(case: Case) -> bool:
    return case.fault is not None and is_error(case.fault.code)


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("?", text))


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("?", text))
