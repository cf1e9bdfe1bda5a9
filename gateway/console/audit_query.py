"""The filters of the audit page, which stand in its address: an address is a view."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import Struct

from gateway.audit.read import Filter
from gateway.domain.event import EventType
from gateway.domain.text import outline
from gateway.domain.vocabulary import Effect

EFFECTS: Final = (*(effect.value for effect in Effect), "error")
SPANS: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
FIELDS: Final = (
    *("type", "last", "since", "until", "effect"),
    *("tenant", "app", "principal", "rule", "case", "commitment", "request"),
)
_MOST_CHARS: Final = 200
DEFAULT: Final = "ended"


def _starting(*starts: str) -> frozenset[str]:
    return frozenset(kind.value for kind in EventType if kind.value.startswith(starts))


GROUPS: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "ended": ("how exchanges ended", frozenset({EventType.OUTCOME.value, EventType.STREAM_CLOSE.value})),
    "cases": ("cases and reviews", _starting("case.", "review.")),
    "readings": ("readings and exports", _starting("body.read", "audit.read", "export")),
    "policies": ("policies", _starting("policy.")),
    "people": ("keys and console", _starting("admin.")),
    "sources": ("sources", _starting("ingest", "source.", "passage.")),
    "erasure": ("erasure, holds and retention", _starting("erasure", "hold.", "retention.")),
    "log": ("the log itself", _starting("log.")),
}
"""Types of events that are asked for together, under a name of ours."""


class Asked(Struct, frozen=True, kw_only=True):
    """`values` are the filters as they were given, without empty ones; `fault` says which of them is none."""

    values: dict[str, str]
    wanted: Filter
    cursor: str = ""
    fault: str = ""

    def __repr__(self) -> str:
        return f"Asked({sorted(self.values)}, {outline(self.query())})"

    def query(self, **changes: str) -> str:
        """The query of an address with these filters."""
        kept = {**self.values, **changes}
        return urlencode({name: value for name, value in kept.items() if value or name == "type"})

    def value(self, name: str) -> str:
        return self.values.get(name, "")


def asked(query: Mapping[str, Any], tenants: frozenset[str] | None, now: datetime) -> Asked:
    """What a query asks for, within what the person may see. Without `type` it is how exchanges ended; an empty one
    stands for all events."""
    values = {name: str(query.get(name, "")).strip() for name in FIELDS}
    values = {name: value for name, value in values.items() if value or (name == "type" and "type" in query)}
    values.setdefault("type", DEFAULT)
    faults = [f"`{name}` is too long" for name, value in values.items() if len(value) > _MOST_CHARS]
    types = _types(values["type"])
    if types is None:
        faults.append("`type` is no type of events")
    if values.get("effect", EFFECTS[0]) not in EFFECTS:
        faults.append("`effect` is no effect")
    since, until = (_moment(values.get(name, "")) for name in ("since", "until"))
    faults += [
        f"`{name}` is no time: write it as 2026-11-24T10:00"
        for name, moment in (("since", since), ("until", until))
        if values.get(name) and moment is None
    ]
    if span := SPANS.get(values.get("last", "")):
        since, until = now - span, None
    elif "last" in values:
        faults.append("`last` is no span of time")
    wanted = Filter(
        types=types or frozenset(),
        tenants=tenants,
        effect=values.get("effect", ""),
        since=since,
        until=until,
        tenant=values.get("tenant", ""),
        app=values.get("app", ""),
        principal=values.get("principal", ""),
        rule=values.get("rule", ""),
        case=values.get("case", ""),
        commitment=values.get("commitment", ""),
        request=values.get("request", ""),
    )
    return Asked(values=values, wanted=wanted, cursor=str(query.get("cursor", "")), fault="; ".join(faults))


def _types(name: str) -> frozenset[str] | None:
    if name in GROUPS:
        return GROUPS[name][1]
    types = frozenset(one for one in name.split(",") if one)
    return types if types <= {kind.value for kind in EventType} else None


def _moment(text: str) -> datetime | None:
    """A time as a form sends it, which is meant in UTC, or one with its zone."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
