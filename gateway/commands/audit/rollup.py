"""`gateway audit rollup` and `gateway audit retire`."""

import re
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from gateway.audit.bundle import prove
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.key_file import verifier_keys
from gateway.audit.read import AuditReader
from gateway.audit.rollup import RETIRED_EVENT, RETIRED_PROOF, Node, Rollup
from gateway.commands.audit.options import log_path, reading
from gateway.domain.event import EventDraft, EventType
from gateway.settings.folder import AUDIT_FILE

_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{2,39}")
_POLL_S: Final = 0.1


@click.command("rollup")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), required=True, help="Data folder of the roll-up's log."
)
@click.option("--name", required=True, help="Name of the roll-up's log.")
@click.option(
    "--node",
    "nodes",
    nargs=2,
    multiple=True,
    required=True,
    metavar="SOURCE KEY",
    help="Folder or address of a node's checkpoints, and the verifier key of its signer, or a file. Repeatable.",
)
@click.option(
    "--retired",
    nargs=2,
    multiple=True,
    metavar="NODE FOLDER",
    help="Folder with the proof that `gateway audit retire` made. Repeatable.",
)
@click.option(
    "--silence-seconds", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Longer is a finding."
)
@click.option("--every-seconds", type=click.FloatRange(min=0.05), help="Go on until interrupted; once if not given.")
@click.pass_context
@reading
def rollup_command(
    context: click.Context,
    *,
    folder: Path,
    name: str,
    nodes: tuple[tuple[str, str], ...],
    retired: tuple[tuple[str, str], ...],
    silence_seconds: float,
    every_seconds: float | None,
) -> None:
    """Take the signed checkpoints of nodes into a log over all of them, and tell of nodes that are silent.

    Sign it with `gateway signer --data-dir FOLDER`; `gateway audit prove EVENT --data-dir FOLDER` proves a node's
    checkpoint. Exit code 1: there are findings.
    """
    from gateway.assembly.node import open_audit

    proofs = dict(retired)
    watched = []
    for source, text in nodes:
        (key,) = verifier_keys([text])
        proof = proofs.pop(key.name, None)
        watched.append(Node(key=key, source=source, retired=Path(proof) if proof else None))
    if proofs:
        raise click.UsageError(f"no node is named `{next(iter(proofs))}`: --retired takes the name in the node's key")
    settings = context.obj["settings"]
    own = msgspec.structs.replace(
        settings, data_dir=folder, audit=msgspec.structs.replace(settings.audit, log_name=name)
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    log = open_audit(own)
    try:
        rollup = Rollup(
            folder / AUDIT_FILE,
            watched,
            append=log.append_blocking,
            silence_s=silence_seconds,
            clock=lambda: datetime.now(UTC),
        )
        told: set[str] = set()
        while True:
            findings = {str(finding) for finding in rollup.step()}
            for line in sorted(findings - told):
                click.echo(line)
            told = findings
            if every_seconds is None or stop.wait(every_seconds):
                break
    finally:
        log.close()
    sys.exit(int(bool(told)))


@click.command("retire")
@click.option("--reason", required=True, metavar="CODE", help="Such as REPLACED: capitals and underscores.")
@click.option("--proof", type=click.Path(path_type=Path), help="New folder for the event and its proof, for roll-ups.")
@click.option(
    "--wait-seconds",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="For the checkpoint that the proof needs.",
)
@click.pass_context
@reading
def retire_command(context: click.Context, *, reason: str, proof: Path | None, wait_seconds: float) -> None:
    """Record that this node is taken out of service: its silence from now on is no finding."""
    if not _REASON.fullmatch(reason):
        raise click.UsageError("a reason is a code of capitals, digits and underscores, such as REPLACED")
    path = log_path(context, None)
    receipt = context.obj["record"](EventDraft(type=EventType.LOG_RETIRED, body={"reason": reason}))
    click.echo(f"recorded as event {receipt.seq}")
    if proof is None:
        return
    end = time.monotonic() + wait_seconds
    signed = folder_of(path).last()
    while signed is None or signed.checkpoint.size < receipt.seq:
        if time.monotonic() > end:
            raise click.ClickException(f"no checkpoint covers event {receipt.seq} yet: run `gateway signer`")
        time.sleep(_POLL_S)
        signed = folder_of(path).last()
    with AuditReader(path) as reader:
        body = reader.checked(receipt.seq).body
    (made,) = prove(path, signed, [receipt.seq])
    proof.mkdir(parents=True, exist_ok=True)
    (proof / RETIRED_EVENT).write_bytes(body)
    (proof / RETIRED_PROOF).write_text(str(made), encoding="utf-8")
    click.echo(f"proof in {proof}")
