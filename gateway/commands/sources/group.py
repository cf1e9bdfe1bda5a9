"""The commands of `gateway sources` but for tracing and the quarantine."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.commands.sources.common import at_desk, tenant_option, text_or_json, who, why
from gateway.commands.sources.quarantine import quarantine
from gateway.commands.sources.trace import trace
from gateway.commands.timeline import printable
from gateway.domain.errors import ConfigurationError
from gateway.identity.key_store import KeyStore
from gateway.retrieval.sources import visible
from gateway.retrieval.store import DocumentRecord
from gateway.settings.folder import IDENTITY_FILE

if TYPE_CHECKING:
    from gateway.assembly.sources import SourceDesk


@click.group("sources")
def sources() -> None:
    """See which documents are indexed, for whom and from where; delete and release."""


sources.add_command(quarantine)
sources.add_command(trace)


@sources.command("list")
@tenant_option
@click.option("--as", "user", default="", help="What this user can find, by the groups of their keys.")
@click.option("--app", default="", help="With --as: the app whose key counts.")
@click.option("--group", "groups", multiple=True, help="What holders of this group can find. Repeatable.")
@click.option("--deleted", is_flag=True, help="Documents that were deleted for good, instead.")
@text_or_json
@click.pass_context
def list_sources(
    context: click.Context, *, tenant: str, user: str, app: str, groups: tuple[str, ...], deleted: bool, form: str
) -> None:
    """List indexed documents: all of a tenant, or those that a principal can find today."""
    if user and groups:
        raise click.UsageError("give `--as` or `--group`, not both")

    async def read(desk: "SourceDesk") -> list[Any]:
        named = await desk.tenant(tenant)
        if deleted:
            with desk.journal() as journal:
                return list(journal.deletions(named).values())
        records = sorted((await desk.catalogue(named)).documents.values(), key=lambda record: record.doc)
        if not user and not groups:
            return records
        held = _groups_of(context, named, user, app) if user else frozenset(groups)
        return list(visible(records, held, datetime.now(UTC).date().isoformat()))

    found = at_desk(context, read)
    if form == "json":
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
    elif deleted:
        table = Table("document", "deleted", "by", "reason", box=None)
        for one in found:
            table.add_row(*map(printable, (one.doc, one.at, one.who, one.reason)))
        Console().print(table)
    else:
        _print(found)


@sources.command("delete")
@click.argument("doc")
@tenant_option
@who
@why
@click.pass_context
def delete(context: click.Context, doc: str, *, tenant: str, by: str, reason: str) -> None:
    """Take document DOC out of the index and keep it out; the audit log has it before it goes."""

    async def work(desk: "SourceDesk") -> DocumentRecord:
        return await desk.delete(await desk.tenant(tenant), doc, by=by, reason=reason)

    record = at_desk(context, work)
    click.echo(
        f"{doc} is gone with {record.passages} passages; ingests leave it out until `gateway sources allow`. "
        f"Its file is still {Path(record.root) / record.file}"
    )


@sources.command("allow")
@click.argument("doc")
@tenant_option
@who
@why
@click.pass_context
def allow(context: click.Context, doc: str, *, tenant: str, by: str, reason: str) -> None:
    """Let the next ingest take a deleted document in again."""

    async def work(desk: "SourceDesk") -> None:
        await desk.allow(await desk.tenant(tenant), doc, by=by, reason=reason)

    at_desk(context, work)
    click.echo(f"{doc} may be ingested again")


def _groups_of(context: click.Context, tenant: str, user: str, app: str) -> frozenset[str]:
    """The groups of a user's keys. Raises `ConfigurationError` unless all of them have the same."""
    store = KeyStore.open(context.obj["settings"].data_dir / IDENTITY_FILE)
    try:
        now = datetime.now(UTC)
        keys = [
            key
            for key in store.list()
            if (key.tenant, key.user) == (tenant, user) and (not app or key.app == app) and key.usable(now)
        ]
    finally:
        store.close()
    held = {frozenset(key.groups) for key in keys}
    if not held:
        raise ConfigurationError(f"no usable key of `{tenant}` belongs to `{user}`: see `gateway keys list`")
    if len(held) > 1:
        raise ConfigurationError(f"keys of `{user}` have different groups: name the app with `--app`, or use `--group`")
    return held.pop()


def _print(records: Sequence[DocumentRecord]) -> None:
    table = Table("document", "title", "class", "access", "valid", "passages", "withheld", "revision", box=None)
    for record in records:
        validity = f"{record.valid_from}…{record.valid_to}" if record.valid_from or record.valid_to else ""
        table.add_row(
            printable(record.doc),
            printable(record.title),
            record.classification,
            printable(", ".join(record.access)),
            validity,
            str(record.passages),
            str(len(record.withheld) or ""),
            record.revision,
        )
    Console().print(table)
