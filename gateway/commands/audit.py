"""`gateway audit`: verify, read and export the audit log. Works beside a running gateway and writes nothing."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console

from gateway.audit.read import AuditReader, Event, Filter
from gateway.audit.verify import COULD_NOT_RUN, Verification, verify_log
from gateway.commands.timeline import print_events, print_timeline
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventType

AUDIT_FILE: Final = "audit.db"

_data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the log; that of the settings if not given."
)
_format = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.group("audit")
def audit() -> None:
    """Verify, read and export the audit log."""


def _reading(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a log that cannot be read into one line and exit code 2."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except AuditUnavailable as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(COULD_NOT_RUN)

    return guarded


@audit.command("verify")
@_data_dir
@_format
@click.pass_context
@_reading
def verify(context: click.Context, *, data_dir: Path | None, form: str) -> None:
    """Recompute the whole chain. Exit code 0: verified, 2: could not run, 3: incomplete, 4: invalid."""
    path = _path(context, data_dir)
    result = verify_log(path)
    if form == "json":
        click.echo(msgspec.json.encode(result))
    else:
        for line in _report(path, result):
            click.echo(line)
    sys.exit(result.outcome.exit_code)


@audit.command("show")
@click.argument("exchange", metavar="EXCHANGE|last")
@_data_dir
@_format
@click.pass_context
@_reading
def show(context: click.Context, *, exchange: str, data_dir: Path | None, form: str) -> None:
    """Show each step of one exchange: rules with status and reasons, detectors, passages, hashes."""
    with AuditReader(_path(context, data_dir)) as reader:
        wanted = reader.last_exchange() if exchange == "last" else exchange
        events = reader.timeline(wanted)
    if not events:
        raise click.ClickException(f"the log has no exchange `{exchange}`: see `gateway audit search`")
    if form == "json":
        click.echo(msgspec.json.encode([_as_json(event) for event in events]))
    else:
        print_timeline(Console(), wanted, events)


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option("--request", default="", help="Id of an exchange."),
        click.option("--type", "types", multiple=True, type=click.Choice([kind.value for kind in EventType])),
        click.option("--tenant", default=""),
        click.option("--app", default=""),
        click.option("--since", type=click.DateTime(), help="From this time on, in UTC."),
        click.option("--until", type=click.DateTime(), help="Before this time, in UTC."),
        click.option("--from-seq", type=click.IntRange(min=1), default=1),
        click.option("--to-seq", type=click.IntRange(min=1)),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@audit.command("search")
@_filters
@click.option("--limit", type=click.IntRange(min=1, max=100_000), default=50, show_default=True)
@_data_dir
@_format
@click.pass_context
@_reading
def search(context: click.Context, *, data_dir: Path | None, form: str, limit: int, **filters: Any) -> None:
    """List events, the newest first."""
    with AuditReader(_path(context, data_dir)) as reader:
        events = list(reader.search(_filter(**filters), limit=limit, newest=True))
    if form == "json":
        click.echo(msgspec.json.encode([_as_json(event) for event in events]))
    else:
        print_events(Console(), events)


@audit.command("export")
@_filters
@click.option("--format", "form", type=click.Choice(["jsonl"]), default="jsonl", show_default=True)
@_data_dir
@click.pass_context
@_reading
def export(context: click.Context, *, data_dir: Path | None, form: str, **filters: Any) -> None:  # noqa: ARG001 one form so far
    """Write events to standard output, one a line, each exactly as it was hashed (SHA-256 of the line)."""
    with AuditReader(_path(context, data_dir)) as reader:
        for event in reader.search(_filter(**filters)):
            click.echo(event.body)


def _path(context: click.Context, data_dir: Path | None) -> Path:
    folder: Path = context.obj["settings"].data_dir if data_dir is None else data_dir
    return folder / AUDIT_FILE


def _filter(
    *,
    request: str,
    types: tuple[str, ...],
    tenant: str,
    app: str,
    since: datetime | None,
    until: datetime | None,
    from_seq: int,
    to_seq: int | None,
) -> Filter:
    return Filter(
        request=request,
        types=frozenset(types),
        tenant=tenant,
        app=app,
        since=since and since.replace(tzinfo=UTC),
        until=until and until.replace(tzinfo=UTC),
        first=from_seq,
        last=to_seq,
    )


def _as_json(event: Event) -> dict[str, Any]:
    return {"hash": event.hash, **event.members}


def _report(path: Path, result: Verification) -> list[str]:
    lines = [f"{path}: {result.outcome.value}"]
    if result.bad is not None:
        lines.append(f"first bad event: {result.bad}")
    lines.append(
        f"{result.events} events of the log `{result.log}` hold, the last of them {result.hash} {result.last_ts}"
    )
    lines += [
        f"exchange `{one.request}` (event {one.seq}) never ended: the gateway stopped and was not started again"
        for one in result.unfinished[:20]
    ]
    if len(result.unfinished) > 20:
        lines.append(f"and {len(result.unfinished) - 20} more")
    for count, what in (
        (result.in_flight, "exchanges are under way"),
        (result.crashed, "exchanges were cut off by a crash (`unknown_after_crash`)"),
        (result.clock_steps, "events were written while the clock stood behind the log"),
    ):
        if count:
            lines.append(f"{count} {what}")
    if result.bad is None:
        lines.append("unanchored: keep the last hash elsewhere to show later that nothing was cut off or written anew")
    return lines
