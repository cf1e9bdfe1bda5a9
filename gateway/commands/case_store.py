"""What the commands on cases share: the store that the settings name, the audit log, and who a reviewer is."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from gateway.cases.store import CaseStore, SqliteCaseStore
from gateway.cases.terms import person_of
from gateway.domain.errors import GatewayError
from gateway.domain.event import EventDraft, Receipt
from gateway.domain.sealing import MasterKey, Purpose
from gateway.identity.key_store import KeyRecord, KeyStore
from gateway.settings.folder import CASES_FILE, IDENTITY_FILE, MASTER_KEY_FILE


class RecordedAudit:
    """The audit log of a command (port `AuditLog`): opened for each event, so that the gateway may run meanwhile."""

    def __init__(self, record: Callable[[EventDraft], Receipt]) -> None:
        self._record = record

    async def append(self, draft: EventDraft) -> Receipt:
        return await asyncio.to_thread(self._record, draft)


@contextmanager
def opened_cases(context: click.Context, data_dir: Path | None, *, create: bool = False) -> Iterator[CaseStore]:
    """The store of cases while the block runs; one that is not there yet is made only with `create`. Faults end the
    command with one line."""
    try:
        store = _open(context, data_dir, create=create)
        try:
            yield store
        finally:
            store.close()
    except GatewayError as error:
        raise click.ClickException(str(error)) from None


def binding_key(context: click.Context, data_dir: Path | None) -> bytes:
    """The key for `Purpose.CASE_BINDING`."""
    return _master(context, data_dir).derive(Purpose.CASE_BINDING)


def groups_of(context: click.Context, data_dir: Path | None, tenant: str, user: str) -> frozenset[str]:
    """The groups of a user, from all their keys: by them a team's members are known."""
    records = [record for record in _keys(context, data_dir) if (record.tenant, record.user) == (tenant, user)]
    return frozenset(group for record in records for group in record.groups)


def names_of(context: click.Context, data_dir: Path | None) -> dict[str, str]:
    """Users with a key, by the digests that stand for them in cases."""
    key = binding_key(context, data_dir)
    return {person_of(one.tenant, one.user, key): f"{one.tenant}/{one.user}" for one in _keys(context, data_dir)}


def _open(context: click.Context, data_dir: Path | None, *, create: bool) -> CaseStore:
    if context.obj["settings"].cases.store == "postgres":
        open_cases: Callable[[], CaseStore] = context.obj["open_cases"]
        return open_cases()
    folder = _folder(context, data_dir)
    if not create and not (folder / CASES_FILE).is_file():
        raise click.ClickException(f"`{folder}` holds no cases: nothing was escalated, or name another --data-dir")
    return SqliteCaseStore.open(folder / CASES_FILE, key=_master(context, data_dir).derive(Purpose.CASE_CONTENT))


def _folder(context: click.Context, data_dir: Path | None) -> Path:
    folder: Path = context.obj["settings"].data_dir if data_dir is None else data_dir
    return folder


def _master(context: click.Context, data_dir: Path | None) -> MasterKey:
    return MasterKey.load_or_create(_folder(context, data_dir) / MASTER_KEY_FILE)


def _keys(context: click.Context, data_dir: Path | None) -> tuple[KeyRecord, ...]:
    file = _folder(context, data_dir) / IDENTITY_FILE
    if not file.is_file():
        return ()
    store = KeyStore.open(file)
    try:
        return store.list()
    finally:
        store.close()
