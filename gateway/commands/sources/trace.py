"""`gateway sources trace`: from an answer to its sources, and from a source to the answers made of it."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table

from gateway.audit.read import AuditReader, Event, Filter
from gateway.commands.sources.common import at_desk, text_or_json
from gateway.commands.timeline import printable
from gateway.domain.errors import GatewayError
from gateway.domain.event import EventType
from gateway.retrieval.journal import IngestJournal
from gateway.retrieval.store import DocumentRecord
from gateway.settings.folder import AUDIT_FILE

if TYPE_CHECKING:
    from gateway.assembly.sources import SourceDesk

_ANSWERS: Final = frozenset({EventType.OUTCOME.value, EventType.STREAM_CLOSE.value})
_COMPLETION: Final = "chatcmpl-"  # what the wire puts before the id of an exchange


@click.command("trace")
@click.argument("what", metavar="ANSWER|PASSAGE|DOCUMENT")
@click.option("--tenant", default="", help="Whose document; the only tenant's if none.")
@click.option("--since", type=click.DateTime(), help="With a document: answers from this time on, in UTC.")
@text_or_json
@click.pass_context
def trace(context: click.Context, what: str, *, tenant: str, since: datetime | None, form: str) -> None:
    """Follow an answer to its passages, documents, files and ingests; or a document to the answers made of it.

    ANSWER is the id of an exchange or completion, PASSAGE is `DOCUMENT#NUMBER`.
    """
    log = context.obj["settings"].data_dir / AUDIT_FILE
    try:
        rows = _of_answer(context, log, what.removeprefix(_COMPLETION))
        if not rows:
            rows = _of_document(context, log, what, tenant, since)
    except GatewayError as error:
        raise click.ClickException(error.message) from error
    if not rows:
        raise click.ClickException(f"no answer or document `{what}` is known, or no answer was made of it")
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(printable("" if value is None else value) for value in row.values()))
    Console().print(table)


def _of_answer(context: click.Context, log: Path, exchange: str) -> list[dict[str, Any]]:
    """The passages that the model was shown, in the order of their numbers in the answer."""
    with AuditReader(log) as reader:
        events = [event for event in reader.timeline(exchange) if event.members["type"] in _ANSWERS]
    if not events:
        return []
    members = events[-1].members
    tenant = str(members["tenant"])
    shown = [passage for passage in _passages(members) if passage["kept"]]

    async def read(desk: "SourceDesk") -> list[dict[str, Any]]:
        known = (await desk.catalogue(tenant)).documents
        with desk.journal() as journal:
            return [
                {"cited as": f"[{number}]", **_origin(journal, known, tenant, passage)}
                for number, passage in enumerate(shown, start=1)
            ]

    return at_desk(context, read)


def _origin(
    journal: IngestJournal, known: Mapping[str, DocumentRecord], tenant: str, passage: Mapping[str, Any]
) -> dict[str, Any]:
    doc, revision = str(passage["id"]).rpartition("#")[0], str(passage["rev"])
    record = known.get(doc)
    origin = next((one for one in reversed(journal.origins(tenant, doc)) if one.revision == revision), None)
    if record is None:
        state = "deleted" if journal.deletions(tenant, [doc]) else "gone"
    else:
        state = "current" if record.revision == revision else "superseded"
    current = record is not None and record.revision == revision
    return {
        "passage": passage["id"],
        "revision": revision,
        "state": state,
        "file": str(Path(origin.root) / origin.file) if origin else "",
        "source": record.source if record is not None and current else "",
        "run": origin.run if origin else record.run if record is not None and current else "",
        "ingested": origin.at if origin else record.ingested if record is not None and current else "",
    }


def _of_document(
    context: click.Context, log: Path, what: str, tenant: str, since: datetime | None
) -> list[dict[str, Any]]:
    """The answers whose model was shown the document or passage, oldest first."""
    named = at_desk(context, lambda desk: desk.tenant(tenant))
    wanted = Filter(types=_ANSWERS, tenant=named, since=since.replace(tzinfo=UTC) if since else None)
    with AuditReader(log) as reader:
        return [row for event in reader.search(wanted) for row in _uses(event, what)]


def _uses(event: Event, what: str) -> Iterator[dict[str, Any]]:
    shown = [passage for passage in _passages(event.members) if passage["kept"]]
    for number, passage in enumerate(shown, start=1):
        if what in (passage["id"], str(passage["id"]).rpartition("#")[0]):
            yield {
                "answer": event.members["request"],
                "time": event.members["ts"],
                "app": event.members["app"],
                "effect": event.members.get("effect", ""),
                "passage": passage["id"],
                "revision": passage["rev"],
                "cited as": f"[{number}]",
            }


def _passages(members: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(members.get("retrieval", {}).get("passages", []))
