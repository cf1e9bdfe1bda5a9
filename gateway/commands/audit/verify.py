"""`gateway audit verify` and `gateway audit prove`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
import msgspec

from gateway.audit.anchoring import Trust
from gateway.audit.bundle import prove as prove_events
from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.key_file import verifier_keys
from gateway.audit.note import NoteError
from gateway.audit.read import AuditReader
from gateway.audit.segments_verify import verify_segments
from gateway.audit.standalone.verify_bundle import CannotRun, report, verify_path
from gateway.audit.verify import COULD_NOT_RUN, NOT_ANCHORED, Outcome, verify_log
from gateway.commands.audit.options import data_dir, log_path, reading, text_or_json
from gateway.commands.audit.report import report_log
from gateway.domain.errors import ConfigurationError


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@data_dir
@click.option(
    "--key", "keys", multiple=True, help="Verifier key of the signer, or a file with it; the settings' if none."
)
@click.option("--witness", "witnesses", multiple=True, help="Verifier key of a witness, or a file. Repeatable.")
@click.option("--quorum", type=click.IntRange(min=1), default=1, show_default=True, help="Witnesses that must agree.")
@click.option(
    "--checkpoint", "copies", type=click.Path(path_type=Path), multiple=True, help="Copy kept elsewhere. Repeatable."
)
@click.option(
    "--segments", type=click.Path(path_type=Path), help="Verify sealed segments in this folder, instead of the log."
)
@click.option("--require-anchor", is_flag=True, help="Exit with 6 unless a trusted checkpoint covers the log.")
@text_or_json
@click.pass_context
@reading
def verify(
    context: click.Context,
    *,
    bundle: Path | None,
    data_dir: Path | None,
    keys: tuple[str, ...],
    witnesses: tuple[str, ...],
    quorum: int,
    copies: tuple[Path, ...],
    segments: Path | None,
    require_anchor: bool,
    form: str,
) -> None:
    """Recompute the whole log, and compare it with its checkpoints; or verify an evidence bundle or sealed segments.

    Outcomes and exit codes: verified-anchored 0, verified-unanchored 0 (6 with --require-anchor, and for bundles),
    could not run 2, incomplete 3, invalid 4, diverged 5. A log is anchored by a key that you name, never by one that
    lies beside it.
    """
    if bundle is not None:
        _verify_bundle(bundle, keys, witnesses, quorum, form)
    configured = context.obj["settings"].audit
    trust = Trust(
        log_keys=verifier_keys(keys or tuple(filter(None, [configured.checkpoint_key]))),
        witness_keys=verifier_keys(witnesses or configured.witness_keys),
        quorum=quorum,
    )
    if segments is not None:
        _verify_segments(segments, trust, require_anchor=require_anchor, form=form)
    path = log_path(context, data_dir)
    result = verify_log(path, trust, [_checkpoint(copy) for copy in copies])
    if form == "json":
        click.echo(msgspec.json.encode(result))
    else:
        for line in report_log(path, result):
            click.echo(line)
    unanchored = require_anchor and result.outcome is Outcome.VERIFIED_UNANCHORED
    sys.exit(NOT_ANCHORED if unanchored else result.outcome.exit_code)


def _verify_segments(folder: Path, trust: Trust, *, require_anchor: bool, form: str) -> None:
    """Verify sealed segments, and exit."""
    result = verify_segments(folder, trust)
    if form == "json":
        click.echo(msgspec.json.encode(result))
    else:
        click.echo(f"{folder}: {result.outcome.value}")
        click.echo(f"{result.segments} segments hold, events {result.first} to {result.last}")
        if result.fault:
            click.echo(f"first fault: {result.fault}")
        if result.unsigned:
            click.echo(
                f"{result.unsigned} stand under checkpoints that no key you named has signed: name it with --key"
            )
    unanchored = require_anchor and result.outcome is Outcome.VERIFIED_UNANCHORED
    sys.exit(NOT_ANCHORED if unanchored else result.outcome.exit_code)


def _verify_bundle(bundle: Path, keys: tuple[str, ...], witnesses: tuple[str, ...], quorum: int, form: str) -> None:
    """Verify as the file in the bundle would, and exit."""
    trusted = [str(key) for key in verifier_keys(keys)]
    cosigners = [str(key) for key in verifier_keys(witnesses)]
    try:
        result = verify_path(bundle, trusted, cosigners, quorum)
    except CannotRun as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(COULD_NOT_RUN)
    click.echo(json.dumps(asdict(result)) if form == "json" else "\n".join(report(bundle, result)))
    sys.exit(result.exit_code)


@click.command("prove")
@click.argument("what", metavar="EVENT|EXCHANGE")
@click.option("--folder", type=click.Path(path_type=Path), help="Write each event with its proof into this folder.")
@data_dir
@click.pass_context
@reading
def prove(context: click.Context, *, what: str, folder: Path | None, data_dir: Path | None) -> None:
    """Prove that an event (by place or id), or the end of an exchange, stands under the last checkpoint.

    Prints a C2SP tlog-proof. With --folder, writes SEQ.json and SEQ.tlog-proof for each event of an exchange.
    """
    path = log_path(context, data_dir)
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


def _checkpoint(file: Path) -> SignedCheckpoint:
    try:
        return SignedCheckpoint.parse(file.read_bytes())
    except (OSError, NoteError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"the checkpoint `{file}` cannot be read: {reason}") from None
