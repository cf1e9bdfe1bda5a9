"""`gateway audit erase`, `hold` and `retention`: what is destroyed, and what must not be."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import click

from gateway.audit.data_keys import KeyOwner
from gateway.audit.erasure import DONE, Eraser, ErasureReport
from gateway.audit.holds import Hold, Holds
from gateway.audit.log import SqliteAuditLog
from gateway.audit.retention import Retention
from gateway.commands.audit.options import reading
from gateway.commands.audit.people import account, admins
from gateway.domain.errors import RequestError
from gateway.settings import Settings

INCOMPLETE: Final = 3
"""Exit code where a part was not destroyed, or an old page may still be on disk."""

_reason = click.option("--reason", required=True, help="A ticket or a few plain words, at least 8 characters.")


@click.command("erase")
@click.option("--tenant", required=True, help="Tenant of the caller.")
@click.option("--subject", default="", metavar="REF", help="The caller, as events name them (`p:…`).")
@click.option("--user", default="", metavar="NAME", help="The caller by name, in all apps.")
@click.option("--app", default="", help="Of a name, this app alone; of a reference, the app it is for.")
@_reason
@click.pass_context
@reading
def erase(context: click.Context, *, tenant: str, subject: str, user: str, app: str, reason: str) -> None:
    """Destroy what a caller left: keys, texts, salts, case contents. Events stay, and proofs hold.

    Says before and after, in the log, what every place answered. A legal hold keeps it from happening. Exit code 3: a
    part is incomplete; run it again.
    """
    if bool(subject) == bool(user):
        raise click.UsageError("name the caller by `--subject` or by `--user`")
    from gateway.assembly.erasure import CasePlace, eraser, owners_of

    settings: Settings = context.obj["settings"]
    owners = owners_of(settings, tenant, user, app) if user else [KeyOwner(tenant, app, subject)]
    if not owners:
        raise click.ClickException(f"no app of the tenant `{tenant}` is known: name one with `--app`")
    store = context.obj["open_cases"]()
    try:
        with _log(settings) as log:
            made = eraser(
                settings,
                context.obj["body_wrappers"],
                log.append,
                places=[CasePlace(store)],
                clock=_now,
                ids=_random_id,
            )
            reports = asyncio.run(_erase_all(made, owners, reason, user))
    except RequestError as error:
        raise click.ClickException(error.message) from None
    finally:
        store.close()
    for report in reports:
        _print(report)
    if any(report.stage != DONE for report in reports):
        sys.exit(INCOMPLETE)


async def _erase_all(made: Eraser, owners: list[KeyOwner], reason: str, user: str) -> list[ErasureReport]:
    """Where a name is given, the apps in which it left something; the first in any case, for events of its keys."""
    left = [owner for owner in owners if not user or await made.leaves(owner)] or owners[:1]
    return [await made.erase(owner, by=account(), reason=reason, user=user) for owner in left]


def _print(report: ErasureReport) -> None:
    owner = report.owner
    click.echo(
        f"{report.stage}: {owner.tenant}/{owner.app or '-'} {owner.subject}: {report.exchanges} exchanges, "
        f"{report.keys} data keys (erasure {report.erasure})"
    )
    for answer in report.acknowledged:
        click.echo(f"  {answer.place:<18} {answer.status.value:<12} {answer.count:>6}  {answer.reason}".rstrip())


@click.group("hold")
def hold() -> None:
    """Legal holds: what they cover is neither erased nor purged."""


@hold.command("set")
@click.option("--tenant", required=True, help="Tenant that is held.")
@click.option("--subject", default="", metavar="REF", help="One caller of it (`p:…`); the whole tenant if none.")
@click.option("--as", "user", required=True, metavar="USER", help="Who sets it: holder of an admin key.")
@_reason
@click.pass_context
@reading
def set_hold(context: click.Context, *, tenant: str, subject: str, user: str, reason: str) -> None:
    """Put a hold in force. Asks for the API key of who sets it."""
    from gateway.assembly.erasure import person

    settings: Settings = context.obj["settings"]
    (admin,) = admins(settings, (user,))
    with _holds(settings) as holds, _log(settings) as log:
        made = asyncio.run(
            holds.set(
                log.append,
                hold_id=_random_id(),
                tenant=tenant,
                subject=subject,
                by=person(settings, admin),
                reason=reason,
                now=_now(),
            )
        )
    click.echo(made.id)


@hold.command("clear")
@click.argument("hold_id", metavar="ID")
@click.option("--as", "user", required=True, metavar="USER", help="Who clears it: not who set it.")
@_reason
@click.pass_context
@reading
def clear_hold(context: click.Context, *, hold_id: str, user: str, reason: str) -> None:
    """End a hold. Asks for the API key of who clears it, another person than who set it."""
    from gateway.assembly.erasure import person

    settings: Settings = context.obj["settings"]
    (admin,) = admins(settings, (user,))
    with _holds(settings) as holds, _log(settings) as log:
        asyncio.run(holds.clear(log.append, hold_id, by=person(settings, admin), reason=reason, now=_now()))
    click.echo(f"hold {hold_id} is over")


@hold.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@click.pass_context
@reading
def list_holds(context: click.Context, *, everything: bool) -> None:
    """List the holds in force."""
    with _holds(context.obj["settings"]) as holds:
        for one in holds.list():
            if everything or not one.cleared_at:
                click.echo(_hold_line(one))


def _hold_line(one: Hold) -> str:
    state = f"over since {one.cleared_at}" if one.cleared_at else "in force"
    return f"{one.id}  {one.tenant}  {one.subject or 'whole tenant'}  since {one.set_at}  {state}  {one.reason}"


@click.command("retention")
@click.option("--purge", is_flag=True, help="Destroy what is due.")
@click.pass_context
@reading
def retention(context: click.Context, *, purge: bool) -> None:
    """Show what each app's retention class no longer keeps; with --purge, destroy it.

    A month is due once the class's days have passed since its end. Holds keep what they cover. Exit code 3: a part is
    incomplete; run it again.
    """
    from gateway.assembly.erasure import retention as retention_of

    settings: Settings = context.obj["settings"]
    with _log(settings) as log:
        found = retention_of(settings, context.obj["body_wrappers"], log.append, clock=_now, ids=_random_id)
        if purge:
            _purge(found)
            return
        for due in found.due():
            click.echo(
                f"{due.app}: {due.days} days; before {due.before}: {len(due.keys)} data keys and "
                f"{len(due.traces.ids)} events with salts are due, {len(due.held)} keys are held"
            )


def _purge(found: Retention) -> None:
    done = asyncio.run(found.purge(by=account()))
    for one in done:
        click.echo(
            f"{one.stage}: {one.app}: {one.keys} data keys, {one.texts} texts and {one.salts} salts destroyed, "
            f"{one.held} keys held (purge {one.purge})"
        )
    if any(one.stage != DONE for one in done):
        sys.exit(INCOMPLETE)


@contextmanager
def _log(settings: Settings) -> Iterator[SqliteAuditLog]:
    from gateway.assembly.node import open_audit

    log = open_audit(settings)
    try:
        yield log
    finally:
        log.close()


@contextmanager
def _holds(settings: Settings) -> Iterator[Holds]:
    from gateway.assembly.erasure import files_of

    holds = Holds.open(files_of(settings).holds)
    try:
        yield holds
    except RequestError as error:
        raise click.ClickException(error.message) from None
    finally:
        holds.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _random_id() -> str:
    from gateway.assembly.ambient import random_id

    return random_id()
