"""`gateway index`: editions of the passage index, what drifts in it."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gateway.commands.evaluate import read_questions
from gateway.commands.timeline import printable
from gateway.domain.errors import GatewayError
from gateway.retrieval.chunk import ChunkingParameters, ChunkMethod
from gateway.retrieval.comparison import DEPTH, KnownItem
from gateway.retrieval.drift import DriftReport
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.assembly.reindexing import Built, IndexDesk

_REFUSED: Final = 1

OpenIndex = Callable[[], "AbstractAsyncContextManager[IndexDesk]"]
T = TypeVar("T")


@click.group("index")
def index() -> None:
    """Build, compare, switch and watch the passage index."""


@index.command("build")
@click.option("--embedder", default="", help="Name among `retrieval.embedders`, or `builtin`.")
@click.option("--chunker", type=click.Choice([method.value for method in ChunkMethod]), help="How to cut documents.")
@click.option("--target-chars", type=click.IntRange(100, 20_000), help="Longest passage.")
@click.option("--overlap-chars", type=click.IntRange(0, 20_000), help="What is repeated where prose is cut.")
@click.option("--questions", type=click.Path(path_type=Path, dir_okay=False), help="Question file to compare with.")
@click.option("--tenant", default="", help="Whose questions they are; needed with --questions.")
@click.option(
    "--max-drop", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="Recall that may be lost."
)
@click.option("--force", is_flag=True, help="Switch even if the new index finds less.")
@click.option("--by", default=getpass.getuser, show_default="the system's user", help="Who decides; recorded.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def build(
    context: click.Context,
    *,
    embedder: str,
    chunker: str | None,
    target_chars: int | None,
    overlap_chars: int | None,
    questions: Path | None,
    tenant: str,
    max_drop: float,
    force: bool,
    by: str,
    form: str,
) -> None:
    """Build the index anew beside the serving one, compare both, and switch.

    The serving index answers until the new one is complete and finds as much: on the questions of --questions, or on
    titles of the documents. The index before stays: `gateway index rollback`. An interrupted build goes on.

    Exit codes: 0 switched, 1 not switched because the new index finds less, 2 it could not be built.
    """
    cuts = {"target_chars": target_chars, "overlap_chars": overlap_chars}
    if not embedder and not chunker and not any(cuts.values()):
        raise click.UsageError("say what is to be different: `--embedder`, `--chunker` or a size")
    if questions is not None and not tenant:
        raise click.UsageError("`--questions` needs `--tenant`: whose documents are searched")
    items = _items(questions, tenant) if questions is not None else []
    chunking = _chunking(context.obj["settings"], chunker, cuts) if chunker or any(cuts.values()) else None

    async def run(desk: "IndexDesk") -> "Built":
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("documents", total=None)
            return await desk.build(
                embedder=embedder,
                chunking=chunking,
                items=items,
                max_drop=max_drop,
                force=force,
                by=by,
                progress=lambda now: bar.update(task, completed=now.done, total=now.total),
            )

    built = _run(context, run)
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(built), indent=2).decode())
    else:
        _print_built(built)
    if not built.switched:
        context.exit(_REFUSED)


@index.command("list")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def list_editions(context: click.Context, *, form: str) -> None:
    """Show the editions of the index, which serves and which did before."""
    found = _run(context, lambda desk: desk.standing())
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    table = Table("edition", "role", "documents", "passages", "embedder", "cut", "built", box=None)
    for one in found:
        edition = one.edition
        cut = edition.chunking.identity if edition.chunking else "by the settings"
        row = (edition.name, one.role, str(one.documents), str(one.passages), edition.embedder, cut, edition.built)
        table.add_row(*row)
    Console().print(table)


@index.command("rollback")
@click.argument("edition", default="")
@click.option("--by", default=getpass.getuser, show_default="the system's user", help="Who decides; recorded.")
@click.pass_context
def rollback(context: click.Context, edition: str, *, by: str) -> None:
    """Let EDITION serve again, the one before if none is named.

    Documents that were deleted, changed or closed since are taken out of it first.
    """
    serving, left_out = _run(context, lambda desk: desk.rollback(edition, by=by))
    click.echo(f"edition `{serving.name}` serves; {left_out} documents that changed since are left out of it")
    if left_out:
        click.echo("run `gateway ingest` to bring them back as they are now")


@index.command("prune")
@click.option("--all", "everything", is_flag=True, help="Remove the edition that served before, too.")
@click.pass_context
def prune(context: click.Context, *, everything: bool) -> None:
    """Remove editions that neither serve nor did before."""
    gone = _run(context, lambda desk: desk.prune(keep_previous=not everything))
    click.echo(f"{len(gone)} editions removed" + (f": {', '.join(gone)}" if gone else ""))


@index.command("drift")
@click.option("--since", "days", type=click.IntRange(1, 365), default=7, show_default=True, help="Days of the window.")
@click.option("--canaries", type=click.Path(path_type=Path, dir_okay=False), help="Question file to ask.")
@click.option("--tenant", default="", help="Whose questions they are; needed with --canaries.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def show_drift(context: click.Context, *, days: int, canaries: Path | None, tenant: str, form: str) -> None:
    """Tell whether the index still fits what is asked: searches of the last days against as many before.

    Shifts of what is asked and of how well it is found (population stability index; above 0.25 is an alarm), searches
    that find nothing, documents that have expired or wait for their review, and known questions. No text of a caller
    is kept for it. Each report is in the audit log.

    Exit codes: 0 nothing beyond its bound, 1 an alarm, 2 it cannot be told.
    """
    if canaries is not None and not tenant:
        raise click.UsageError("`--canaries` needs `--tenant`: whose documents are searched")
    items = _items(canaries, tenant) if canaries is not None else []
    found = _run(context, lambda desk: desk.drift(days=days, canaries=items, today=datetime.now(UTC).date()))
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for report in found:
            _print_drift(report)
    if any(report.alarms for report in found):
        context.exit(_REFUSED)


def _run(context: click.Context, act: "Callable[[IndexDesk], Awaitable[T]]") -> T:
    open_index: OpenIndex = context.obj["index"]

    async def run() -> T:
        async with open_index() as desk:
            return await act(desk)

    try:
        return asyncio.run(run())
    except GatewayError as error:
        click.echo(error.for_operator(), err=True)
        context.exit(2)


def _items(file: Path, tenant: str) -> list[KnownItem]:
    return [
        KnownItem(
            tenant=tenant, ask=question.ask, groups=frozenset(question.groups), documents=frozenset(question.documents)
        )
        for question in read_questions(file)
        if question.documents
    ]


def _chunking(settings: Settings, method: str | None, cuts: dict[str, int | None]) -> ChunkingParameters:
    """The way of cutting of the settings, with what is to be different."""
    own = settings.ingest.chunking
    known = {"target_chars": own.target_chars, "overlap_chars": own.overlap_chars, "small_chars": own.small_chars}
    chosen = known | {name: size for name, size in cuts.items() if size is not None}
    try:
        return ChunkingParameters(method=ChunkMethod(method or own.method), **chosen)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _print_built(built: "Built") -> None:
    found = built.comparison
    click.echo(f"edition `{built.edition.name}`: {built.documents} documents prepared")
    click.echo(
        f"{found.questions} questions: recall@{DEPTH} {found.before.recall:.3f} before, {found.after.recall:.3f} now; "
        f"nDCG {found.before.ndcg:.3f} before, {found.after.ndcg:.3f} now; {found.overlap:.0%} of the results are equal"
    )
    if built.switched:
        click.echo("it serves from now on; `gateway index rollback` goes back")
    else:
        click.echo("it finds less, so the index before goes on serving; `--force` switches all the same")


def _print_drift(report: DriftReport) -> None:
    def told(shift: float | None) -> str:
        return "too few searches to tell" if shift is None else f"{shift:.3f}"

    lines = (
        f"{report.tenant}: " + (", ".join(report.alarms) if report.alarms else "nothing beyond its bound"),
        f"  searches since {report.since}: {report.searches}, {report.searches_before} before; {report.failed} failed",
        f"  shift of questions: {told(report.query_shift)}; of best scores: {told(report.score_shift)}",
        f"  nothing found: {report.empty:.1%}, {report.empty_before:.1%} before",
        f"  documents expired: {len(report.expired)}; reviews overdue: {len(report.review_due)}",
        f"  known questions: {report.canaries}, {len(report.missed)} missed",
    )
    for line in lines:
        click.echo(printable(line).plain)
