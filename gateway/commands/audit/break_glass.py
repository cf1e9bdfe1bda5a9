"""`gateway audit break-glass`: two people accept a log that its last signed checkpoint does not fit."""

import re
from typing import Final

import click

from gateway.audit.anchor import Rollback, break_glass
from gateway.commands.audit.people import admins
from gateway.domain.event import EventDraft
from gateway.settings import Settings

_PEOPLE: Final = 2
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{2,39}")


@click.command("break-glass")
@click.option("--as", "people", multiple=True, required=True, metavar="USER", help="Holder of an admin key. Give two.")
@click.option("--reason", required=True, metavar="CODE", help="Such as RESTORED_BACKUP: capitals and underscores.")
@click.pass_context
def break_glass_command(context: click.Context, *, people: tuple[str, ...], reason: str) -> None:
    """Serve again with a log that was rolled back or changed, on the word of two people, and record it.

    Each is asked for an API key with the role `admin`; both keys must be of that person, and the two differ. The loss
    itself stays provable: `gateway audit verify` names it, and the signer goes on only under a new name.
    """
    if len(set(people)) != _PEOPLE or len(people) != _PEOPLE:
        raise click.UsageError("breaking the glass takes two different people: give `--as` twice")
    if not _REASON.fullmatch(reason):
        raise click.UsageError("a reason is a code of capitals, digits and underscores, such as RESTORED_BACKUP")
    from gateway.assembly.node import open_audit

    settings: Settings = context.obj["settings"]
    operators = [{"key": one.key_id, "ref": one.ref} for one in admins(settings, people)]
    broken: list[Rollback] = []

    def accept(rollback: Rollback) -> EventDraft:
        broken.append(rollback)
        return break_glass(rollback, operators, reason)

    open_audit(settings, accept).close()
    if not broken:
        raise click.ClickException(
            "the log fits its last signed checkpoint, or was accepted before: no loss is recorded"
        )
    click.echo(f"recorded: the log is accepted although {broken[0].what}")
