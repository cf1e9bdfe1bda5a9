"""An event as one row of typed columns, for spreadsheets and for Parquet. Nothing is left out: `event` is all of it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from gateway.audit.entry import parse_timestamp
from gateway.audit.read import Event
from gateway.audit.search_terms import Facet, detectors_of, facets_of
from gateway.domain.vocabulary import SignalStatus


class ExportRow(Struct, frozen=True, kw_only=True):
    """Columns in their order. What an event does not have is "", an empty tuple or `None`. `hash` is the SHA-256 of
    the bytes of `event`, its canonical JSON; `prev` that of the event before it; both are hex."""

    seq: int
    id: str
    type: str
    ts: datetime
    log: str
    boot: str
    request: str
    tenant: str
    app: str
    principal: str
    effect: str
    rules: tuple[str, ...]
    case: str
    policy: str
    route: str
    code: str
    model: str
    provider: str
    tokens_in: int | None
    tokens_out: int | None
    took_us: int | None
    retrieval: str
    passages: tuple[str, ...]
    failed_detectors: tuple[str, ...]
    released_chars: int | None
    finish: str
    prev: str
    hash: str
    event: str


COLUMNS: Final = ExportRow.__struct_fields__


def row_of(event: Event) -> ExportRow:
    """Raises `ValueError` for an event without a time."""
    own = event.members
    model, release, retrieval = _part(own, "model"), _part(own, "release"), _part(own, "retrieval")
    phase = _part(own, "phase")
    return ExportRow(
        seq=event.seq,
        id=_word(own, "id"),
        type=_word(own, "type"),
        ts=parse_timestamp(_word(own, "ts")),
        log=_word(own, "log"),
        boot=_word(own, "boot"),
        request=_word(own, "request"),
        tenant=_word(own, "tenant"),
        app=_word(own, "app"),
        principal=_word(own, "principal"),
        effect=_word(own, "effect"),
        rules=tuple(sorted(value for facet, value in facets_of(own) if facet is Facet.RULE)),
        case=_word(own, "case"),
        policy=_word(own, "policy") or _word(phase, "policy"),
        route=_word(own, "route"),
        code=_word(own, "code") or _word(own, "error"),
        model=_word(model, "name") or _word(own, "model"),
        provider=_word(model, "provider"),
        tokens_in=_number(model, "tokens_in"),
        tokens_out=_number(model, "tokens_out"),
        took_us=_number(own, "took_us"),
        retrieval=_word(retrieval, "status"),
        passages=tuple(_passages(retrieval)),
        failed_detectors=tuple(sorted(set(_failed(own)))),
        released_chars=_number(release, "chars"),
        finish=_word(release, "finish"),
        prev=_word(own, "prev").removeprefix("sha256:"),
        hash=event.hash,
        event=event.body.decode(),
    )


def _failed(event: dict[str, Any]) -> Iterator[str]:
    for run in detectors_of(event):
        if run["status"] != SignalStatus.OK:
            yield f"{run['name']}:{run['status']}"


def _passages(retrieval: dict[str, Any]) -> Iterator[str]:
    passages = retrieval.get("passages")
    for passage in passages if isinstance(passages, list) else ():
        if isinstance(passage, dict) and passage.get("kept") is True:
            yield f"{_word(passage, 'id')}@{_word(passage, 'rev')}"


def _part(event: dict[str, Any], key: str) -> dict[str, Any]:
    found = event.get(key)
    return found if isinstance(found, dict) else {}


def _word(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _number(value: dict[str, Any], key: str) -> int | None:
    found = value.get(key)
    return found if type(found) is int else None
