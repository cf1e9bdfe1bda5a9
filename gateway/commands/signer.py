"""`gateway signer`: sign checkpoints of the audit log, in a process and under a user of its own."""

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

import click

from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.copies import Copies, Copy, FileCopy, SpoolCopy, UrlCopy
from gateway.audit.key_file import create_key, load_key
from gateway.audit.note import KeyType, NoteError, SigningKey, VerifierKey
from gateway.audit.signer import Signer, SigningRefused
from gateway.audit.verify import Outcome
from gateway.audit.witness_client import WitnessClient, WitnessRefused
from gateway.domain.errors import ConfigurationError
from gateway.settings import Settings
from gateway.settings.folder import AUDIT_FILE

_POLL_S: Final = 0.05


@click.command("signer")
@click.option("--key", "key_file", type=click.Path(path_type=Path), required=True, help="File of the signing key.")
@click.option("--create-key", "make_key", is_flag=True, help="Make the key if the file is missing.")
@click.option("--name", help="Name in the checkpoints; that of the log if not given. Only for a new key.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the log; that of the settings if not given."
)
@click.option(
    "--every-events", type=click.IntRange(min=1), default=10, show_default=True, help="New events that make it sign."
)
@click.option(
    "--every-seconds",
    type=click.FloatRange(min=0.05),
    default=1.0,
    show_default=True,
    help="Time after which fewer new events do, too.",
)
@click.option("--witness", "witnesses", nargs=2, multiple=True, metavar="URL KEY", help="Repeatable.")
@click.option("--copy-file", "files", type=click.Path(path_type=Path), multiple=True, help="Gets every checkpoint.")
@click.option("--copy-url", "urls", multiple=True, help="Is posted checkpoints.")
@click.option("--copy-mail", "mails", nargs=2, multiple=True, metavar="MAILDIR ADDRESS", help="Gets messages.")
@click.option("--copy-seconds", type=click.FloatRange(min=0), default=60.0, show_default=True, help="For URL and mail.")
@click.option("--once", is_flag=True, help="Sign what is there, and end.")
@click.pass_context
def signer(
    context: click.Context,
    *,
    key_file: Path,
    make_key: bool,
    name: str | None,
    data_dir: Path | None,
    every_events: int,
    every_seconds: float,
    witnesses: tuple[tuple[str, str], ...],
    files: tuple[Path, ...],
    urls: tuple[str, ...],
    mails: tuple[tuple[str, str], ...],
    copy_seconds: float,
    once: bool,
) -> None:
    """Sign a checkpoint of the audit log for every 10 events or every second, while the log only grows.

    Run it as another user than the gateway: it reads the log and writes the folder `checkpoints` beside it; its key
    file must be readable by nobody else. Exit code 5: the log shrank, changed, or a witness saw another history.
    """
    settings: Settings = context.obj["settings"]
    log = (data_dir or settings.data_dir) / AUDIT_FILE
    key = (
        key_or_new(key_file, name or settings.audit.log_name, KeyType.NOTE)
        if make_key
        else load_key(key_file, KeyType.NOTE)
    )
    places: list[tuple[Copy, float]] = [(FileCopy(path), 0.0) for path in files]
    places += [(UrlCopy(url), copy_seconds) for url in urls]
    places += [(SpoolCopy(Path(folder), address), copy_seconds) for folder, address in mails]
    asked = [WitnessClient(url, verifier_key(text)) for url, text in witnesses]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not once and not log.is_file() and not stop.wait(_POLL_S):
        pass  # the gateway makes it at its first start
    if stop.is_set():
        return
    try:
        with Signer(
            log,
            key,
            every_events=every_events,
            every_s=every_seconds,
            witnesses=asked,
            copies=Copies(places, clock=time.monotonic, warn=_warn),
            clock=time.monotonic,
            warn=_warn,
        ) as one:
            click.echo(f"signing `{log}` into `{folder_of(log).path}` as {key.verifier}", err=True)
            one.step()
            while not once and not stop.wait(_POLL_S):
                one.step()
    except (SigningRefused, WitnessRefused) as error:
        click.echo(error.for_operator(), err=True)
        sys.exit(Outcome.DIVERGED.exit_code)


def verifier_key(text: str) -> VerifierKey:
    """A verifier key of the command line. Raises `ConfigurationError`."""
    try:
        return VerifierKey.parse(text)
    except NoteError as error:
        raise ConfigurationError(f"`{text[:80]}` is no verifier key: {error}") from None


def key_or_new(path: Path, name: str, key_type: KeyType) -> SigningKey:
    """The key of a file, which is made if it is missing. Raises `ConfigurationError`."""
    return load_key(path, key_type) if path.exists() else create_key(path, name, key_type)


def _warn(line: str) -> None:
    click.echo(f"gateway: {line}", err=True)
