"""`gateway schedules`: what the node does by itself, when, and how it went."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from gateway.assembly.schedules import Standing


@click.command("schedules")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def schedules(context: click.Context, *, form: str) -> None:
    """Show the schedules of the settings with their next run, their last one and its result. Times are in UTC.

    What the last run printed stands in `schedules/NAME.log` of the data folder.

    Exit codes: 0 none failed, 1 the last run of some schedule failed, 2 it cannot be told.
    """
    look: Callable[[], list[Standing]] = context.obj["schedules"]
    found = look()
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif not found:
        click.echo("no schedules: add some under `schedules` of the settings")
    else:
        _print(found)
    if any(one.last is not None and one.last.failures for one in found):
        context.exit(1)


def _print(found: "list[Standing]") -> None:
    table = Table("schedule", "task", "times", "next", "last began", "result", "failed in a row", box=None)
    for one in found:
        last = one.last
        if last is None or last.began is None:
            result, failures = "never ran", 0
        else:
            code = f" (exit {last.exit})" if last.exit else ""
            result, failures = (last.result or "runs") + code, last.failures
        began = _told(last.began if last is not None else None)
        table.add_row(one.name, one.task, one.cron, _told(one.next), began, result, str(failures))
    Console(width=160, highlight=False).print(table)


def _told(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
