"""`gateway policy sign` and `verify`."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from gateway.commands.policy.common import WRONG, cannot_run, paths_argument, sound
from gateway.domain.errors import ConfigurationError
from gateway.policy.bundle import Bundle
from gateway.policy.signing import (
    approve,
    check_subject,
    private_key,
    public_key,
    read_manifest,
    state,
    verify_bundle,
    write_manifest,
)

T = TypeVar("T")

_file = click.Path(path_type=Path, dir_okay=False)
_manifest = click.option(
    "--manifest", type=_file, default=Path("policies.manifest.json"), show_default=True, help="The manifest."
)


@click.command("sign")
@paths_argument
@_manifest
@click.option("--key", type=_file, required=True, help="Private Ed25519 key, PEM.")
@click.option("--as", "by", required=True, help="Whose key it is, e.g. `user:ana`.")
@click.option("--author", help="Who wrote the bundle: begins a new manifest.")
@click.pass_context
def sign_command(
    context: click.Context, *, paths: tuple[Path, ...], manifest: Path, key: Path, by: str, author: str | None
) -> None:
    """Approve the policies in PATHS (default: policies) with a signature in the manifest.

    Keys: openssl genpkey -algorithm ed25519 -out ana.pem; openssl pkey -in ana.pem -pubout -out ana.pub

    \b
    Examples: gateway policy sign --author user:kim --key ana.pem --as user:ana
              gateway policy sign --key li.pem --as user:li
    """
    now = datetime.now(UTC)
    bundle = sound(context, paths, now)
    signer = _attempt(lambda: private_key(_read(key)))
    fresh = state(bundle, _files(bundle), author=author or by, now=now)
    if author is None and manifest.exists():
        known = _attempt(lambda: read_manifest(_read(manifest).decode("utf-8", "replace")))
        try:
            check_subject(known, bundle, _files(bundle))
        except ConfigurationError as error:
            click.echo(f"gateway policy: {error.message}: begin a new manifest with --author", err=True)
            sys.exit(WRONG)
        fresh = known
    elif author is None:
        cannot_run(f"`{manifest}` does not exist: say who wrote the bundle with --author")
    signed = approve(fresh, signer, by=by)
    try:
        manifest.write_text(write_manifest(signed), encoding="utf-8")
    except OSError as error:
        cannot_run(f"`{manifest}` cannot be written: {(error.strerror or 'unknown').lower()}")
    click.echo(f"{bundle.digest} approved by {', '.join(one.by for one in signed.approvals)}")


@click.command("verify")
@paths_argument
@_manifest
@click.option(
    "--key", "keys", multiple=True, required=True, metavar="NAME=FILE", help="Public key of a person. Repeatable."
)
@click.option(
    "--require", type=click.IntRange(min=0), default=2, show_default=True, help="Approvers other than the author."
)
@click.pass_context
def verify_command(
    context: click.Context, *, paths: tuple[Path, ...], manifest: Path, keys: tuple[str, ...], require: int
) -> None:
    """Check that the policies in PATHS (default: policies) are the ones that were approved.

    \b
    Example: gateway policy verify --key user:ana=ana.pub --key user:li=li.pub --require 2
    """
    bundle = sound(context, paths, datetime.now(UTC))
    pairs = [one.partition("=") for one in keys]
    if any(not name or not file for name, _, file in pairs):
        cannot_run("`--key` is written NAME=FILE: e.g. `user:ana=ana.pub`")
    known = {name: _attempt(partial(public_key, _read(Path(file)))) for name, _, file in pairs}
    stated = _attempt(lambda: read_manifest(_read(manifest).decode("utf-8", "replace")))
    try:
        approvers = verify_bundle(stated, bundle, _files(bundle), known, required=require)
    except ConfigurationError as error:
        click.echo(f"gateway policy: {error.message}", err=True)
        sys.exit(WRONG)
    click.echo(f"{bundle.digest} by {stated.statement.author}, approved by {', '.join(approvers) or 'nobody else'}")


def _files(bundle: Bundle) -> dict[str, bytes]:
    return {source.name: _read(Path(source.file)) for source in bundle.sources}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        cannot_run(f"`{path}` cannot be read: {(error.strerror or 'unknown').lower()}")


def _attempt(what: Callable[[], T]) -> T:
    try:
        return what()
    except ConfigurationError as error:
        cannot_run(error.message)
