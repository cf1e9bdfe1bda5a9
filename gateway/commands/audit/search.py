"""`gateway audit search`, `timeline`, `stats` and `reindex`."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.audit.read import Event, Filter
from gateway.audit.read_timeline import Timeline, timeline_of
from gateway.audit.search import AuditSearch
from gateway.audit.search_index import SearchIndex
from gateway.audit.text_tag import TextTags
from gateway.commands.audit.options import as_json, data_dir, filter_of, filters, log_path, reading, text_or_json
from gateway.commands.timeline import print_events, printable
from gateway.domain.errors import ConfigurationError, RequestError
from gateway.domain.sealing import MasterKey, Purpose
from gateway.settings.folder import MASTER_KEY_FILE

_STEP: Final = 2_000
_MILLISECOND: Final = 1_000


@click.command("search")
@filters
@click.option(
    "--text",
    type=click.File("r", encoding="utf-8"),
    help="File with exactly the text to look for; `-` is standard input.",
)
@click.option("--limit", type=click.IntRange(min=1, max=100_000), default=50, show_default=True)
@click.option("--cursor", default="", help="Go on from where the page before this one ended.")
@data_dir
@text_or_json
@click.pass_context
@reading
def search(
    context: click.Context, *, data_dir: Path | None, form: str, limit: int, cursor: str, text: Any, **filters: Any
) -> None:
    """List events, the newest first.

    --text says where exactly this text was asked, answered or written in a case: the log holds none, but can prove it
    until it is erased.
    """
    path, wanted, more = log_path(context, data_dir), filter_of(**filters), ""
    with AuditSearch(path) as search:
        if text is not None:
            found = search.texts(text.read(), _tags(path.parent), wanted, limit=limit)
            events = list({place.event.seq: place.event for place in found}.values())
        else:
            try:
                page = search.page(wanted, limit=limit, cursor=cursor)
            except RequestError as error:
                raise click.UsageError(error.message) from None
            events, more = list(page.events), page.next
    if form == "json":
        click.echo(msgspec.json.encode([as_json(event) for event in events]))
    else:
        print_events(Console(), events)
    if more:
        click.echo(f"there are more: --cursor {more}", err=True)


@click.command("timeline")
@click.argument("exchange", metavar="EXCHANGE|last")
@data_dir
@text_or_json
@click.pass_context
@reading
def timeline(context: click.Context, *, exchange: str, data_dir: Path | None, form: str) -> None:
    """Tell one exchange in order: what was asked and decided, by which rules, conditions and detectors, what was
    retrieved, what left, and what people did with its case."""
    with AuditSearch(log_path(context, data_dir)) as search:
        wanted = search.reader.last_exchange() if exchange == "last" else exchange
        events = search.exchange(wanted)
    if not events:
        raise click.ClickException(f"the log has no exchange `{exchange}`: see `gateway audit search`")
    told = timeline_of(wanted, events)
    if form == "json":
        click.echo(msgspec.json.encode(told))
    else:
        _print(Console(), told, events)


@click.command("stats")
@click.option("--tenant", default="")
@click.option("--app", default="")
@click.option("--since", type=click.DateTime(), help="From this day on (UTC).")
@click.option("--until", type=click.DateTime(), help="Before this day.")
@click.option(
    "--by",
    type=click.Choice(["day", "app", "day,app", "tenant"]),
    default="day,app",
    show_default=True,
    help="Groups, within each tenant.",
)
@data_dir
@click.pass_context
@reading
def stats(
    context: click.Context,
    *,
    tenant: str,
    app: str,
    since: datetime | None,
    until: datetime | None,
    by: str,
    data_dir: Path | None,
) -> None:
    """Count decisions, rules, failures of detectors, times and tokens, by day and application, as JSON."""
    wanted = Filter(
        tenant=tenant,
        app=app,
        since=since and since.replace(tzinfo=UTC),
        until=until and until.replace(tzinfo=UTC),
    )
    with AuditSearch(log_path(context, data_dir)) as search:
        groups = search.stats(wanted, by_day="day" in by, by_app="app" in by)
    click.echo(msgspec.json.format(msgspec.json.encode(groups)))


@click.command("reindex")
@data_dir
@click.pass_context
@reading
def reindex(context: click.Context, *, data_dir: Path | None) -> None:
    """Make the index of the log anew. Beside a running gateway, too: nothing that it says is evidence."""
    path = log_path(context, data_dir)
    begun = time.monotonic()
    with SearchIndex(path) as index:
        index.begin_anew()
        left = 1
        while left:
            left = index.take_in(_STEP)
    with AuditSearch(path) as search:
        click.echo(f"{search.indexed} events in `{index.path}`, {time.monotonic() - begun:.1f} s")


def _tags(folder: Path) -> TextTags:
    file = folder / MASTER_KEY_FILE
    if not file.exists():
        raise ConfigurationError(f"texts are found with the key `{file}`, which is not there: name the data folder")
    return TextTags(MasterKey.load_or_create(file).derive(Purpose.TEXT_TAG))


def _print(console: Console, told: Timeline, events: list[Event]) -> None:
    console.print(printable(f"exchange {told.exchange}: {told.effect or 'not ended'}"), style="bold")
    console.print(
        printable(f"{told.tenant}/{told.app}, principal {told.principal or '-'}, policy {told.policy or '-'}")
    )
    for moment, event in zip(told.moments, events, strict=True):
        console.print()
        after = f"+{moment.after_us / 1_000_000:.3f} s"
        console.print(printable(f"{after:<12}{moment.title}"), style="bold")
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 2))
        for fact in moment.facts:
            took = f"{fact.us / _MILLISECOND:.1f} ms" if fact.us else ""
            cells = (fact.kind.value, fact.name, fact.status, took, ", ".join(fact.why))
            table.add_row(*map(printable, cells))
        if moment.facts:
            console.print(table)
        console.print(printable(f"  {moment.type}, event {moment.seq}, {moment.ts}, sha256:{event.hash}"), style="dim")
