"""`gateway sources quarantine`: passages that policies keep from everyone."""

import json
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from gateway.commands.sources.common import at_desk, tenant_option, text_or_json, who, why
from gateway.commands.timeline import printable
from gateway.domain.passage import Passage
from gateway.retrieval.store import DocumentRecord

if TYPE_CHECKING:
    from gateway.assembly.sources import SourceDesk


@click.group("quarantine")
def quarantine() -> None:
    """See and release passages that policies keep from everyone."""


@quarantine.command("list")
@tenant_option
@text_or_json
@click.pass_context
def list_withheld(context: click.Context, *, tenant: str, form: str) -> None:
    """List withheld passages with the rules that stop them, without their text."""

    async def read(desk: "SourceDesk") -> list[DocumentRecord]:
        catalogue = await desk.catalogue(await desk.tenant(tenant))
        return [record for _, record in sorted(catalogue.documents.items()) if record.withheld]

    rows = [
        (f"{record.doc}#{one.number}", one.effect, list(one.rules), record.owner, record.source)
        for record in at_desk(context, read)
        for one in record.withheld
    ]
    if form == "json":
        names = ("passage", "effect", "rules", "owner", "source")
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))
        return
    table = Table("passage", "effect", "rules", "owner", "source", box=None)
    for passage, effect, rules, owner, source in rows:
        table.add_row(printable(passage), effect, printable(", ".join(rules)), printable(owner), printable(source))
    Console().print(table)


@quarantine.command("show")
@click.argument("passage")
@tenant_option
@who
@why
@click.pass_context
def show(context: click.Context, passage: str, *, tenant: str, by: str, reason: str) -> None:
    """Show the text of withheld PASSAGE (`DOCUMENT#NUMBER`); the audit log has it before it is shown."""

    async def work(desk: "SourceDesk") -> Passage:
        return await desk.open_withheld(await desk.tenant(tenant), passage, by=by, reason=reason)

    found = at_desk(context, work)
    for line in (found.title, found.section, found.place, "", *found.text.split("\n")):
        click.echo(printable(line).plain)


@quarantine.command("release")
@click.argument("passage")
@tenant_option
@who
@why
@click.pass_context
def release(context: click.Context, passage: str, *, tenant: str, by: str, reason: str) -> None:
    """Let the groups of the document find PASSAGE (`DOCUMENT#NUMBER`), for as long as its text stays the same."""

    async def work(desk: "SourceDesk") -> DocumentRecord:
        return await desk.release(await desk.tenant(tenant), passage, by=by, reason=reason)

    record = at_desk(context, work)
    click.echo(f"{passage} can be found by {', '.join(record.access)}; {len(record.withheld)} more are withheld")
