"""Events as people read them: a line of a list, and an exchange with all that was judged in it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.audit.entry import parse_timestamp
from gateway.audit.read import Event
from gateway.audit.read_timeline import Fact, FactKind, Moment, Timeline, timeline_of
from gateway.audit.shown import EventCheck, ShownCheck
from gateway.audit.verify import Outcome
from gateway.domain.errors import AuditUnavailable

BADGES: Final = {
    Outcome.VERIFIED_ANCHORED: "good",
    Outcome.VERIFIED_UNANCHORED: "soon",
    Outcome.INCOMPLETE: "soon",
    Outcome.DIVERGED: "late",
    Outcome.INVALID: "late",
}
"""Class of a badge. Its words are those of `gateway audit verify`."""

HEADINGS: Final = {
    FactKind.RULE: "Rules",
    FactKind.DETECTOR: "Detectors",
    FactKind.SIGNAL: "Signals",
    FactKind.COVERAGE: "Not covered",
    FactKind.PASSAGE: "Passages",
    FactKind.MODEL: "Model",
    FactKind.RELEASE: "Release",
    FactKind.CASE: "Case",
    FactKind.ERROR: "Error",
}
_MOST_RULES: Final = 4
_ALTERED: Final = (KeyError, ValueError, TypeError, AttributeError)


class EventLine(Struct, frozen=True, kw_only=True):
    """An event in a list. `more` counts rules that are not named."""

    seq: int
    ts: datetime
    type: str
    title: str
    effect: str
    rules: tuple[str, ...]
    more: int
    tenant: str
    app: str
    principal: str
    request: str
    case: str
    check: EventCheck


class Would(Struct, frozen=True, kw_only=True):
    """What something that is not enforced would have made of the exchange."""

    what: str
    effect: str
    rules: tuple[str, ...]
    error: str


class ShownMoment(Struct, frozen=True, kw_only=True):
    """A moment of an exchange; `kept` are names of the texts that its event keeps encrypted."""

    moment: Moment
    title: str
    at: datetime
    groups: tuple[tuple[str, tuple[Fact, ...]], ...]
    would: tuple[Would, ...]
    kept: tuple[str, ...]
    check: EventCheck
    raw: str


class ShownExchange(Struct, frozen=True, kw_only=True):
    timeline: Timeline
    began: datetime
    moments: tuple[ShownMoment, ...]
    check: ShownCheck


def event_lines(events: Iterable[Event], check: ShownCheck) -> tuple[EventLine, ...]:
    """Raises `AuditUnavailable` as `shown_exchange`."""
    try:
        return tuple(_line(event, check.checks[event.seq]) for event in events)
    except _ALTERED:
        raise _altered() from None


def shown_exchange(exchange: str, events: Sequence[Event], check: ShownCheck) -> ShownExchange:
    """At least one event, in the order of the log. Raises `AuditUnavailable` for events that were altered so that they
    say nothing any more."""
    try:
        timeline = timeline_of(exchange, events)
        moments = tuple(
            _moment(moment, event, check.checks[event.seq])
            for moment, event in zip(timeline.moments, events, strict=True)
        )
        began = parse_timestamp(timeline.began)
    except _ALTERED:
        raise _altered() from None
    return ShownExchange(timeline=timeline, began=began, moments=moments, check=check)


def pretty(event: Event) -> str:
    """The event's JSON, indented for people; its own bytes have no spaces."""
    return msgspec.json.format(event.body, indent=2).decode("utf-8", "replace")


def plain(title: str, kind: str) -> str:
    """A sentence of the timeline without the marks of code; the type of the event in words where there is none."""
    title = title.replace("`", "") if title != kind else kind.replace(".", " ").replace("_", " ")
    return f"{title[:1].upper()}{title[1:]}"


def _altered() -> AuditUnavailable:
    return AuditUnavailable(
        "an event that is to be shown is not as the log writes them: run `gateway audit verify`", code="audit_damaged"
    )


def _line(event: Event, check: EventCheck) -> EventLine:
    own = event.members
    rules = tuple(dict.fromkeys(one for name in ("reasons", "rules") for one in _names(own.get(name))))
    return EventLine(
        seq=event.seq,
        ts=parse_timestamp(own["ts"]),
        type=_word(own, "type"),
        title=plain(timeline_of("", [event]).moments[0].title, _word(own, "type")),
        effect=_word(own, "effect"),
        rules=rules[:_MOST_RULES],
        more=max(0, len(rules) - _MOST_RULES),
        tenant=_word(own, "tenant"),
        app=_word(own, "app"),
        principal=_word(own, "principal"),
        request=_word(own, "request"),
        case=_word(own, "case"),
        check=check,
    )


def _moment(moment: Moment, event: Event, check: EventCheck) -> ShownMoment:
    groups = []
    for kind, heading in HEADINGS.items():
        facts = tuple(fact for fact in moment.facts if fact.kind is kind)
        if facts:
            groups.append((heading, facts))
    bodies = event.members.get("bodies")
    return ShownMoment(
        moment=moment,
        title=plain(moment.title, moment.type),
        at=parse_timestamp(moment.ts),
        groups=tuple(groups),
        would=tuple(_would(event.members)),
        kept=tuple(_word(body, "field") for body in bodies) if isinstance(bodies, list) else (),
        check=check,
        raw=pretty(event),
    )


def _would(members: Mapping[str, Any]) -> Iterable[Would]:
    for name, what in (("shadow", "rules in shadow"), ("candidate", "the candidate")):
        told = members.get(name)
        if isinstance(told, dict):
            rules = told.get("rules")
            yield Would(
                what=what,
                effect=_word(told, "would"),
                rules=tuple(_names(rules)),
                error=_word(told, "error"),
            )


def _names(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _word(members: Any, name: str) -> str:
    value = members.get(name) if isinstance(members, dict) else None
    return value if isinstance(value, str) else ""
