"""`gateway audit body` and `gateway audit keys`: open kept texts, and wrap their data keys anew."""

import asyncio
import sys
from typing import Final

import click

from gateway.audit.body_read import BodyVerdict, OpenedBody
from gateway.audit.data_keys import DataKeys
from gateway.audit.wrapping import Wrappers
from gateway.commands.audit.options import reading
from gateway.commands.audit.people import account
from gateway.domain.errors import RequestError
from gateway.domain.event import EventDraft, EventType
from gateway.settings import Settings

NOT_OPENED: Final = 3
"""Exit code where a text was asked for and cannot be shown."""


@click.command("body")
@click.argument("event", metavar="EVENT")
@click.argument("field", metavar="[FIELD]", required=False)
@click.option("--reason", help="Why it is opened: a ticket or a few plain words, at least 8 characters.")
@click.pass_context
@reading
def body(context: click.Context, *, event: str, field: str | None, reason: str | None) -> None:
    """Show a text that an event (by place or id) keeps encrypted; without FIELD, list which it keeps.

    That it was read, by whom and why, is an event before anything is shown. Exit code 3: it cannot be shown; the line
    says why, such as the day of its erasure.
    """
    from gateway.assembly.erasure import body_reader
    from gateway.assembly.node import open_audit

    settings: Settings = context.obj["settings"]
    audit = open_audit(settings)
    try:
        reader = body_reader(settings, context.obj["body_wrappers"], audit)
        if field is None:
            for name in asyncio.run(reader.fields(event)):
                click.echo(name)
            return
        found = asyncio.run(reader.read_body(event, field, account(), reason or ""))
    except RequestError as error:
        raise click.ClickException(error.message) from None
    finally:
        audit.close()
    _show(found)


def _show(found: OpenedBody) -> None:
    if found.verdict is BodyVerdict.OPENED:
        click.echo(found.text)
        return
    click.echo(f"{found.verdict.value}: {found.what}", err=True)
    sys.exit(NOT_OPENED)


@click.group("keys")
def body_keys() -> None:
    """The data keys of kept texts."""


@body_keys.command("rotate")
@click.pass_context
@reading
def rotate(context: click.Context) -> None:
    """Wrap all data keys anew with the wrapping key that the settings name.

    Name the key before in `audit.bodies.previous_keys` until this is done. Texts are not touched. Exit code 3: some
    could not be unwrapped.
    """
    settings: Settings = context.obj["settings"]
    wrappers: Wrappers = context.obj["body_wrappers"]
    keys = _open(settings, wrappers)
    try:
        done, failed = keys.rotate()
    finally:
        keys.close()
    told = {"wrapped_by": wrappers.current.name, "rotated": done, "failed": failed}
    context.obj["record"](EventDraft(type=EventType.KEYS_ROTATED, principal=account(), body=told))
    click.echo(f"{done} data keys are wrapped by {wrappers.current.name}")
    if failed:
        click.echo(f"{failed} could not be unwrapped: add their key to `audit.bodies.previous_keys`", err=True)
        sys.exit(NOT_OPENED)


@body_keys.command("list")
@click.argument("tenant")
@click.argument("subject", metavar="REF")
@click.pass_context
@reading
def list_keys(context: click.Context, *, tenant: str, subject: str) -> None:
    """List the data keys of a caller (`p:…`), without the keys."""
    keys = _open(context.obj["settings"], context.obj["body_wrappers"])
    try:
        for record in keys.of_subject(tenant, subject):
            state = f"destroyed {record.destroyed}" if record.destroyed else "in use"
            click.echo(f"{record.ref}  {record.month}  {record.owner.app}  {state}  wrapped by {record.wrapped_by}")
    finally:
        keys.close()


def _open(settings: Settings, wrappers: Wrappers) -> DataKeys:
    from gateway.assembly.erasure import files_of

    return DataKeys.open(files_of(settings).keys, wrappers)
