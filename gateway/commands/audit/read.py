"""`gateway audit show` and `export`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from gateway.audit.bundle import write_bundle
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.export_event import exported
from gateway.audit.export_forms import Form, write_form
from gateway.audit.key_file import verifier_keys
from gateway.audit.read import AuditReader, Filter
from gateway.audit.search import AuditSearch
from gateway.commands.audit.options import (
    as_json,
    data_dir,
    filter_of,
    filters,
    log_path,
    reading,
    text_or_json,
)
from gateway.commands.timeline import print_timeline


@click.command("show")
@click.argument("exchange", metavar="EXCHANGE|last")
@data_dir
@text_or_json
@click.pass_context
@reading
def show(context: click.Context, *, exchange: str, data_dir: Path | None, form: str) -> None:
    """Show each step of one exchange: rules with status and reasons, detectors, passages, hashes."""
    with AuditReader(log_path(context, data_dir)) as reader:
        wanted = reader.last_exchange() if exchange == "last" else exchange
        events = reader.timeline(wanted)
    if not events:
        raise click.ClickException(f"the log has no exchange `{exchange}`: see `gateway audit search`")
    if form == "json":
        click.echo(msgspec.json.encode([as_json(event) for event in events]))
    else:
        print_timeline(Console(), wanted, events)


@click.command("export")
@filters
@click.option(
    "--format", "form", type=click.Choice([form.value for form in Form]), default=Form.JSONL.value, show_default=True
)
@click.option("--bundle", type=click.Path(path_type=Path), help="Write an evidence bundle: a new folder, or NAME.zip.")
@data_dir
@click.pass_context
@reading
def export(context: click.Context, *, data_dir: Path | None, form: str, bundle: Path | None, **filters: Any) -> None:
    """Write events to standard output, one a line, each exactly as it was hashed (SHA-256 of the line), or in another
    form; or, with --bundle, events with proofs, checkpoint, public keys and verifier, and the form beside them.

    The gateway's own log gets an `export` event first. A copy named by --data-dir stays as it is.
    """
    path, wanted, chosen = log_path(context, data_dir), filter_of(**filters), Form(form)
    if data_dir is None:
        context.obj["record"](exported(chosen, wanted, via="command", bundle=bundle is not None))
    if bundle is not None:
        _export_bundle(context, path, wanted, chosen, bundle)
        return
    with AuditSearch(path) as search:
        write_form(chosen, search.in_order(wanted), sys.stdout.buffer)
        sys.stdout.flush()


def _export_bundle(context: click.Context, path: Path, wanted: Filter, form: Form, bundle: Path) -> None:
    configured = context.obj["settings"].audit
    beside = folder_of(path).verifier_key()
    keys = dict.fromkeys([*([beside] if beside else []), *verifier_keys((*configured.witness_keys,))])
    try:
        summary = write_bundle(bundle, path, wanted, keys=keys, now=datetime.now(UTC), form=form)
    except FileExistsError:
        raise click.ClickException(f"`{bundle}` exists: name a new folder or file") from None
    except OSError as error:
        raise click.ClickException(f"`{bundle}` cannot be written: {error.strerror}") from None
    click.echo(f"{summary.events} events in {bundle}")
    if not summary.checkpoint_size:
        click.echo("there is no checkpoint, and so no proof in it: run `gateway signer`", err=True)
    if summary.left_out:
        click.echo(f"{summary.left_out} events are newer than the last checkpoint and were left out", err=True)
