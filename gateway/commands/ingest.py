"""`gateway ingest`: bring the passage index up to date with folders of documents."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from msgspec import structs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from gateway.commands.timeline import printable
from gateway.domain.errors import Fault, GatewayError
from gateway.retrieval.discovery import find_documents
from gateway.retrieval.document import Reading
from gateway.retrieval.ingest import Ingest
from gateway.retrieval.lint import lint
from gateway.retrieval.metadata import metadata_schema
from gateway.retrieval.report import IngestReport

_FAULTY: Final = 1

OpenIngest = Callable[[], AbstractAsyncContextManager[Ingest]]


@click.command("ingest")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--tenant", default="", help="Tenant of documents whose metadata names none.")
@click.option(
    "--rebuild",
    is_flag=True,
    help="Prepare everything under PATHS again, and let it replace the whole index of its tenants, documents from "
    "other folders included; also repairs a damaged index.",
)
@click.option("--allow-empty", is_flag=True, help="Remove the documents of a folder that holds none any more.")
@click.option("--lint", "only_lint", is_flag=True, help="Check files and metadata and change nothing.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of metadata files and do nothing else.")
@click.pass_context
def ingest(
    context: click.Context,
    paths: tuple[Path, ...],
    *,
    tenant: str,
    rebuild: bool,
    allow_empty: bool,
    only_lint: bool,
    schema: bool,
) -> None:
    """Index the documents under PATHS: Markdown, text, HTML, PDF, DOCX and CSV.

    Metadata stands in front matter, in `NAME.meta.yaml` beside a file, or in `_meta.yaml` for a folder. Unchanged
    documents cost nothing; an interrupted run goes on where it was. Documents that vanished from a folder ingested
    before are removed. A file with a fault is named and left out, and its earlier revision stays. Passages that the
    policies stop are indexed where no search finds them: see `gateway sources quarantine`.

    Exit codes: 0 indexed, 1 some files have faults or the store failed.
    """
    if schema:
        click.echo(json.dumps(metadata_schema(), indent=2))
        return
    if not paths:
        raise click.UsageError("name a folder or a file of documents")
    try:
        if only_lint:
            _lint(context, paths, tenant)
            return
        open_ingest: OpenIngest = context.obj["ingest"]
        report = asyncio.run(_run(open_ingest, paths, tenant=tenant, rebuild=rebuild, allow_empty=allow_empty))
        report_to: Callable[[IngestReport], object] = context.obj["on_ingested"]
        report_to(report)
    except GatewayError as error:
        raise click.ClickException(error.message) from error
    _print(report)
    if report.faults:
        _print_faults(report.faults)
        context.exit(_FAULTY)


async def _run(
    open_ingest: OpenIngest, paths: Sequence[Path], *, tenant: str, rebuild: bool, allow_empty: bool
) -> IngestReport:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Throughput(),
        TimeRemainingColumn(),
    )
    async with open_ingest() as opened:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("documents", total=None, passages=0)
            return await opened.run(
                paths,
                tenant=tenant,
                rebuild=rebuild,
                allow_empty=allow_empty,
                progress=lambda now: bar.update(task, completed=now.done, total=now.total, passages=now.passages),
            )


class _Throughput(ProgressColumn):
    """Passages prepared in a second, since the start."""

    def render(self, task: Task) -> Text:
        elapsed = task.finished_time if task.finished else task.elapsed
        passages = task.fields["passages"]
        return Text(f"{passages / elapsed:.1f} passages/s" if elapsed and passages else "")


def _lint(context: click.Context, paths: Sequence[Path], tenant: str) -> None:
    reading: Reading = context.obj["reading"]
    # a file is sound or not whatever tenant it is for
    chosen = structs.replace(reading, tenant=tenant or reading.tenant or "any")
    linted = lint(find_documents(paths, chosen), context.obj["parser"], datetime.now(UTC).date())
    for notice in linted.notices:
        click.echo(printable(f"{notice.file}: {notice.code} {notice.message}").plain)
    _print_faults(linted.faults)
    click.echo(f"{len(linted.faults)} faults, {len(linted.notices)} notices")
    if linted.faults:
        context.exit(_FAULTY)


def _print_faults(faults: Sequence[Fault]) -> None:
    for fault in faults:
        click.echo(printable(str(fault)).plain, err=True)


def _print(report: IngestReport) -> None:
    if not report.tenants:
        click.echo("nothing to index: no documents found")
    for tenant in report.tenants:
        click.echo(
            f"{tenant.tenant}: {tenant.added} added, {tenant.changed} changed, {tenant.unchanged} unchanged, "
            f"{tenant.removed} removed; {tenant.passages} passages prepared; index {tenant.after}"
        )
        more = {
            "documents taken over from an interrupted run": tenant.resumed,
            "passages withheld by policies: see `gateway sources quarantine list`": tenant.withheld,
            "passages redacted": tenant.redacted,
            "characters left out that no reader sees": tenant.hidden,
        }
        for words, count in more.items():
            if count:
                click.echo(f"  {count} {words}")
