"""`gateway audit`: verify, prove, read and export the audit log. Works beside a running gateway; only `break-glass`
writes to the log."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from gateway.audit.anchoring import Trust
from gateway.audit.bundle import prove as prove_events
from gateway.audit.bundle import write_bundle
from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.note import NoteError, VerifierKey
from gateway.audit.read import AuditReader, Event, Filter
from gateway.audit.standalone.verify_bundle import CannotRun, report, verify_path
from gateway.audit.verify import COULD_NOT_RUN, NOT_ANCHORED, Outcome, verify_log
from gateway.commands.audit_report import report_log
from gateway.commands.break_glass import break_glass_command
from gateway.commands.timeline import print_events, print_timeline
from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.domain.event import EventType
from gateway.settings.folder import AUDIT_FILE

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
        except (AuditUnavailable, ConfigurationError) as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(COULD_NOT_RUN)

    return guarded


@audit.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@_data_dir
@click.option(
    "--key", "keys", multiple=True, help="Verifier key of the signer, or a file with it; the settings' if none."
)
@click.option("--witness", "witnesses", multiple=True, help="Verifier key of a witness, or a file. Repeatable.")
@click.option("--quorum", type=click.IntRange(min=1), default=1, show_default=True, help="Witnesses that must agree.")
@click.option(
    "--checkpoint", "copies", type=click.Path(path_type=Path), multiple=True, help="Copy kept elsewhere. Repeatable."
)
@click.option("--require-anchor", is_flag=True, help="Exit with 6 unless a trusted checkpoint covers the log.")
@_format
@click.pass_context
@_reading
def verify(
    context: click.Context,
    *,
    bundle: Path | None,
    data_dir: Path | None,
    keys: tuple[str, ...],
    witnesses: tuple[str, ...],
    quorum: int,
    copies: tuple[Path, ...],
    require_anchor: bool,
    form: str,
) -> None:
    """Recompute the whole log, and compare it with its checkpoints; or verify an evidence bundle.

    Outcomes and exit codes: verified-anchored 0, verified-unanchored 0 (6 with --require-anchor, and for bundles),
    could not run 2, incomplete 3, invalid 4, diverged 5. A log is anchored by a key that you name, never by one that
    lies beside it.
    """
    if bundle is not None:
        _verify_bundle(bundle, keys, witnesses, quorum, form)
    configured = context.obj["settings"].audit
    trust = Trust(
        log_keys=_keys(keys or tuple(filter(None, [configured.checkpoint_key]))),
        witness_keys=_keys(witnesses or configured.witness_keys),
        quorum=quorum,
    )
    path = _path(context, data_dir)
    result = verify_log(path, trust, [_checkpoint(copy) for copy in copies])
    if form == "json":
        click.echo(msgspec.json.encode(result))
    else:
        for line in report_log(path, result):
            click.echo(line)
    unanchored = require_anchor and result.outcome is Outcome.VERIFIED_UNANCHORED
    sys.exit(NOT_ANCHORED if unanchored else result.outcome.exit_code)


def _verify_bundle(bundle: Path, keys: tuple[str, ...], witnesses: tuple[str, ...], quorum: int, form: str) -> None:
    """Verify as the file in the bundle would, and exit."""
    trusted = [str(key) for key in _keys(keys)]
    cosigners = [str(key) for key in _keys(witnesses)]
    try:
        result = verify_path(bundle, trusted, cosigners, quorum)
    except CannotRun as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(COULD_NOT_RUN)
    click.echo(json.dumps(asdict(result)) if form == "json" else "\n".join(report(bundle, result)))
    sys.exit(result.exit_code)


@audit.command("prove")
@click.argument("what", metavar="EVENT|EXCHANGE")
@click.option("--folder", type=click.Path(path_type=Path), help="Write each event with its proof into this folder.")
@_data_dir
@click.pass_context
@_reading
def prove(context: click.Context, *, what: str, folder: Path | None, data_dir: Path | None) -> None:
    """Prove that an event (by place or id), or the end of an exchange, stands under the last checkpoint.

    Prints a C2SP tlog-proof. With --folder, writes SEQ.json and SEQ.tlog-proof for each event of an exchange.
    """
    path = _path(context, data_dir)
    signed = folder_of(path).last()
    if signed is None:
        raise click.ClickException("the log has no checkpoint: run `gateway signer`")
    with AuditReader(path) as reader:
        events = reader.find(what)
    if not events:
        raise click.ClickException(f"the log has no event or exchange `{what}`: see `gateway audit search`")
    if events[-1].seq > signed.checkpoint.size:
        raise click.ClickException(
            f"event {events[-1].seq} is newer than the last checkpoint, which covers {signed.checkpoint.size}: "
            "run `gateway signer`"
        )
    proofs = prove_events(path, signed, [event.seq for event in events])
    if folder is None:
        click.echo(str(proofs[-1]), nl=False)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for event, proof in zip(events, proofs, strict=True):
        (folder / f"{event.seq}.json").write_bytes(event.body)
        (folder / f"{event.seq}.tlog-proof").write_text(str(proof), encoding="utf-8")
    click.echo(f"{len(events)} events with proofs in {folder}")


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
@click.option("--bundle", type=click.Path(path_type=Path), help="Write an evidence bundle: a new folder, or NAME.zip.")
@_data_dir
@click.pass_context
@_reading
def export(context: click.Context, *, data_dir: Path | None, form: str, bundle: Path | None, **filters: Any) -> None:  # noqa: ARG001 one form so far
    """Write events to standard output, one a line, each exactly as it was hashed (SHA-256 of the line); or, with
    --bundle, events with proofs, checkpoint, public keys and verifier."""
    path, wanted = _path(context, data_dir), _filter(**filters)
    if bundle is not None:
        _export_bundle(context, path, wanted, bundle)
        return
    with AuditReader(path) as reader:
        for event in reader.search(wanted):
            click.echo(event.body)


def _export_bundle(context: click.Context, path: Path, wanted: Filter, bundle: Path) -> None:
    configured = context.obj["settings"].audit
    beside = folder_of(path).verifier_key()
    keys = dict.fromkeys([*([beside] if beside else []), *_keys((*configured.witness_keys,))])
    try:
        summary = write_bundle(bundle, path, wanted, keys=keys, now=datetime.now(UTC))
    except FileExistsError:
        raise click.ClickException(f"`{bundle}` exists: name a new folder or file") from None
    except OSError as error:
        raise click.ClickException(f"`{bundle}` cannot be written: {error.strerror}") from None
    click.echo(f"{summary.events} events in {bundle}")
    if not summary.checkpoint_size:
        click.echo("there is no checkpoint, and so no proof in it: run `gateway signer`", err=True)
    if summary.left_out:
        click.echo(f"{summary.left_out} events are newer than the last checkpoint and were left out", err=True)


def _keys(texts: tuple[str, ...]) -> tuple[VerifierKey, ...]:
    """Verifier keys, each given as such or as the name of a file that holds it."""
    keys = []
    for text in texts:
        try:
            keys.append(VerifierKey.parse(text if "+" in text else Path(text).read_text(encoding="utf-8")))
        except (OSError, NoteError, UnicodeDecodeError):
            raise ConfigurationError(f"`{text[:80]}` is neither a verifier key nor a file that holds one") from None
    return tuple(keys)


def _checkpoint(file: Path) -> SignedCheckpoint:
    try:
        return SignedCheckpoint.parse(file.read_bytes())
    except (OSError, NoteError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"the checkpoint `{file}` cannot be read: {reason}") from None


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


audit.add_command(break_glass_command)
