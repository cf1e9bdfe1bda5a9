"""`gateway ingest`: bring the passage index up to date with folders of documents."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.domain.errors import GatewayError
from gateway.domain.ports import Embedder
from gateway.retrieval.ingest import Ingest, IngestReport
from gateway.retrieval.store import PassageStore


@click.command("ingest")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tenant", default="", help="Tenant of documents whose front matter names none.")
@click.option("--rebuild", is_flag=True, help="Prepare everything again; also repairs a damaged index.")
@click.pass_context
def ingest(context: click.Context, paths: tuple[Path, ...], tenant: str, *, rebuild: bool) -> None:
    """Index the Markdown and text files under PATHS.

    Unchanged documents cost nothing. Documents that vanished from a folder ingested before are removed. If any
    file has a fault, all faults are printed and nothing is changed.

    Exit codes: 0 indexed, 1 documents have faults or the store failed.
    """
    report_to: Callable[[IngestReport], None] = context.obj["on_ingested"]
    try:
        report = asyncio.run(_run(context.obj, paths, tenant=tenant, rebuild=rebuild))
        report_to(report)
    except GatewayError as error:
        raise click.ClickException(error.message) from error
    _print(report)


async def _run(composition: dict[str, Any], paths: tuple[Path, ...], *, tenant: str, rebuild: bool) -> IngestReport:
    store: PassageStore = composition["passage_store"]()
    embedder: Embedder = composition["embedder"]()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("documents", total=None)
            return await Ingest(store, embedder).run(
                paths,
                tenant=tenant,
                rebuild=rebuild,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    finally:
        await store.close()


def _print(report: IngestReport) -> None:
    if not report.tenants:
        click.echo("nothing to index: no documents found")
    for tenant in report.tenants:
        click.echo(
            f"{tenant.tenant}: {tenant.added} added, {tenant.changed} changed, {tenant.unchanged} unchanged, "
            f"{tenant.removed} removed; {tenant.passages} passages embedded; index {tenant.after}"
        )
