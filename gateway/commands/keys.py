"""`gateway keys`: create, list and revoke API keys.

Each change is an audit event. A key that cannot be recorded is revoked before anyone has seen it; a revocation
always stands, recorded or not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from gateway.domain.errors import GatewayError
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.identity.key_store import KeyRecord, KeyStore
from gateway.settings import Settings
from gateway.settings.folder import IDENTITY_FILE


@click.group("keys")
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command("create")
@click.option("--tenant", required=True, help="Tenant the key belongs to.")
@click.option("--app", required=True, help="Application the key belongs to.")
@click.option("--user", required=True, help="Person or service that uses the key.")
@click.option("--group", "groups", multiple=True, help="Access group; decides which passages are seen. Repeatable.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["reviewer", "auditor", "monitor", "admin"]),
    help="Role in the gateway's own interfaces. Repeatable.",
)
@click.option(
    "--model", "models", multiple=True, default=("*",), help="Model the key may name. Repeatable; all if none."
)
@click.option(
    "--requests-per-minute", type=click.IntRange(min=0), default=0, help="Own rate; 0 takes the configured one."
)
@click.option("--expires", help="Date (2030-12-31, its first moment in UTC), time, or a number of days (90d).")
@click.option("--label", default="", help="What the key is for.")
@click.pass_context
def create(
    context: click.Context,
    *,
    tenant: str,
    app: str,
    user: str,
    groups: tuple[str, ...],
    roles: tuple[str, ...],
    models: tuple[str, ...],
    requests_per_minute: int,
    expires: str | None,
    label: str,
) -> None:
    """Create a key and print it, this once."""
    now = datetime.now(UTC)
    with _store(context) as store:
        created = store.create(
            tenant=tenant,
            app=app,
            user=user,
            groups=groups,
            roles=roles,
            models=models,
            requests_per_minute=requests_per_minute,
            label=label,
            expires=None if expires is None else _moment(expires, now),
            now=now,
        )
        try:
            _record(context, EventType.KEY_CREATED, created.record)
        except BaseException:
            store.revoke(created.record.id, now=now)
            raise
    click.echo(f"key {created.record.id} for {tenant}/{app}/{user}; it is shown only now", err=True)
    click.echo(created.key.reveal())


@keys.command("list")
@click.pass_context
def list_keys(context: click.Context) -> None:
    """List all keys, without their secrets."""
    now = datetime.now(UTC)
    with _store(context) as store:
        records = store.list()
    for record in records:
        owner = f"{record.tenant}/{record.app}/{record.user}"
        groups = ",".join(record.groups) or "-"
        roles = ",".join(record.roles) or "-"
        click.echo(
            f"{record.id}  {_state(record, now):<8}  {owner}  groups={groups}  roles={roles}  {record.label}".rstrip()
        )


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@click.pass_context
def revoke(context: click.Context, key_id: str) -> None:
    """Revoke the key with this public ID, for good, within a second."""
    with _store(context) as store:
        record = store.revoke(key_id, now=datetime.now(UTC))
    if record is None:
        raise click.ClickException(f"no key has the id `{key_id}`; see `gateway keys list`")
    try:
        _record(context, EventType.KEY_REVOKED, record)
    except GatewayError as error:
        raise click.ClickException(f"key {key_id} is revoked, but the audit log has no record of it: {error}") from None
    click.echo(f"key {key_id} is revoked")


@contextmanager
def _store(context: click.Context) -> Iterator[KeyStore]:
    settings: Settings = context.obj["settings"]
    try:
        store = KeyStore.open(Path(settings.data_dir) / IDENTITY_FILE)
        try:
            yield store
        finally:
            store.close()
    except GatewayError as error:
        raise click.ClickException(str(error)) from None


def _record(context: click.Context, event: EventType, record: KeyRecord) -> None:
    write: Callable[[EventDraft], object] = context.obj["record"]
    write(
        EventDraft(
            type=event,
            tenant=record.tenant,
            app=record.app,
            body={
                "key": record.id,
                "user": Commitment(text=record.user),
                "label": Commitment(text=record.label),
                "groups": list(record.groups),
                "roles": list(record.roles),
                "models": list(record.models),
                "requests_per_minute": record.requests_per_minute,
                "expires": record.expires.isoformat() if record.expires else "",
            },
        )
    )


def _state(record: KeyRecord, now: datetime) -> str:
    if record.revoked is not None:
        return "revoked"
    return "active" if record.usable(now) else "expired"


def _moment(text: str, now: datetime) -> datetime:
    """A point in time: days from now (`90d`), or an ISO date or time, taken as UTC where it has no zone."""
    if text.endswith("d") and text[:-1].isdecimal() and len(text) <= 6:
        return now + timedelta(days=int(text[:-1]))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"`{text}` is no date: write 2030-12-31, 2030-12-31T18:00Z or 90d", param_hint="--expires"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
