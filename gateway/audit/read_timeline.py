"""What happened in one exchange, in human order: each event as a sentence, with rules, detectors, passages and acts.

Pure: events in, a value out. For terminals and the console, which only lay it out.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from gateway.audit.entry import ENDS, parse_timestamp
from gateway.audit.read import Event
from gateway.domain.event import EventType

_MILLION: Final = 1_000_000


class FactKind(StrEnum):
    RULE = "rule"
    DETECTOR = "detector"
    SIGNAL = "signal"
    PASSAGE = "passage"
    MODEL = "model"
    RELEASE = "release"
    COVERAGE = "coverage"
    CASE = "case"
    ERROR = "error"


class Fact(Struct, frozen=True, kw_only=True):
    """One thing that an event tells. `status` is the word for how it ended, `why` the conditions or the reason, `us`
    how long it took (0: not measured)."""

    kind: FactKind
    name: str
    status: str = ""
    why: tuple[str, ...] = ()
    us: int = 0


class Moment(Struct, frozen=True, kw_only=True):
    """An event in the course of an exchange. `after_us` counts from the first event."""

    seq: int
    id: str
    hash: str
    ts: str
    after_us: int
    type: str
    title: str
    facts: tuple[Fact, ...]


class Timeline(Struct, frozen=True, kw_only=True):
    """An exchange from its first event to its last. `effect` is "" while it has not ended."""

    exchange: str
    tenant: str
    app: str
    principal: str
    policy: str
    effect: str
    case: str
    began: str
    took_us: int
    moments: tuple[Moment, ...]


def timeline_of(exchange: str, events: Sequence[Event]) -> Timeline:
    """Events of one exchange, at least one, in the order of the log."""
    first = events[0].members
    begun = parse_timestamp(first["ts"])
    ended = next((event.members for event in reversed(events) if event.members["type"] in ENDS), {})
    moments = []
    for event in events:
        own = event.members
        after = parse_timestamp(own["ts"]) - begun
        moments.append(
            Moment(
                seq=event.seq,
                id=own["id"],
                hash=event.hash,
                ts=own["ts"],
                after_us=round(after.total_seconds() * _MILLION),
                type=own["type"],
                title=_title(own),
                facts=tuple(_facts(own)),
            )
        )
    return Timeline(
        exchange=exchange,
        tenant=first["tenant"],
        app=first["app"],
        principal=first["principal"],
        policy=_word(ended, "policy") or _word(first.get("phase"), "policy"),
        effect=_word(ended, "effect"),
        case=next((case for case in (_word(event.members, "case") for event in events) if case), ""),
        began=first["ts"],
        took_us=_number(ended, "took_us"),
        moments=tuple(moments),
    )


def _title(event: dict[str, Any]) -> str:
    kind = event["type"]
    match kind:
        case EventType.INTENT:
            model, effect = _word(event, "model"), _word(event.get("phase"), "effect")
            return f"asked `{model}`; the policies say {effect or 'nothing'} of the question"
        case EventType.OUTCOME | EventType.STREAM_CLOSE:
            return _ending(event)
        case EventType.STREAM_OPEN:
            return "the stream begins"
        case EventType.REJECTED:
            return f"rejected: {_word(event, 'code')} ({_number(event, 'status')})"
        case EventType.FEEDBACK:
            return f"the caller calls the answer {_word(event, 'rating')}: {_word(event, 'reason')}"
        case _ if kind.startswith("case."):
            return _case_title(event)
        case _:
            return str(kind)


def _ending(event: dict[str, Any]) -> str:
    if event.get("reason") == "unknown_after_crash":
        return "the process ended; what the client received is not known"
    release = event.get("release")
    chars, finish = _number(release, "chars"), _word(release, "finish")
    end = f", finish {finish}" if finish else ""
    return f"{_word(event, 'effect')}: {chars} characters leave{end}"


def _case_title(event: dict[str, Any]) -> str:
    act = event["type"].removeprefix("case.").replace("_", " ")
    queue, target, reason = _word(event, "queue"), _word(event, "to"), _word(event, "reason")
    title = f"case {act}"
    if target:
        title += f": {_word(event, 'from') or '-'} to {target}"
    elif queue:
        title += f" in queue {queue}"
    return f"{title}, {reason}" if reason else title


def _facts(event: dict[str, Any]) -> Iterator[Fact]:
    phase = event.get("phase")
    if isinstance(phase, dict):
        yield from _judged(phase, "")
    yield from _coverage(event.get("coverage"))
    yield from _retrieved(event.get("retrieval"))
    model = event.get("model")
    if isinstance(model, dict):
        tokens = f"{_number(model, 'tokens_in')} tokens in, {_number(model, 'tokens_out')} out"
        provider = "/".join(filter(None, (_word(model, "provider"), _word(model, "answered_by"))))
        yield Fact(kind=FactKind.MODEL, name=_word(model, "name"), status=provider, why=(tokens,))
    for number, unit in enumerate(_list(event.get("answer")), start=1):
        yield from _judged(unit, f"sentence {number}")
    for signals in _list(event.get("signals")):
        yield from _detected(signals)
    release = event.get("release")
    if isinstance(release, dict):
        redacted = event.get("redacted")
        yield Fact(
            kind=FactKind.RELEASE,
            name=f"{_number(release, 'chars')} characters",
            status=_word(release, "finish"),
            why=tuple(_replaced(redacted if isinstance(redacted, dict) else {})),
            us=_number(event, "took_us"),
        )
    if error := _word(event, "error"):
        yield Fact(kind=FactKind.ERROR, name=error)
    for rule in _texts(event.get("rules")):
        yield Fact(kind=FactKind.RULE, name=rule, status="asked for a human")
    for vote in _list(event.get("votes")):
        status = "agrees" if vote.get("agrees") is True else "does not agree"
        yield Fact(kind=FactKind.CASE, name=_word(vote, "person"), status=status)


def _judged(phase: dict[str, Any], of: str) -> Iterator[Fact]:
    for rule in _list(phase.get("rules")):
        why = _texts(rule.get("why"))
        if of:
            why.insert(0, of)
        if exception := _word(rule, "exception"):
            why.append(f"lifted by {exception}")
        status = " ".join(filter(None, (_word(rule, "status"), _word(rule, "effect"), _word(rule, "mode"))))
        yield Fact(kind=FactKind.RULE, name=_word(rule, "id"), status=status, why=tuple(why))
    signals = phase.get("signals")
    if isinstance(signals, dict):
        yield from _detected(signals)


def _detected(signals: dict[str, Any]) -> Iterator[Fact]:
    for run in _list(signals.get("detectors")):
        why = tuple(filter(None, (_word(run, "reason"), "remembered" if _number(run, "cached") else "")))
        name = "@".join(filter(None, (_word(run, "name"), _word(run, "version"))))
        yield Fact(kind=FactKind.DETECTOR, name=name, status=_word(run, "status"), why=why, us=_number(run, "us"))
    values = signals.get("values")
    for provenance, own in values.items() if isinstance(values, dict) else ():
        for name, value in own.items() if isinstance(own, dict) else ():
            yield Fact(kind=FactKind.SIGNAL, name=f"{provenance}.{name}", status=_value(value))


def _coverage(coverage: Any) -> Iterator[Fact]:
    if not isinstance(coverage, dict):
        return
    for run in _list(coverage.get("not_ok")):
        why = (_word(run, "reason"),)
        yield Fact(kind=FactKind.COVERAGE, name=_word(run, "name"), status=_word(run, "status"), why=why)
    for kind in _texts(coverage.get("unscanned")):
        yield Fact(kind=FactKind.COVERAGE, name=kind, status="not inspected")


def _retrieved(retrieval: Any) -> Iterator[Fact]:
    if not isinstance(retrieval, dict):
        return
    for passage in _list(retrieval.get("passages")):
        score = f"score {_number(passage, 'score_e6') / _MILLION:.3f}"
        kept = "kept" if passage.get("kept") is True else f"dropped ({_word(passage, 'effect')})"
        name = f"{_word(passage, 'id')}@{_word(passage, 'rev')[:12]}"
        yield Fact(kind=FactKind.PASSAGE, name=name, status=kept, why=(score,))
        yield from _judged(passage, f"passage {_word(passage, 'id')}")
    store = " ".join(filter(None, (_word(retrieval, "store"), _word(retrieval, "index_rev")[:12])))
    reason = tuple(filter(None, (_word(retrieval, "reason"),)))
    yield Fact(
        kind=FactKind.PASSAGE,
        name=store or "search",
        status=_word(retrieval, "status"),
        why=reason,
        us=_number(retrieval, "us"),
    )


def _replaced(redacted: dict[str, Any]) -> Iterator[str]:
    for where, kinds in redacted.items():
        for kind, count in kinds.items() if isinstance(kinds, dict) else ():
            yield f"{count} {kind} replaced in the {where}"


def _value(value: Any) -> str:
    match value:
        case {"e6": int(millionths)}:
            return f"{millionths / _MILLION:.3f}"
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value).lower()


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _word(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _number(value: Any, key: str) -> int:
    found = value.get(key) if isinstance(value, dict) else None
    return found if type(found) is int else 0
