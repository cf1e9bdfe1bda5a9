"""Wires escalation: where cases stand, who moves them, who is told, and the clock that runs them."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

from msgspec import Struct

from gateway.assembly.ambient import random_id
from gateway.cases import (
    Announcer,
    AuditedCaseDesk,
    BlindReviews,
    Carrier,
    CaseClock,
    CaseReview,
    CaseStore,
    Channel,
    ChatCarrier,
    Courier,
    FileLock,
    Interest,
    MailCarrier,
    MailList,
    PostgresCaseStore,
    SqliteCaseStore,
    Tier,
    Transitions,
    Webhook,
    WebhookCarrier,
)
from gateway.cases.announce import BLIND_REVIEW, Audience
from gateway.cases.clock import ClockLock
from gateway.cases.review import JudgeEdit
from gateway.cases.watch import QualityWatch
from gateway.domain.ports import AuditLog
from gateway.domain.sealing import MasterKey, Purpose
from gateway.domain.text import Secret
from gateway.settings import Settings, optional_secret, resolve_secret
from gateway.settings.folder import CASES_FILE, CASES_LOCK, MASTER_KEY_FILE

Environ = Mapping[str, str]


class CaseParts(Struct, frozen=True, kw_only=True):
    """What the rest of the gateway needs of escalation. `key` is that for `Purpose.CASE_BINDING`."""

    store: CaseStore
    transitions: Transitions
    desk: AuditedCaseDesk
    key: bytes


def open_case_store(settings: Settings, environ: Environ, master: MasterKey) -> CaseStore:
    """The store that the settings name. Raises `GuardUnavailable` and `ConfigurationError`. Blocking."""
    key = master.derive(Purpose.CASE_CONTENT)
    if settings.cases.store == "postgres":
        return PostgresCaseStore.open(_postgres_url(settings, environ), key=key)
    return SqliteCaseStore.open(settings.data_dir / CASES_FILE, key=key)


def build_cases(
    settings: Settings,
    environ: Environ,
    closing: AsyncExitStack,
    *,
    master: MasterKey,
    audit: AuditLog,
    clock: Callable[[], datetime],
    ids: Callable[[], str],
) -> CaseParts:
    """The store and the desk of a worker process. Raises as `open_case_store`."""
    store = open_case_store(settings, environ, master)
    closing.callback(store.close)
    key = master.derive(Purpose.CASE_BINDING)
    announce = build_announcer(settings, environ, key=key, ids=ids)
    transitions = Transitions(store, audit, clock=clock, announce=announce)
    teams = {team.name: team.groups for team in settings.cases.teams}
    desk = AuditedCaseDesk(store, audit, transitions, key=key, ids=ids, clock=clock, teams=teams)
    return CaseParts(store=store, transitions=transitions, desk=desk, key=key)


def build_review(
    settings: Settings, parts: CaseParts, *, audit: AuditLog, judge_edit: JudgeEdit, clock: Callable[[], datetime]
) -> CaseReview:
    chosen = settings.cases
    return CaseReview(
        parts.store,
        audit,
        parts.transitions,
        judge_edit=judge_edit,
        key=parts.key,
        lease=timedelta(seconds=chosen.lease_s),
        clock=clock,
        appeal=timedelta(seconds=chosen.appeal_s),
        post_review=timedelta(seconds=chosen.post_review_s),
    )


def start_case_clock(
    settings: Settings,
    environ: Environ,
    closing: AsyncExitStack,
    parts: CaseParts,
    *,
    audit: AuditLog,
    clock: Callable[[], datetime],
    ids: Callable[[], str],
) -> None:
    """Run the clock until `closing` is closed. In PostgreSQL one node runs it, else one process of the machine."""
    chosen = settings.cases
    blind = BlindReviews(parts.store, audit, key=parts.key, ids=ids, clock=clock)
    courier = Courier(
        parts.store,
        {**_carriers(settings, environ, clock), BLIND_REVIEW: blind},
        attempts=chosen.webhook_attempts,
        clock=clock,
    )
    ticking = CaseClock(
        parts.store,
        parts.transitions,
        courier,
        QualityWatch(parts.store, audit, chosen.quality, clock=clock),
        tiers={name: Tier(queue.next, queue.next_sla_s) for name, queue in chosen.queues.items()},
        lock=_clock_lock(settings, environ),
        tick_s=chosen.tick_s,
        clock=clock,
    )
    ticking.start()
    closing.push_async_callback(ticking.stop)


def _clock_lock(settings: Settings, environ: Environ) -> ClockLock:
    if settings.cases.store != "postgres":
        return FileLock(settings.data_dir / CASES_LOCK)
    from gateway.cases.postgres import PostgresClockLock  # with its driver, as in `PostgresCaseStore.open`

    return PostgresClockLock(_postgres_url(settings, environ))


def case_store(settings: Settings, environ: Environ) -> CaseStore:
    """The store of cases: for commands, which close it. Raises as `open_case_store`."""
    return open_case_store(settings, environ, MasterKey.load_or_create(settings.data_dir / MASTER_KEY_FILE))


def case_announcer(settings: Settings, environ: Environ) -> Announcer:
    """Makes what transitions are told by: for commands. Raises `ConfigurationError`."""
    key = MasterKey.load_or_create(settings.data_dir / MASTER_KEY_FILE).derive(Purpose.CASE_BINDING)
    return build_announcer(settings, environ, key=key, ids=random_id)


def build_announcer(settings: Settings, environ: Environ, *, key: bytes, ids: Callable[[], str]) -> Announcer:
    """Makes what transitions are told by. Raises `ConfigurationError`."""
    audiences: list[Audience] = [
        *_webhooks(settings, environ),
        *_channels(settings, environ),
        *_mail_lists(settings, environ),
    ]
    return Announcer(audiences, ids, key=key, blind_share=settings.cases.quality.blind_share)


def _carriers(settings: Settings, environ: Environ, clock: Callable[[], datetime]) -> dict[str, Carrier]:
    chosen = settings.cases
    timeout_s, console = chosen.webhook_timeout_s, chosen.console_url
    found: dict[str, Carrier] = {
        one.target: WebhookCarrier(one, timeout_s=timeout_s, clock=clock) for one in _webhooks(settings, environ)
    }
    for channel in _channels(settings, environ):
        found[channel.target] = ChatCarrier(channel, console_url=console, timeout_s=timeout_s)
    for mails in _mail_lists(settings, environ):
        found[mails.target] = MailCarrier(mails, console_url=console, timeout_s=timeout_s)
    return found


def _webhooks(settings: Settings, environ: Environ) -> list[Webhook]:
    return [
        Webhook(
            name=one.name,
            url=one.url,
            secret=resolve_secret(one.secret, environ),
            interest=Interest(apps=one.apps, queues=one.queues),
        )
        for one in settings.cases.webhooks
    ]


def _channels(settings: Settings, environ: Environ) -> list[Channel]:
    return [
        Channel(
            name=one.name,
            url=resolve_secret(one.url, environ),
            interest=Interest(apps=one.apps, queues=one.queues),
        )
        for one in settings.cases.slack
    ]


def _mail_lists(settings: Settings, environ: Environ) -> list[MailList]:
    return [
        MailList(
            name=one.name,
            to=one.to,
            sender=one.sender,
            host=one.host,
            port=one.port,
            security=one.security,
            ca_file=one.ca_file,
            username=one.username,
            password=optional_secret(one.password, environ),
            interest=Interest(apps=one.apps, queues=one.queues),
        )
        for one in settings.cases.mail
    ]


def _postgres_url(settings: Settings, environ: Environ) -> Secret:
    return resolve_secret(settings.cases.postgres_url, environ)
