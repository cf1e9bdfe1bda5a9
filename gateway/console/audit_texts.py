"""Texts and evidence, for auditors alone: where a text was said, what a kept text is, and events to take along.

Each is an event before anything is shown: `audit.read` with a commitment to the text, `body.read` with the reason,
`export` with the filter.
"""

from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import Controller, Response, post
from litestar.response import Stream
from msgspec import structs

from gateway.audit.apart import Evidence
from gateway.audit.body_read import OpenedBody
from gateway.audit.export_event import exported
from gateway.audit.export_forms import Form
from gateway.audit.read import Filter
from gateway.audit.search import AuditSearch, Place
from gateway.audit.shown import check_shown
from gateway.console.audit_query import asked
from gateway.console.audit_reading import TEXTS, reader_of, record_reading, tenants_of
from gateway.console.audit_view import BADGES, event_lines
from gateway.console.page import page
from gateway.console.parts import ConsoleRequest, Parts, blocking, parts_of, session_of
from gateway.console.shown_text import shown_text
from gateway.domain.errors import RequestError
from gateway.domain.event import EventType

_MOST_PLACES: Final = 100
_MOST_CHARS: Final = 200_000
_CHUNK: Final = 256 * 1024
_SAYING: Final = frozenset(kind.value for kind in EventType if kind is not EventType.AUDIT_READ)
"""That somebody looked for a text is no place where it was said."""


class AuditTexts(Controller):
    """What an auditor alone may do below `/audit`."""

    path = "/audit"
    opt = {"roles": TEXTS}

    @post("/texts", status_code=200)
    async def find(self, request: ConsoleRequest) -> Response[Any]:
        """Where exactly this text was asked, answered or written; in no address, so that no log of one keeps it."""
        parts, session = parts_of(request), session_of(request)
        form = await request.form()
        text = str(form.get("text", "")).replace("\r\n", "\n")
        if not text or len(text) > _MOST_CHARS:
            raise RequestError(f"the text must have 1 to {_MOST_CHARS} characters", code="invalid_value")
        wanted = Filter(tenants=tenants_of(parts, session))
        await record_reading(parts, session, "texts", wanted, text=text)
        places = await blocking(_places, parts, text, structs.replace(wanted, types=_SAYING))
        seqs = [place.event.seq for place in places]
        check = await blocking(check_shown, parts.trail.log, seqs, parts.trail.trust)
        return page(
            request,
            "audit_texts.html",
            title="Where a text was said",
            here="/audit",
            lines=event_lines([place.event for place in places], check),
            paths=[place.path for place in places],
            check=check,
            badges=BADGES,
            most=_MOST_PLACES,
        )

    @post("/body", status_code=200)
    async def body(self, request: ConsoleRequest) -> Response[Any]:
        """Open a kept text with a reason. Personal data in it is marked, not masked: it was asked for."""
        parts, session = parts_of(request), session_of(request)
        form = await request.form()
        event, field, reason = (str(form.get(name, "")).strip() for name in ("event", "field", "reason"))
        opened: OpenedBody = await parts.trail.bodies.read_body(
            event, field, reader_of(parts, session).ref, reason, tenants=tenants_of(parts, session)
        )
        found = await parts.find_personal([opened.text]) if opened.text else None
        return page(
            request,
            "audit_body.html",
            title="A kept text",
            here="/audit",
            opened=opened,
            text=shown_text(opened.text, found[0] if found else None, masked=False),
            event=event,
            reason=reason,
            back=str(form.get("exchange", "")),
        )

    @post("/export", status_code=200)
    async def export(self, request: ConsoleRequest) -> Stream:
        """The events of a filter as an evidence bundle: with proofs, checkpoint, keys and the verifier."""
        parts, session = parts_of(request), session_of(request)
        form = await request.form()
        query = dict(parse_qsl(str(form.get("query", "")), keep_blank_values=True))
        chosen = asked(query, tenants_of(parts, session), parts.clock())
        name = str(form.get("form", ""))
        if chosen.fault or name not in set(Form):
            raise RequestError(chosen.fault or "`form` is no form of events", code="invalid_value")
        draft = exported(Form(name), chosen.wanted, via="console", bundle=True, by=reader_of(parts, session))
        await parts.audit.append(draft)
        evidence = await parts.trail.apart.evidence(chosen.wanted, Form(name), parts.clock())
        headers = {
            "content-disposition": f'attachment; filename="evidence-{parts.clock():%Y%m%d-%H%M%S}.zip"',
            "content-length": str(evidence.size),
        }
        return Stream(_chunks(evidence), media_type="application/zip", headers=headers)


async def _chunks(evidence: Evidence) -> AsyncIterator[bytes]:
    """The bundle, which is gone once it has left, or was not fetched."""
    try:
        with evidence.path.open("rb") as file:
            while chunk := await blocking(file.read, _CHUNK):
                yield chunk
    finally:
        evidence.remove()


def _places(parts: Parts, text: str, wanted: Filter) -> list[Place]:
    with AuditSearch(parts.trail.log) as search:
        return search.texts(text, parts.trail.tags, wanted, limit=_MOST_PLACES)
