"""`gateway demo`: a fictional bank's gateway, set up and running."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from gateway.assembly.index import open_store
from gateway.assembly.node import record_event
from gateway.audit.note import KeyType
from gateway.commands.demo_console import ask_for_people, create_accounts
from gateway.commands.demo_console import instructions as console_instructions
from gateway.commands.serve import run
from gateway.commands.signer import key_or_new
from gateway.demo.setup import CORPUS, LOG_NAME, ROLES, TENANT, create_keys, examples, write_settings
from gateway.domain.event import EventDraft
from gateway.identity.key_store import KeyStore
from gateway.retrieval.embedding import MiniLmEmbedder
from gateway.retrieval.ingest import Ingest
from gateway.settings import Settings, load_settings
from gateway.settings.folder import IDENTITY_FILE

_SIGNER_KEY: Final = "signer.key"
_POLL_S: Final = 0.2
_READY_S: Final = 120.0


@click.command("demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("var/demo"),
    show_default=True,
    help="Folder for everything the demo makes.",
)
@click.option(
    "--policies",
    type=click.Path(path_type=Path),
    multiple=True,
    default=(Path("policies/base"), Path("policies/finance")),
    show_default=True,
    help="Policies to serve with; can be given several times.",
)
@click.option("--port", type=click.IntRange(1, 65_535), default=8080, show_default=True, help="Port to listen on.")
@click.option("--prepare-only", is_flag=True, help="Set everything up and print the commands, but do not serve.")
@click.option("--with-signer", is_flag=True, help="Sign checkpoints of the audit log, too, in a child process.")
def demo(*, folder: Path, policies: tuple[Path, ...], port: int, prepare_only: bool, with_signer: bool) -> None:
    """Index the sample documents of a fictional bank, make a key per role, and serve.

    Needs no account, no key, no server and no download. What it made stays in FOLDER and can be used again.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    trusted = ""
    if with_signer:
        trusted = str(key_or_new(folder / _SIGNER_KEY, LOG_NAME, KeyType.NOTE).verifier)
    file = write_settings(folder, policies=policies, port=port, checkpoint_key=trusted)
    settings = load_settings(file, {})
    click.echo(f"indexing {CORPUS.name} into {folder} …", err=True)
    asyncio.run(_ingest(settings))
    store = KeyStore.open(settings.data_dir / IDENTITY_FILE)
    try:
        keys = create_keys(store, lambda draft: record_event(settings, draft), now=datetime.now(UTC))
    finally:
        store.close()
    url = f"http://127.0.0.1:{port}"
    passwords = create_accounts(settings, lambda draft: record_event(settings, draft), now=datetime.now(UTC))
    text = "\n".join([_instructions(url, keys, file), *console_instructions(url, passwords), ""])
    if prepare_only:
        click.echo(text)
        return
    threading.Thread(target=_announce, args=(port, text, keys["customer"]), daemon=True).start()
    with _signer(file, folder) if with_signer else nullcontext():
        run(settings, config=str(file), host=settings.server.host, port=port, workers=1)


@contextmanager
def _signer(config: Path, folder: Path) -> Iterator[None]:
    """A signer while the gateway runs. Good for a demo alone: elsewhere it is another user's process."""
    command = [sys.executable, "-m", "gateway", "--config", str(config), "signer"]
    child = subprocess.Popen([*command, "--key", str(folder / _SIGNER_KEY)])  # noqa: S603 our own program
    # The server raises its signal again once it has stopped; by default that would end us here, and not the signer.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        yield
    finally:
        child.terminate()
        child.wait()


async def _ingest(settings: Settings) -> None:
    embedder = MiniLmEmbedder()
    store = open_store(settings, {}, embedder)
    try:
        report = (await Ingest(store, embedder).run([CORPUS], tenant=TENANT)).sound()
    finally:
        await store.close()
    events: list[EventDraft] = report.events()
    for draft in events:
        await asyncio.to_thread(record_event, settings, draft)


def _instructions(url: str, keys: dict[str, str], config: Path) -> str:
    lines = ["", f"The gateway answers at {url}/v1 (model `extractive`).", "", "Keys, one per role:"]
    lines += [f"  {role.name:<14} {keys[role.name]}   {role.about}" for role in ROLES]
    lines += ["", "Try, in another terminal:"]
    command = f"{_program()} --config {config}"
    for number, example in enumerate(examples(url, keys["customer"], gateway=command), start=1):
        lines += ["", f"{number}. {example.title}", f"   {example.command}"]
    return "\n".join([*lines, ""])


def _program() -> str:
    """How this command line was called, so that the printed commands work in the same folder."""
    called = Path(sys.argv[0])
    return os.path.relpath(called) if called.name == "gateway" and called.exists() else "gateway"


def _announce(port: int, text: str, key: str) -> None:
    """Once the gateway can answer, send it what waits for a person, and print the instructions."""
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        if _is_ready(port):
            waiting = ask_for_people(f"http://127.0.0.1:{port}", key)
            click.echo(f"{text}  {waiting} cases wait there: sign in as reviewer and press n.\n")
            return
        time.sleep(_POLL_S)


def _is_ready(port: int) -> bool:
    try:
        answer: Any = urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2)
    except (urllib.error.URLError, OSError):
        return False
    with answer:
        return bool(answer.status == 200)
