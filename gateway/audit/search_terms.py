"""What of an event can be searched for: one function for the index and for the check of what it found."""

from collections.abc import Iterator
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from gateway.domain.vocabulary import RuleStatus

_SPOKE: Final = frozenset({RuleStatus.MATCHED.value, RuleStatus.ERROR.value})
_TERM_BYTES: Final = 8
_NO_TEXTS: Final = frozenset({"answer", "coverage", "passages", "phase", "signals"})
"""Members that hold most of an event and no commitment, but those to passages."""


class Facet(StrEnum):
    """What a search may ask for. All but `case` and `commitment` have few values, each with many events."""

    TYPE = "type"
    TENANT = "tenant"
    APP = "app"
    PRINCIPAL = "principal"
    EFFECT = "effect"  # of what ended: an `outcome` or a `stream.close`
    RULE = "rule"  # one that matched or erred, enforced or not
    CASE = "case"
    COMMITMENT = "commitment"  # to a question, an answer or a text of a case; `c:` and 64 hex digits


RARE: Final = frozenset({Facet.CASE, Facet.COMMITMENT})

Found = tuple[Facet, str]


def facets_of(event: dict[str, Any]) -> set[Found]:
    """What an event can be found by. Takes any decoded JSON object: what is not there, or of another form, is not
    found by."""
    found: set[Found] = set()
    for facet in (Facet.TYPE, Facet.TENANT, Facet.APP, Facet.PRINCIPAL, Facet.EFFECT, Facet.CASE):
        value = event.get(facet.value)
        if isinstance(value, str) and value:
            found.add((facet, value))
    found.update((Facet.RULE, rule["id"]) for rule in rules_of(event) if rule["status"] in _SPOKE)
    for name in ("reasons", "rules"):  # of an outcome, of an opened case
        listed = event.get(name)
        if isinstance(listed, list):
            found.update((Facet.RULE, rule) for rule in listed if isinstance(rule, str))
    found.update((Facet.COMMITMENT, value) for value in commitments_of(event))
    return {one for one in found if one[1]}


def rules_of(event: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The outcomes of rules that an event tells of, over query, passages and answer; each has `id` and `status`."""
    for phase in _phases(event):
        rules = phase.get("rules")
        for rule in rules if isinstance(rules, list) else ():
            if isinstance(rule, dict) and isinstance(rule.get("id"), str) and isinstance(rule.get("status"), str):
                yield rule


def detectors_of(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The runs of detectors that an event tells of; each has `name` and `status`."""
    phase, later = event.get("phase"), event.get("signals")
    groups = [phase.get("signals")] if isinstance(phase, dict) else []
    groups += later if isinstance(later, list) else []
    for group in groups:
        runs = group.get("detectors") if isinstance(group, dict) else None
        for run in runs if isinstance(runs, list) else ():
            if isinstance(run, dict) and isinstance(run.get("name"), str) and isinstance(run.get("status"), str):
                yield run


def commitments_of(value: Any) -> Iterator[str]:
    """Commitments at any depth, but not those to passages: an id and a revision name these."""
    if isinstance(value, dict):
        own = value.get("c")
        if isinstance(own, str) and "len_bucket" in value:
            yield own
            return
        for key, item in value.items():
            if key not in _NO_TEXTS and isinstance(item, dict | list):
                yield from commitments_of(item)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list):
                yield from commitments_of(item)


def term(facet: Facet, value: str) -> int:
    """The number under which the index keeps a value: 64 bits of BLAKE2b. Two values may share one; what the index
    finds is compared with the event itself."""
    digest = blake2b(f"{facet.value}\0{value}".encode("utf-8", "surrogatepass"), digest_size=_TERM_BYTES).digest()
    return int.from_bytes(digest, "big", signed=True)


def _phases(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(phase := event.get("phase"), dict):
        yield phase
    for group in (event.get("answer"), _passages(event)):
        for one in group if isinstance(group, list) else ():
            if isinstance(one, dict):
                yield one


def _passages(event: dict[str, Any]) -> Any:
    retrieval = event.get("retrieval")
    return retrieval.get("passages") if isinstance(retrieval, dict) else None
