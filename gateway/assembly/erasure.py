"""Wiring of what reads, erases and purges kept texts: for commands, the HTTP API and the console."""

from collections.abc import Callable, Sequence
from datetime import datetime

from gateway.audit.body_read import BodyReader
from gateway.audit.data_keys import KeyOwner
from gateway.audit.erasure import Acknowledgement, Answer, Eraser, Files, Place
from gateway.audit.holds import Append, Person
from gateway.audit.retention import Retention
from gateway.audit.traces import apps_of
from gateway.audit.wrapping import Wrappers
from gateway.cases import CaseStore
from gateway.cases.terms import person_of
from gateway.domain.ports import AuditLog
from gateway.domain.principal import Principal
from gateway.domain.sealing import MasterKey, Purpose
from gateway.identity.authenticator import principal_ref
from gateway.identity.key_store import KeyStore
from gateway.settings import Settings
from gateway.settings.folder import (
    AUDIT_FILE,
    BODIES_FILE,
    BODY_KEYS_FILE,
    HOLDS_FILE,
    IDENTITY_FILE,
    MASTER_KEY_FILE,
)


class CasePlace:
    """The texts of a caller's cases, as a place that an erasure asks."""

    name = "cases"

    def __init__(self, store: CaseStore) -> None:
        self._store = store

    async def erase(self, owner: KeyOwner) -> Acknowledgement:
        done = await self._store.erase(owner.tenant, owner.subject)
        status = Answer.ERASED if done.clean else Answer.INCOMPLETE
        return Acknowledgement(
            place=self.name, status=status, count=done.cases, reason="" if done.clean else "log_in_use"
        )


def person(settings: Settings, principal: Principal) -> Person:
    """Who acts, the same for one human whichever app their key is for."""
    key = _master(settings).derive(Purpose.CASE_BINDING)
    return Person(principal.ref, person_of(principal.tenant, principal.user, key))


def files_of(settings: Settings) -> Files:
    """The files of the data folder."""
    folder = settings.data_dir
    return Files(
        log=folder / AUDIT_FILE,
        bodies=folder / BODIES_FILE,
        keys=folder / BODY_KEYS_FILE,
        holds=folder / HOLDS_FILE,
    )


def body_reader(settings: Settings, wrappers: Wrappers, audit: AuditLog) -> BodyReader:
    """Opens kept texts; `audit` records each reading."""
    files = files_of(settings)
    return BodyReader(files.log, files.bodies, files.keys, wrappers=wrappers, audit=audit)


def eraser(
    settings: Settings,
    wrappers: Wrappers,
    append: Append,
    *,
    places: Sequence[Place],
    clock: Callable[[], datetime],
    ids: Callable[[], str],
) -> Eraser:
    return Eraser(files_of(settings), wrappers, append, places=places, clock=clock, ids=ids)


def retention(
    settings: Settings, wrappers: Wrappers, append: Append, *, clock: Callable[[], datetime], ids: Callable[[], str]
) -> Retention:
    return Retention(
        files_of(settings),
        wrappers,
        append,
        days=lambda app: settings.retention(app).days,
        clock=clock,
        ids=ids,
    )


def owners_of(settings: Settings, tenant: str, user: str, app: str = "") -> list[KeyOwner]:
    """The callers that a user is, one in each app that the settings, the log or an API key of theirs names; or in
    `app` alone. Reads the log."""
    key = _master(settings).derive(Purpose.PRINCIPAL_REF)
    apps = {app} if app else {*settings.apps, *apps_of(settings.data_dir / AUDIT_FILE), *_key_apps(settings, tenant)}
    return [KeyOwner(tenant, one, principal_ref(key, tenant=tenant, app=one, user=user)) for one in sorted(apps)]


def _master(settings: Settings) -> MasterKey:
    return MasterKey.load_or_create(settings.data_dir / MASTER_KEY_FILE)


def _key_apps(settings: Settings, tenant: str) -> set[str]:
    store = KeyStore.open(settings.data_dir / IDENTITY_FILE)
    try:
        return {record.app for record in store.list() if record.tenant == tenant}
    finally:
        store.close()
