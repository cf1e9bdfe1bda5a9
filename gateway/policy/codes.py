"""Every code that the tools report: what it says, what to do about it, and a text that has it. Codes are stable: one
is never given a new meaning.

`YAML0xx` a text that strict YAML cannot take, `POL0xx` policies that are wrong, `POL1xx` reminders, `POL2xx` what
tests, mutants and proofs found, `POL3xx` layout.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct


class Code(Struct, frozen=True, kw_only=True):
    """One entry of the catalogue. `example` is a part of a policy file that has the fault: keys of a set, or keys of
    one rule; "" where the fault is about more than a few lines."""

    code: str
    title: str
    remedy: str
    example: str = ""

    @property
    def severity(self) -> Literal["error", "warning"]:
        return "error" if is_error(self.code) else "warning"


def is_error(code: str) -> bool:
    """Whether a finding makes the policies wrong; `POL1xx` are reminders."""
    return not code.startswith("POL1")


_EXCEPTION: Final = "exceptions:\n  - {id: E-1, rule: R-1, reason: a pilot, approved_by: ['user:ana', 'user:li'], "

_READING: Final = (
    Code(code="YAML001", title="text is too large, too deep or has too many nodes", remedy="split the file"),
    Code(
        code="YAML002",
        title="character that a reader cannot see",
        remedy="remove it, or escape it in double quotes",
    ),
    Code(
        code="YAML003",
        title="text is not YAML",
        remedy="check the indentation, quotes and colons at the place",
        example="when: {all: [{signal: injection.score, gte: 0.5]}",
    ),
    Code(code="YAML004", title="document is empty", remedy="write its keys, or remove the file"),
    Code(
        code="YAML005",
        title="more than one document",
        remedy="put the second document into its own file",
        example="lists: {}\n---\nlists: {}",
    ),
    Code(
        code="YAML006",
        title="directive",
        remedy="remove the line",
        example="%YAML 1.2\n---\napiVersion: gateway/v1",
    ),
    Code(
        code="YAML007",
        title="anchor, alias or merge key",
        remedy="write the value where it is used",
        example="lists: &terms {}",
    ),
    Code(
        code="YAML008",
        title="tag",
        remedy="remove it: types follow from the key",
        example="title: !!str A rule",
    ),
    Code(
        code="YAML009",
        title="key is not a word",
        remedy="write a word as the key",
        example="then: {effect: refuse, [a, b]: c}",
    ),
    Code(
        code="YAML010",
        title="key is there twice",
        remedy="keep one of the two",
        example="then: {effect: refuse, effect: allow}",
    ),
    Code(
        code="YAML020",
        title="unknown key",
        remedy="use the nearest key that the message names, or remove it",
        example="serverity: high",
    ),
    Code(
        code="YAML021",
        title="value of a wrong type",
        remedy="write a value of the type that the message names",
        example="level: high",
    ),
    Code(
        code="YAML022",
        title="key is missing",
        remedy="add the key",
        example="then: {cite: true}",
    ),
    Code(
        code="YAML023",
        title="unknown word",
        remedy="use the nearest word that the message names",
        example="then: {effect: deny}",
    ),
    Code(
        code="YAML024",
        title="value out of its bounds",
        remedy="stay within the bounds that the message names",
        example="level: 9",
    ),
)

_LOADING: Final = (
    Code(
        code="POL001",
        title="two rules with one id",
        remedy="rename one",
        example="rules:\n"
        "  - {id: R-1, title: one, phase: query, when: {}, then: {effect: flag}}\n"
        "  - {id: R-1, title: two, phase: query, when: {}, then: {effect: flag}}",
    ),
    Code(
        code="POL002",
        title="unknown signal",
        remedy="use the nearest signal that the message names, or install its detector",
        example="when: {all: [{signal: injection.scores, gte: 0.5}]}",
    ),
    Code(
        code="POL003",
        title="unknown field, or one that the phase does not have",
        remedy="use a field of the phase",
        example="when: {all: [{field: tool.name, one_of: [transfer]}]}",
    ),
    Code(
        code="POL004",
        title="operator does not fit the type",
        remedy="use one of the operators that the message names",
        example="when: {all: [{signal: injection.score, any_of: [PERSON]}]}",
    ),
    Code(
        code="POL005",
        title="operand does not fit the type",
        remedy="write a value of the type that the message names",
        example="when: {all: [{signal: injection.score, gte: 50}]}",
    ),
    Code(
        code="POL006",
        title="condition has a wrong shape",
        remedy="write one signal or field with one operator, or one group",
        example="when: {all: []}",
    ),
    Code(
        code="POL007",
        title="key does not belong to the effect",
        remedy="remove the key, or change the effect",
        example="then: {effect: refuse, queue: credit}",
    ),
    Code(
        code="POL008",
        title="effect on error is too loose, or redacts",
        remedy="use `flag`, `escalate` or `refuse`",
        example="on_error: redact",
    ),
    Code(
        code="POL009",
        title="two definitions with one name",
        remedy="rename one",
    ),
    Code(
        code="POL010",
        title="regular expression is not RE2, or does not find its example",
        remedy="correct the expression or its example; RE2 has no look-around and no back-references",
        example='patterns: {ref: {regex: "CR-[0-9]{6}", example: CR-12}}',
    ),
    Code(
        code="POL011",
        title="set extends an unknown set, or itself",
        remedy="name a set by its path below the folder of policies, without `.yaml`",
        example="extends: [base/personal-dat]",
    ),
    Code(
        code="POL012",
        title="rule can never match",
        remedy="correct the part of the condition that excludes the rest, or remove the rule",
        example="when: {all: [{signal: injection.score, gte: 0.8}, {signal: injection.score, lt: 0.5}]}",
    ),
    Code(
        code="POL013",
        title="exception with a taken id or an unknown rule",
        remedy="rename the exception, or name an existing rule",
        example=_EXCEPTION.replace("R-1", "R-9") + "match: {app: chat}, expires: 2027-06-30}",
    ),
    Code(
        code="POL014",
        title="exception matches an unknown field or nothing",
        remedy="match a field with text or names, and name at least one value",
        example=_EXCEPTION + "match: {ap: chat}, expires: 2027-06-30}",
    ),
    Code(
        code="POL015",
        title="exception lasts longer than its set allows",
        remedy="choose an earlier day, or have the owner raise `longest_exception_days`",
        example="metadata: {id: base/one, version: '1', owner: 'team:a', purpose: p, longest_exception_days: 30}\n"
        + _EXCEPTION
        + "match: {app: chat}, expires: 2099-06-30}",
    ),
    Code(
        code="POL016",
        title="scoring has a wrong shape",
        remedy="name a score for a phase, and `queue` and `sla` only with `escalate`",
        example="scoring: {over: {effect: refuse}}",
    ),
    Code(
        code="POL017",
        title="needed detector is not installed or not the right one",
        remedy="name the detector that gives the signals, install it, or write `required: false`",
        example="needs: {injection: {detector: pii}}",
    ),
    Code(
        code="POL018",
        title="test or phase has a wrong shape",
        remedy="give known signals and fields values of their types",
        example="tests: [{name: hit, given: {injection.scores: 0.9}, expect: match}]",
    ),
    Code(code="POL019", title="too many rules", remedy="join rules that differ in words only"),
    Code(code="POL020", title="two sets with one name", remedy="rename one file, or the `id` of one set"),
    Code(code="POL021", title="file cannot be read", remedy="check that it is UTF-8, readable and not too large"),
    Code(
        code="POL022",
        title="nothing says what to redact",
        remedy="add `entities` to `then`",
        example="then: {effect: redact}",
    ),
    Code(
        code="POL023",
        title="`release` does not fit the rule",
        remedy="remove the key, or add phase `answer`",
        example="release: whole",
    ),
)

_REMINDERS: Final = (
    Code(
        code="POL101",
        title="exception has expired",
        remedy="renew it with new approvals, or remove it",
        example=_EXCEPTION + "match: {app: chat}, expires: 2020-01-01}",
    ),
    Code(
        code="POL102",
        title="exception expires soon",
        remedy="renew it, or let it end",
        example=_EXCEPTION + "match: {app: chat}, expires: 2026-12-01}",
    ),
    Code(
        code="POL103",
        title="review is overdue",
        remedy="look at the set again and move `review_by`",
        example="metadata: {id: base/one, version: '1', owner: 'team:a', purpose: p, review_by: 2020-01-01}",
    ),
    Code(
        code="POL104",
        title="rule has no test that matches",
        remedy="add a test with `expect: match`",
        example="tests: []",
    ),
    Code(
        code="POL105",
        title="rule has no test that does not match",
        remedy="add a near-miss with `expect: no_match`",
        example="tests: [{name: hit, given: {injection.score: 0.9}, expect: match}]",
    ),
    Code(
        code="POL106",
        title="rule has more hits than near-misses",
        remedy="add near-misses: false positives are what people complain about first",
        example="tests:\n"
        "  - {name: a hit, given: {injection.score: 0.9}, expect: match}\n"
        "  - {name: another hit, given: {injection.score: 0.8}, expect: match}\n"
        "  - {name: a near-miss, given: {injection.score: 0.4}, expect: no_match}",
    ),
    Code(
        code="POL107",
        title="rule never decides: others always reach its effect",
        remedy="remove it, make it stricter, or give it a case of its own",
        example="rules:\n"
        "  - {id: R-1, title: narrow, phase: query, when: {all: [{signal: injection.score, gte: 0.9}]}, "
        "then: {effect: escalate}}\n"
        "  - {id: R-2, title: wide, phase: query, when: {all: [{signal: injection.score, gte: 0.5}]}, "
        "then: {effect: refuse}}",
    ),
    Code(
        code="POL108",
        title="exception never lifts a match",
        remedy="correct what it matches, or remove it",
        example="applies_to: {apps: [mail]}\n" + _EXCEPTION + "match: {app: chat}, expires: 2027-06-30}",
    ),
    Code(
        code="POL109",
        title="exception lifts every match of its rule",
        remedy="narrow what it matches, or put the rule into `mode: shadow` openly",
        example="applies_to: {apps: [chat]}\n" + _EXCEPTION + "match: {app: chat}, expires: 2027-06-30}",
    ),
    Code(
        code="POL110",
        title="exception is covered by another that holds as long",
        remedy="remove the narrower one",
        example=_EXCEPTION
        + "match: {app: [chat, mail]}, expires: 2027-06-30}\n"
        + _EXCEPTION.partition("\n")[2].replace("E-1", "E-2")
        + "match: {app: chat}, expires: 2027-06-30}",
    ),
    Code(
        code="POL111",
        title="control has another number in the current edition",
        remedy="write the number and year that the message names",
        example="metadata: {id: base/one, version: '1', owner: 'team:a', purpose: p, controls: ['OWASP-LLM06:2025']}",
    ),
    Code(
        code="POL112",
        title="control of an unknown family",
        remedy="write a known family, e.g. `GDPR:22`; own ones begin with `X-`",
        example="metadata: {id: base/one, version: '1', owner: 'team:a', purpose: p, controls: ['GDR:22']}",
    ),
    Code(
        code="POL113",
        title="nobody answers for the set or the exception",
        remedy="name a team or person, e.g. `team:compliance`",
        example="metadata: {id: base/one, version: '1', owner: TBD, purpose: p}",
    ),
    Code(
        code="POL114",
        title="rule has no test of a detector that fails",
        remedy="add a test with `given: {<signal>: {status: error}}`",
        example="tests:\n"
        "  - {name: a hit, given: {injection.score: 0.9}, expect: match}\n"
        "  - {name: a near-miss, given: {injection.score: 0.4}, expect: no_match}",
    ),
)

_TESTING: Final = (
    Code(
        code="POL201",
        title="test of a rule fails",
        remedy="correct the rule, or what the test expects",
        example="tests: [{name: hit, given: {injection.score: 0.9}, expect: no_match}]",
    ),
    Code(
        code="POL202",
        title="conversation fails",
        remedy="correct the rule or the examples of its topics, or what the conversation expects",
    ),
    Code(code="POL203", title="coverage is lower than asked for", remedy="add tests for the goals that are listed"),
    Code(
        code="POL204",
        title="no test fails when the rule is changed so",
        remedy="add a test that tells the rule from the changed one",
    ),
    Code(
        code="POL205",
        title="mutation score is lower than asked for",
        remedy="add tests that tell the rules from the mutants that are listed",
    ),
)

_LAYOUT: Final = (
    Code(
        code="POL301",
        title="file is not in the canonical layout",
        remedy="run `gateway policy fmt`",
    ),
    Code(
        code="POL302",
        title="file cannot be laid out without losing something",
        remedy="write its keys and comments on lines of their own",
    ),
)

CODES: Final[Mapping[str, Code]] = {one.code: one for one in (*_READING, *_LOADING, *_REMINDERS, *_TESTING, *_LAYOUT)}
"""The catalogue, in order of the codes: the reference of the documents is made from it."""
