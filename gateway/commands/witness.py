"""`gateway witness`: cosign other organisations' logs."""

import time
from pathlib import Path

import click

from gateway.audit.key_file import load_key
from gateway.audit.note import KeyType
from gateway.audit.witness import Witness
from gateway.audit.witness_server import WitnessServer
from gateway.commands.signer import key_or_new, verifier_key


@click.group("witness")
def witness() -> None:
    """Cosign the checkpoints of logs that only grow, and refuse forks (C2SP tlog-witness)."""


@witness.command("key")
@click.option("--key", "key_file", type=click.Path(path_type=Path), required=True, help="File of the cosigning key.")
@click.option("--name", required=True, help="Name of the witness, such as `witness.example.org/w1`. For a new key.")
def key(*, key_file: Path, name: str) -> None:
    """Make the key if the file is missing, and print its public part for the logs that ask this witness."""
    click.echo(str(key_or_new(key_file, name, KeyType.COSIGNATURE).verifier))


@witness.command("serve")
@click.option("--key", "key_file", type=click.Path(path_type=Path), required=True, help="File of the cosigning key.")
@click.option("--state", type=click.Path(path_type=Path), required=True, help="File of what was cosigned.")
@click.option("--log", "logs", multiple=True, required=True, help="Public key of a log to serve. Repeatable.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=8090, show_default=True)
def serve(*, key_file: Path, state: Path, logs: tuple[str, ...], host: str, port: int) -> None:
    """Answer `POST /add-checkpoint`, and `GET /latest/<origin>`, until interrupted. The state file must never be
    lost or restored: a witness that forgot could cosign a fork."""
    one = Witness(state, load_key(key_file, KeyType.COSIGNATURE), map(verifier_key, logs), lambda: int(time.time()))
    try:
        with WitnessServer((host, port), one) as server:
            click.echo(f"witness at http://{host}:{server.server_address[1]}", err=True)
            server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        one.close()
