"""Every code that the tools report, with what it says in general. Codes are stable: one is never given a new meaning.

`YAML0xx` a text that strict YAML cannot take, `POL0xx` a set that does not load, `POL1xx` reminders, `POL2xx` what
tests, mutants and proofs found.
"""

from collections.abc import Mapping
from typing import Final

CODES: Final[Mapping[str, str]] = {
    "YAML001": "text is too large, too deep or has too many nodes",
    "YAML002": "character that a reader cannot see",
    "YAML003": "text is not YAML",
    "YAML004": "document is empty",
    "YAML005": "more than one document",
    "YAML006": "directive",
    "YAML007": "anchor, alias or merge key",
    "YAML008": "tag",
    "YAML009": "key is not a word",
    "YAML010": "key is there twice",
    "YAML020": "unknown key",
    "YAML021": "value of a wrong type",
    "YAML022": "key is missing",
    "YAML023": "unknown word",
    "YAML024": "value out of its bounds",
    "POL001": "two rules with one id",
    "POL002": "unknown signal",
    "POL003": "unknown field, or one that the phase does not have",
    "POL004": "operator does not fit the type",
    "POL005": "operand does not fit the type",
    "POL006": "condition has a wrong shape",
    "POL007": "key does not belong to the effect",
    "POL008": "effect on error is too loose, or redacts",
    "POL009": "two definitions with one name",
    "POL010": "regular expression is not RE2, or does not find its example",
    "POL011": "set extends an unknown set, or itself",
    "POL013": "exception with a taken id or an unknown rule",
    "POL014": "exception matches an unknown field or nothing",
    "POL015": "exception lasts longer than its set allows",
    "POL016": "scoring has a wrong shape",
    "POL017": "needed detector is not installed or not the right one",
    "POL018": "test or phase has a wrong shape",
    "POL019": "too many rules",
    "POL020": "two sets with one name",
    "POL021": "file cannot be read",
    "POL022": "nothing says what to redact",
    "POL023": "`release` does not fit the rule",
    "POL101": "exception has expired",
    "POL102": "exception expires soon",
    "POL103": "review is overdue",
    "POL104": "rule has no test that matches",
    "POL105": "rule has no test that does not match",
    "POL106": "rule has more hits than near-misses",
    "POL201": "test of a rule fails",
    "POL202": "conversation fails",
    "POL203": "coverage is lower than asked for",
    "POL204": "no test fails when the rule is changed so",
    "POL205": "mutation score is lower than asked for",
}


def is_error(code: str) -> bool:
    """Whether a finding makes the policies wrong; `POL1xx` are reminders."""
    return not code.startswith("POL1")
