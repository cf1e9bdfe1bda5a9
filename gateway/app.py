"""The composition root: settings in, a running gateway out. Adapters are named here, in `assembly` (one module an area)
and in `detectors.py`, and nowhere else."""

import asyncio
import ctypes
import gc
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from litestar import Litestar, asgi
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import ASGIApp, LifeSpanScope, Receive, Scope, Send
from msgspec import Struct, structs

from gateway.assembly.ambient import ascending_id, monotonic_us, random_id, utc_now
from gateway.assembly.audit import audit_wire, follow_audit
from gateway.assembly.bodies import bodies_kept, keeping_log
from gateway.assembly.cases import build_cases, build_review, start_case_clock
from gateway.assembly.console import ConsoleNeeds, build_console
from gateway.assembly.index import build_retriever, open_store
from gateway.assembly.ingest import kept_scans
from gateway.assembly.metrics import Metering
from gateway.assembly.models import build_embeddings, build_router
from gateway.assembly.node import data_folder, open_audit
from gateway.assembly.policies import PolicyWorkshop, open_policies
from gateway.assembly.schedules import ScheduleWatch, start_schedules
from gateway.assembly.sinks import SinkWatch
from gateway.audit.read import AuditReader, Filter
from gateway.cases.case import Case, CaseContent
from gateway.domain.errors import GatewayError
from gateway.domain.event import EventType
from gateway.domain.ports import Admission, AuditLog
from gateway.domain.principal import Principal
from gateway.domain.sealing import MasterKey, Purpose
from gateway.edge.audit import AuditWire
from gateway.edge.cases import CasesWire
from gateway.edge.door import Door
from gateway.edge.errors import http_exception_reply
from gateway.edge.feedback import FeedbackWire
from gateway.edge.health import Health, HealthWire
from gateway.edge.metrics import MetricsWire
from gateway.edge.openai import OpenAiWire
from gateway.edge.openapi import OpenApiWire
from gateway.edge.waiting import WaitingPipeline
from gateway.escalation import facts_of
from gateway.exchange import Ports
from gateway.identity.authenticator import KeyAuthenticator
from gateway.identity.key_store import KeyStore
from gateway.judging import Judging
from gateway.limits.local import LocalAdmission
from gateway.limits.shared import RedisAdmission
from gateway.logs import configure_logging
from gateway.pipeline import Pipeline
from gateway.retrieval.embedding import CachingEmbedder, MiniLmEmbedder
from gateway.settings import Settings, load_settings, resolve_redis_url
from gateway.settings.folder import AUDIT_FILE, IDENTITY_FILE, MASTER_KEY_FILE


class Gateway(Struct, frozen=True, kw_only=True):
    """The parts of one worker process that routes refer to."""

    openai: OpenAiWire
    cases: CasesWire
    feedback: FeedbackWire
    health: HealthWire
    openapi: OpenApiWire
    trail: AuditWire
    metrics: MetricsWire
    console: ASGIApp | None
    closing: AsyncExitStack


async def no_such_route(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """What stands where the settings leave something out."""
    raise NotFoundException


async def start(settings: Settings, environ: Mapping[str, str]) -> Gateway:
    """Open the stores, load the models, wire everything. Raises `ConfigurationError`: the gateway does not start."""
    closing = AsyncExitStack()
    try:
        return await _wire(settings, environ, closing)
    except BaseException:
        await closing.aclose()
        raise


async def _wire(settings: Settings, environ: Mapping[str, str], closing: AsyncExitStack) -> Gateway:
    # What everything else needs: the data folder, its keys, the log.
    data = data_folder(settings)
    master = MasterKey.load_or_create(data / MASTER_KEY_FILE)
    log = open_audit(settings)
    closing.callback(log.close)
    sinks = SinkWatch(settings)
    schedules = ScheduleWatch(settings)
    metering = Metering(settings, sinks, schedules, clock_us=monotonic_us)
    audit = metering.log(log)

    # What an exchange asks for: policies, passages, models, cases.
    embedder = CachingEmbedder(MiniLmEmbedder())
    kept = kept_scans(data, master)
    closing.callback(kept.close)
    workshop = PolicyWorkshop(
        settings,
        embedder=embedder,
        cache_key=master.derive(Purpose.INSPECTION_CACHE),
        kept=kept,
        now=utc_now,
        clock_us=monotonic_us,
    )
    policies = await open_policies(workshop, settings, data, audit, closing)
    store = open_store(settings, environ, embedder)
    closing.push_async_callback(store.close)
    if settings.retrieval.store != "off":
        await store.start()  # an index that would search wrongly refuses to serve
    cases = build_cases(settings, environ, closing, master=master, audit=audit, clock=utc_now, ids=random_id)
    ports = Ports(
        rulebook=policies.rulebook,
        audit=keeping_log(settings, environ, audit, clock=utc_now, closing=closing),
        cases=cases.desk,
        retriever=build_retriever(settings, environ, store, embedder, closing=closing),
        upstream=metering.upstream(build_router(settings, environ, embedder, closing)),
        embeddings=build_embeddings(settings, environ, embedder, closing),
        clock=utc_now,
        hash_key=master.derive(Purpose.HASH_REDACTION),
    )

    # The way of a request: door, pipeline, wire.
    door = _door(settings, environ, closing, audit=audit, master=master)
    pipeline = Pipeline(ports, settings)
    waiting = WaitingPipeline(pipeline, cases.desk, settings, clock=utc_now, ids=ascending_id)
    openai = OpenAiWire(door, waiting, settings, created=int(utc_now().timestamp()))

    # What goes on beside requests: the review of cases, and what follows the log.
    review = build_review(settings, cases, audit=audit, judge_edit=_edit_judge(Judging(ports, settings)), clock=utc_now)
    start_case_clock(settings, environ, closing, cases, audit=audit, clock=utc_now, ids=random_id)
    follow_audit(settings, environ, log, closing, clock=utc_now)
    start_schedules(settings, environ, log.append_blocking, closing, clock=utc_now)
    metrics = metering.wire(
        door, data, audit=log, policy=policies.state, cases=cases.store, name=log.boot, closing=closing
    )
    console = ConsoleNeeds(
        settings=settings,
        variables=environ,
        master=master,
        audit=audit,
        cases=cases.store,
        review=review,
        rulebook=policies.rulebook,
        clock=utc_now,
        clock_us=monotonic_us,
        policies=policies,
        passages=store,
        ports=ports,
        ids=ascending_id,
    )
    return Gateway(
        openai=openai,
        cases=CasesWire(door, cases.store, desk=cases.desk, review=review, openai=openai, key=cases.key),
        feedback=FeedbackWire(door, audit, _asked(data / AUDIT_FILE)),
        health=HealthWire(
            lambda: Health(
                audit=log.healthy,
                policy=policies.state(),
                sinks=sinks.keeps_up(),
                bodies=bodies_kept(ports.audit),
                schedules=schedules.sound(),
            )
        ),
        openapi=OpenApiWire(door),
        trail=audit_wire(settings, door, audit, master, clock=utc_now),
        metrics=metrics,
        console=build_console(console, closing),
        closing=closing,
    )


def _door(
    settings: Settings, environ: Mapping[str, str], closing: AsyncExitStack, *, audit: AuditLog, master: MasterKey
) -> Door:
    key_store = KeyStore.open(settings.data_dir / IDENTITY_FILE)
    closing.callback(key_store.close)
    door = Door(
        authenticator=KeyAuthenticator(key_store, master.derive(Purpose.PRINCIPAL_REF), utc_now),
        admission=_admission(settings, environ, closing),
        audit=audit,
        server=settings.server,
        clock=utc_now,
        ids=ascending_id,
    )
    closing.push_async_callback(door.drained, settings.audit.append_timeout_s)
    return door


def _admission(settings: Settings, environ: Mapping[str, str], closing: AsyncExitStack) -> Admission:
    if not settings.limits.redis_url:
        return LocalAdmission(settings.limits, time.monotonic)
    url = resolve_redis_url(settings.limits, environ).reveal()
    shared = RedisAdmission.connect(structs.replace(settings.limits, redis_url=url), time.monotonic, node=random_id())
    closing.push_async_callback(shared.close)
    return shared


def _edit_judge(judging: Judging) -> Callable[[Case, CaseContent, str], Awaitable[tuple[str, ...]]]:
    async def judge(case: Case, content: CaseContent, text: str) -> tuple[str, ...]:
        lifts = frozenset(f"{case.phase.value}:{rule}" for rule in case.rules) | frozenset(case.course.lifts)
        return await judging.judge_edit(facts_of(content.fields), text, lifts)

    return judge


def _asked(log: Path) -> Callable[[str, Principal], Awaitable[bool]]:
    def read(exchange: str, principal: Principal) -> bool:
        with AuditReader(log) as reader:
            wanted = Filter(request=exchange, types=frozenset({EventType.INTENT.value}))
            return any(event.members.get("principal") == principal.ref for event in reader.search(wanted, limit=1))

    async def asked(exchange: str, principal: Principal) -> bool:
        return await asyncio.to_thread(read, exchange, principal)

    return asked


class Application:
    """The ASGI application of one worker process: Litestar, and a lifespan whose failure is told in one line.

    `alone` says that the process does nothing else. What was loaded then lives as long as the process, and the
    garbage collector need not look at it again and again (an eighth of the time of a request).
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str], *, alone: bool = False) -> None:
        self._alone = alone
        self._settings = settings
        self._environ = environ
        self._litestar = Litestar(
            route_handlers=_routes(),
            exception_handlers={Exception: http_exception_reply},
            openapi_config=None,
            logging_config=None,
        )

    async def __call__(self, scope: Scope | LifeSpanScope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._litestar(scope, receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            gateway = await start(self._settings, self._environ)
        except GatewayError as error:
            await send({"type": "lifespan.startup.failed", "message": error.for_operator()})
            return
        self._litestar.state.gateway = gateway
        if self._alone:
            gc.collect()
            gc.freeze()
            _return_freed_memory()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await gateway.closing.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def _return_freed_memory() -> None:
    """Loading models leaves tens of megabytes that the C library keeps for later; glibc gives them back if asked."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _routes() -> list[ASGIRouteHandler]:
    def route(
        path: str, serve: Callable[[Gateway], Callable[[Scope, Receive, Send], Any]], *, is_mount: bool = False
    ) -> ASGIRouteHandler:
        async def handler(scope: Scope, receive: Receive, send: Send) -> None:
            await serve(scope["litestar_app"].state.gateway)(scope, receive, send)

        return asgi(path, is_mount=is_mount, copy_scope=False)(handler)

    # A mount takes everything below its path: Litestar cannot resolve parameters in the path of an ASGI route.
    return [
        route("/v1/chat/completions", lambda gateway: gateway.openai.chat_completions),
        route("/v1/embeddings", lambda gateway: gateway.openai.embeddings),
        route("/v1/models", lambda gateway: gateway.openai.models, is_mount=True),
        route("/v1/gateway/cases", lambda gateway: gateway.cases.cases, is_mount=True),
        route("/v1/gateway/audit", lambda gateway: gateway.trail.trail, is_mount=True),
        route("/v1/gateway/feedback", lambda gateway: gateway.feedback.feedback),
        route("/metrics", lambda gateway: gateway.metrics.metrics),
        route("/openapi.json", lambda gateway: gateway.openapi.document),
        route("/health/live", lambda gateway: gateway.health.live),
        route("/health/ready", lambda gateway: gateway.health.ready),
        route("/console", lambda gateway: gateway.console or no_such_route, is_mount=True),
    ]


def from_environment() -> Application:
    """The application as a worker process makes it, from the environment alone."""
    settings = load_settings(None, os.environ)
    configure_logging(settings.log_level)
    return Application(settings, os.environ, alone=True)
