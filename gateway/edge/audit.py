"""`/v1/gateway/audit`: the audit trail for auditors, each of whom sees the events of their own tenant.

    GET  /events               events, the newest first, by any filter; pages by `cursor`
    GET  /exchanges/{id}       one exchange from its first event to its last, told in order
    POST /texts                where exactly this text was asked, answered or written
    GET  /stats                counts by day and application
    GET  /verify               whether the log holds, recomputed
    GET  /export               a filtered set as an evidence bundle

Auditors of the tenants that the settings call operators see the events of all tenants, and those of the node itself.
Reading leaves an event (`audit.read`, `export`) before anything is shown. What another tenant has is not told from
what does not exist.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from litestar.types import Receive, Scope, Send
from msgspec import Struct

from gateway.audit.apart import Apart, Evidence
from gateway.audit.export_event import exported, read
from gateway.audit.export_forms import Form
from gateway.audit.read import Event, Filter
from gateway.audit.read_timeline import timeline_of
from gateway.audit.search import MOST, AuditSearch
from gateway.audit.text_tag import TextTags
from gateway.audit.verify import Verification
from gateway.domain.errors import RequestError
from gateway.domain.event import EventType
from gateway.domain.model import Body
from gateway.domain.ports import AuditLog
from gateway.domain.principal import Principal
from gateway.domain.vocabulary import Effect
from gateway.edge.door import Door, Entry
from gateway.reply import Reply

AUDITOR: Final = "auditor"
ROUTE: Final = "/v1/gateway/audit"
DEFAULT_LIMIT: Final = 50
EFFECTS: Final = (*(effect.value for effect in Effect), "error")
_TEXT_LIMIT: Final = 100
_PARTS: Final = frozenset({"events", "texts", "stats", "verify", "export"})
_EXCHANGE: Final = re.compile(r"exchanges/([^/]{1,200})")
_FILTERS: Final = frozenset(
    {"type", "tenant", "app", "principal", "effect", "rule", "case", "commitment", "request", "since", "until"}
)
_ALLOWED: Final = {
    "events": _FILTERS | {"limit", "cursor"},
    "exchanges": frozenset[str](),
    "texts": frozenset[str](),
    "stats": frozenset({"tenant", "app", "since", "until", "by"}),
    "verify": frozenset[str](),
    "export": _FILTERS | {"form"},
}
_SAYING: Final = frozenset(kind.value for kind in EventType if kind is not EventType.AUDIT_READ)
GROUPINGS: Final = ("day,app", "day", "app", "tenant")


class AuditNeeds(Struct, frozen=True, kw_only=True):
    """What the routes are made of. `operators` are tenants whose auditors see everything."""

    log: Path
    audit: AuditLog
    tags: TextTags
    apart: Apart
    operators: frozenset[str]
    clock: Callable[[], datetime]


class AuditWire:
    """The ASGI application of these routes."""

    def __init__(self, door: Door, needs: AuditNeeds) -> None:
        self._door = door
        self._needs = needs

    async def trail(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whatever stands below the mount."""
        path = str(scope["path"]).strip("/")
        match = _EXCHANGE.fullmatch(path)
        part = "exchanges" if match else path
        route = f"{ROUTE}/exchanges/{{exchange}}" if match else f"{ROUTE}/{path if path in _PARTS else '{part}'}"
        method = "POST" if part == "texts" else "GET"

        async def serve(entry: Entry) -> Reply:
            if match is None and part not in _PARTS:
                raise RequestError("this is not a route of this gateway", code="not_found", status=404)
            if AUDITOR not in entry.principal.roles:
                raise RequestError("only an auditor may read the trail", code="auditor_required", status=403)
            asked = _Asked(scope, part)
            match part:
                case "events":
                    return await self._events(entry, asked)
                case "texts":
                    return await self._texts(entry)
                case "stats":
                    return await self._stats(entry, asked)
                case "verify":
                    return await self._verify(entry)
                case "export":
                    return await self._export(entry, asked)
                case _:
                    return await self._exchange(entry, match[1] if match else "")

        await self._door.run(scope, receive, send, method=method, serve=serve, route=route)

    async def _events(self, entry: Entry, asked: "_Asked") -> Reply:
        wanted, limit, cursor = asked.filter(self._tenants(entry.principal)), asked.limit(), asked.one("cursor")
        await self._needs.audit.append(read("events", wanted, by=entry.principal))
        page = await asyncio.to_thread(self._page, wanted, limit, cursor)
        return _reply(entry, page)

    async def _exchange(self, entry: Entry, exchange: str) -> Reply:
        wanted = Filter(request=exchange, tenants=self._tenants(entry.principal))
        await self._needs.audit.append(read("exchange", wanted, by=entry.principal))
        body = await asyncio.to_thread(self._told, exchange, wanted.tenants)
        return _reply(entry, body)

    async def _texts(self, entry: Entry) -> Reply:
        text = entry.body.get("text")
        if not isinstance(text, str) or not text:
            raise RequestError("`text` must be a text", code="invalid_type", param="text")
        wanted = Filter(tenants=self._tenants(entry.principal))
        await self._needs.audit.append(read("texts", wanted, by=entry.principal, text=text))
        # That somebody looked for a text is no place where it was said.
        wanted = msgspec.structs.replace(wanted, types=_SAYING)
        found = await asyncio.to_thread(self._places, text, wanted)
        return _reply(entry, found)

    async def _stats(self, entry: Entry, asked: "_Asked") -> Reply:
        wanted, by = asked.filter(self._tenants(entry.principal)), asked.choice("by", GROUPINGS)
        await self._needs.audit.append(read("stats", wanted, by=entry.principal))
        groups = await asyncio.to_thread(self._counted, wanted, by)
        return _reply(entry, {"object": "list", "data": groups})

    async def _verify(self, entry: Entry) -> Reply:
        tenants = self._tenants(entry.principal)
        await self._needs.audit.append(read("verify", Filter(tenants=tenants), by=entry.principal))
        verified = await self._needs.apart.verified()
        return _reply(entry, _verdict(verified, whole=tenants is None))

    async def _export(self, entry: Entry, asked: "_Asked") -> Reply:
        wanted, form = asked.filter(self._tenants(entry.principal)), Form(asked.choice("form", tuple(Form)))
        await self._needs.audit.append(exported(form, wanted, via="http", bundle=True, by=entry.principal))
        evidence = await self._needs.apart.evidence(wanted, form, self._needs.clock())
        headers = {
            "x-request-id": entry.exchange,
            "content-disposition": 'attachment; filename="evidence.zip"',
            "cache-control": "no-store",
        }
        return Reply(headers=headers, download=EvidenceDownload(evidence))

    def _tenants(self, principal: Principal) -> frozenset[str] | None:
        return None if principal.tenant in self._needs.operators else frozenset({principal.tenant})

    def _page(self, wanted: Filter, limit: int, cursor: str) -> Body:
        with AuditSearch(self._needs.log) as search:
            page = search.page(wanted, limit=limit, cursor=cursor)
        return {"object": "list", "data": list(map(_event, page.events)), "next": page.next or None}

    def _told(self, exchange: str, tenants: frozenset[str] | None) -> Body:
        with AuditSearch(self._needs.log) as search:
            events = search.exchange(exchange, tenants)
        if not events:
            raise RequestError("there is no such exchange for this key", code="exchange_not_found", status=404)
        timeline: Body = msgspec.to_builtins(timeline_of(exchange, events))
        return {"object": "gateway.exchange", **timeline, "events": list(map(_event, events))}

    def _places(self, text: str, wanted: Filter) -> Body:
        with AuditSearch(self._needs.log) as search:
            places = search.texts(text, self._needs.tags, wanted, limit=_TEXT_LIMIT)
        return {"object": "list", "data": [{"path": one.path, "event": _event(one.event)} for one in places]}

    def _counted(self, wanted: Filter, by: str) -> list[Body]:
        with AuditSearch(self._needs.log) as search:
            groups = search.stats(wanted, by_day="day" in by, by_app="app" in by)
        return [msgspec.to_builtins(group) for group in groups]


class EvidenceDownload:
    """A bundle on its way out. Its folder is gone once it has left, or was not fetched."""

    media_type = "application/zip"
    _CHUNK: Final = 256 * 1024

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.size = evidence.size

    async def chunks(self) -> AsyncIterator[bytes]:
        with self._evidence.path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, self._CHUNK):
                yield chunk

    async def close(self) -> None:
        await asyncio.to_thread(self._evidence.remove)


class _Asked:
    """The query of a request, checked. Unknown and repeated names are refused: a misspelt filter would show more than
    was asked for."""

    def __init__(self, scope: Scope, part: str) -> None:
        self._values: dict[str, str] = {}
        for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
            if name not in _ALLOWED[part]:
                known = ", ".join(f"`{one}`" for one in sorted(_ALLOWED[part])) or "none"
                raise RequestError(f"this route takes of the query: {known}", code="unknown_parameter")
            if name in self._values:
                raise RequestError(f"`{name}` is given twice", code="invalid_value", param=name)
            self._values[name] = value

    def one(self, name: str) -> str:
        return self._values.get(name, "")

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of these; the first if it is not given."""
        value = self._values.get(name, choices[0])
        if value not in choices:
            told = ", ".join(f"`{one}`" for one in choices)
            raise RequestError(f"`{name}` is one of {told}", code="invalid_value", param=name)
        return value

    def limit(self) -> int:
        text = self._values.get("limit", str(DEFAULT_LIMIT))
        if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MOST:
            raise RequestError(f"`limit` lies in 1..{MOST}", code="invalid_limit", param="limit")
        return int(text)

    def filter(self, tenants: frozenset[str] | None) -> Filter:
        types = frozenset(name for name in self.one("type").split(",") if name)
        if not types <= {kind.value for kind in EventType}:
            raise RequestError("`type` names types of events, with commas", code="invalid_value", param="type")
        effect = self.one("effect")
        if effect and effect not in EFFECTS:
            raise RequestError("`effect` is none of the effects", code="invalid_value", param="effect")
        return Filter(
            types=types,
            tenants=tenants,
            effect=effect,
            since=self._moment("since"),
            until=self._moment("until"),
            tenant=self.one("tenant"),
            app=self.one("app"),
            principal=self.one("principal"),
            rule=self.one("rule"),
            case=self.one("case"),
            commitment=self.one("commitment"),
            request=self.one("request"),
        )

    def _moment(self, name: str) -> datetime | None:
        text = self.one(name)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
            # The earliest and latest times of some zones have none in UTC, and the first of all has none before it.
            moment.astimezone(UTC) - timedelta.resolution
            sound = moment.tzinfo is not None
        except (ValueError, OverflowError):
            sound = False
        if not sound:
            raise RequestError(
                f"`{name}` is a time as in RFC 3339, such as `2026-11-24T10:00:00Z`", code="invalid_value", param=name
            )
        return moment


def _verdict(verified: Verification, *, whole: bool) -> Body:
    """What a verification found; ids of exchanges only for those who may see them all."""
    body: dict[str, Any] = msgspec.to_builtins(verified)
    if not whole:
        body["unfinished"] = len(verified.unfinished)
    return {"object": "gateway.verification", **body}


def _event(event: Event) -> Body:
    return {"hash": f"sha256:{event.hash}", **event.members}


def _reply(entry: Entry, body: Body) -> Reply:
    return Reply(headers={"x-request-id": entry.exchange, "cache-control": "no-store"}, body=body)
