"""Events of the audit log -> what each verdict was made on, so that a bundle can be asked about it again.

Takes decoded events in order of the log, from wherever they were read. An event of an older form, or one that holds
less than a judgement needs, gives a judgement that says why it cannot be made again; nothing is guessed.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from gateway.domain.signal import DetectorRun, SignalValue
from gateway.domain.verdict import Evidence, FieldValue, RuleOutcome
from gateway.domain.vocabulary import Effect, Phase, Provenance, RuleMode, RuleStatus, SignalStatus, strictest

OLD: Final = "the event holds no signals of this text"
UNREADABLE: Final = "the event is of no known form"
UNOFFERED: Final = "?unoffered"
"""Stands for a tool that the model called though the request did not offer it: the name is the model's own text."""
UNOFFERED_TOOL: Final = "the model called a tool that the request did not offer, and the log does not name it"

RELEASED: Final = "released"
"""Stands where an exception's id would: a person had lifted this stop of exactly this passage."""
_ENDS: Final = frozenset({"outcome", "stream.close"})
_MILLIONTH: Final = 1_000_000


class Judgement(Struct, frozen=True, kw_only=True):
    """One verdict as it was recorded. `evidence` is `None` where `missing` says why it cannot be made again;
    `outcomes` are those of policy rules; `lifts` are rules whose stop a person had lifted here. `passage` is
    the id of the passage that it is about, "" for another text."""

    phase: Phase
    policy: str
    outcomes: tuple[RuleOutcome, ...]
    evidence: Evidence | None = None
    missing: str = ""
    lifts: frozenset[str] = frozenset()
    passage: str = ""

    @property
    def effect(self) -> Effect:
        return enforced(self.outcomes)


class Recording(Struct, frozen=True, kw_only=True):
    """One exchange: all its verdicts in the order in which they were made. `case` is the case that it opened or
    resumed, "" for none. `intent` and `end` are the ids of its events, "" for one that is not there;
    `query_changed`: the model was asked something else than the caller wrote."""

    exchange: str
    tenant: str
    app: str
    at: dt.datetime
    judgements: tuple[Judgement, ...]
    case: str = ""
    intent: str = ""
    end: str = ""
    query_changed: bool = False


def enforced(outcomes: Iterable[RuleOutcome]) -> Effect:
    """The strictest effect of the outcomes that are enforced."""
    return strictest(*(one.effect for one in outcomes if one.mode is not RuleMode.SHADOW))


def on_exchange(phase: Phase, effect: Effect) -> Effect:
    """What an effect on one text does to the exchange: a passage that is left out only flags it."""
    if phase is not Phase.PASSAGE:
        return effect
    return Effect.FLAG if effect.stops else Effect.ALLOW


def recordings(events: Iterable[Mapping[str, Any]]) -> Iterator[Recording]:
    """The exchanges of a log: each when its end is read, those without an end (a crash, an export that was cut) at
    the end. Holds the open ones in memory."""
    intents: dict[str, Mapping[str, Any]] = {}
    for event in events:
        kind, request = event.get("type"), str(event.get("request", ""))
        if kind == "intent":
            intents[request] = event
        elif kind in _ENDS and request in intents:
            yield _recording(intents.pop(request), event)
    for intent in intents.values():
        yield _recording(intent, {})


def moment(event: Mapping[str, Any]) -> dt.datetime:
    """When an event was written, aware; the epoch for an event that does not say."""
    try:
        return dt.datetime.fromisoformat(str(event.get("ts")))
    except ValueError:
        return dt.datetime.fromtimestamp(0, dt.UTC)


def _recording(intent: Mapping[str, Any], end: Mapping[str, Any]) -> Recording:
    case = str(end.get("case", ""))
    reader = _Reader(intent, end, case)
    return Recording(
        exchange=str(intent.get("request", "")),
        tenant=str(intent.get("tenant", "")),
        app=str(intent.get("app", "")),
        at=moment(intent),
        judgements=tuple(reader.judgements()),
        case=case,
        intent=str(intent.get("id", "")),
        end=str(end.get("id", "")),
        query_changed=bool((end.get("redacted") or {}).get("query")),
    )


class _Reader:
    def __init__(self, intent: Mapping[str, Any], end: Mapping[str, Any], case: str) -> None:
        self._intent = intent
        self._end = end
        self._lifted_by = {case, RELEASED} - {""}

    def judgements(self) -> Iterator[Judgement]:
        phase = self._intent.get("phase") or {}
        policy = str(phase.get("policy", ""))
        yield self._judgement(Phase.QUERY, policy, phase, phase.get("signals") or {}, {})
        policy = str(self._end.get("policy", policy))
        retrieval = self._end.get("retrieval") or {}
        passages = retrieval.get("passages") or []
        for passage in passages:
            facts = passage.get("facts") or {}
            about = {
                "passage.doc": facts.get("doc", ""),
                "passage.access": frozenset(facts.get("access", ())),
                "passage.classification": facts.get("classification", ""),
            }
            judgement = self._judgement(Phase.PASSAGE, policy, passage, passage.get("seen"), about)
            yield structs.replace(judgement, passage=str(passage.get("id", "")))
        after: dict[str, Any] = {
            "retrieval.status": retrieval.get("status", ""),
            "retrieval.passages": sum(bool(passage.get("kept")) for passage in passages),
        }
        for text in self._end.get("signals") or ():
            if "rules" not in text and not text.get("detectors"):
                continue  # an empty text: nothing of it left, nothing was judged
            yield self._judgement(Phase.ANSWER, policy, text, text if "rules" in text else None, after)
        for call in self._end.get("calls") or ():
            facts = {**after, "tool.name": call.get("tool", "")}
            judgement = self._judgement(Phase.TOOL_CALL, policy, call, call.get("seen"), facts)
            if call.get("tool") == UNOFFERED:
                judgement = structs.replace(judgement, evidence=None, missing=judgement.missing or UNOFFERED_TOOL)
            yield judgement

    def _judgement(
        self,
        phase: Phase,
        policy: str,
        told: Mapping[str, Any],
        seen: Mapping[str, Any] | None,
        more: Mapping[str, Any],
    ) -> Judgement:
        try:
            outcomes = tuple(_outcome(rule) for rule in told.get("rules", ()) if not _is_own(rule))
            lifts = frozenset(one.rule for one in outcomes if one.exception in self._lifted_by)
            missing = OLD if seen is None or self._intent.get("facts") is None else ""
            evidence = None if seen is None or missing else self._evidence(phase, seen, more)
        except (KeyError, TypeError, ValueError, AttributeError, msgspec.ValidationError):
            return Judgement(phase=phase, policy=policy, outcomes=(), missing=UNREADABLE)
        return Judgement(phase=phase, policy=policy, outcomes=outcomes, evidence=evidence, missing=missing, lifts=lifts)

    def _evidence(self, phase: Phase, seen: Mapping[str, Any], more: Mapping[str, Any]) -> Evidence:
        intent = self._intent
        fields: dict[str, FieldValue] = {
            "principal.tenant": str(intent["tenant"]),
            "principal.app": str(intent["app"]),
            "principal.groups": frozenset(intent["groups"]),
            "principal.roles": frozenset(intent["facts"]["roles"]),
            "request.route": str(intent["route"]),
            "request.model": str(intent["model"]),
            "request.stream": bool(intent["stream"]),
            "request.tools": frozenset(intent["facts"]["tools"]),
            "request.unscanned": frozenset(intent["coverage"]["unscanned"]),
            **more,
        }
        return Evidence(phase=phase, fields=fields, values=_values(seen), runs=_runs(seen))


def _is_own(rule: Mapping[str, Any]) -> bool:
    """Whether the gateway stopped by itself: no policy had a part in it."""
    return str(rule["id"]).startswith("gateway.")


def _outcome(rule: Mapping[str, Any]) -> RuleOutcome:
    return RuleOutcome(
        rule=str(rule["id"]),
        status=RuleStatus(rule["status"]),
        effect=Effect(rule["effect"]),
        mode=RuleMode(rule["mode"]),
        why=tuple(map(str, rule.get("why", ()))),
        exception=str(rule.get("exception", "")),
    )


def _runs(seen: Mapping[str, Any]) -> dict[str, DetectorRun]:
    """Both forms: a list with times, and a mapping by name."""
    runs = seen.get("runs")
    entries = (
        [{"name": name, **run} for name, run in runs.items()] if isinstance(runs, dict) else seen.get("detectors", ())
    )
    return {
        str(entry["name"]): DetectorRun(
            detector=str(entry["name"]),
            version=str(entry["version"]),
            status=SignalStatus(entry.get("status", "ok")),
            reason=str(entry.get("reason", "")),
        )
        for entry in entries
    }


def _values(seen: Mapping[str, Any]) -> dict[Provenance, dict[str, SignalValue]]:
    return {
        Provenance(source): {str(name): _value(value) for name, value in own.items()}
        for source, own in seen.get("values", {}).items()
    }


def _value(told: Any) -> SignalValue:
    """A score that was more than its whole millionths lies half a millionth above them: on the same side of every
    threshold of up to six digits."""
    if isinstance(told, list):
        return frozenset(map(str, told))
    if isinstance(told, dict):
        millionths = int(told["e6"])
        if millionths < 0:
            return float("nan")
        return (millionths + 0.5) / _MILLIONTH if told.get("over") else millionths / _MILLIONTH
    if isinstance(told, (bool, int)):
        return told
    raise TypeError("no value of a signal")
