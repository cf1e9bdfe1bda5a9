"""`gateway audit sinks`."""

import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.audit.outbox_places import Places, SinkLag, place_at, sink_lags
from gateway.commands.audit.options import data_dir, log_path, reading, text_or_json
from gateway.commands.timeline import printable
from gateway.settings.folder import SINKS_FILE


@click.command("sinks")
@click.option(
    "--restart",
    nargs=2,
    type=(str, click.IntRange(min=0)),
    metavar="SINK SEQ",
    help="Go on behind event SEQ; 0 delivers everything again.",
)
@data_dir
@text_or_json
@click.pass_context
@reading
def sinks_command(context: click.Context, *, restart: tuple[str, int] | None, data_dir: Path | None, form: str) -> None:
    """Show how far each sink of the settings is behind the log. Exit code 1 if one fails."""
    log, names = log_path(context, data_dir), [sink.name for sink in context.obj["settings"].trail.sinks]
    places = log.parent / SINKS_FILE
    if restart is not None:
        sink, seq = restart
        if sink not in names:
            raise click.ClickException(f"the settings have no sink `{sink}`: name one of `trail.sinks`")
        with Places(places) as kept:
            kept.delivered(sink, place_at(log, seq))
    lags = sink_lags(log, places, names)
    if form == "json":
        click.echo(msgspec.json.encode(lags))
    else:
        _print(lags)
    sys.exit(int(any(lag.failures for lag in lags)))


def _print(lags: list[SinkLag]) -> None:
    table = Table("sink", "delivered", "behind", "seconds", "failures", "reason", box=None)
    for lag in lags:
        cells = (lag.sink, lag.delivered, lag.behind, lag.behind_s, lag.failures, lag.reason or "-")
        table.add_row(*map(printable, cells))
    Console().print(table)
