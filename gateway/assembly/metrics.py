"""Wires the counts of a node: what feeds them, what is looked up when somebody asks, who may ask."""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from gateway.assembly.schedules import ScheduleWatch
from gateway.assembly.sinks import SinkWatch
from gateway.cases.case import CaseState
from gateway.cases.store import CaseStore
from gateway.domain.errors import GuardUnavailable
from gateway.domain.ports import AuditLog, Upstream
from gateway.edge.door import Door
from gateway.edge.metrics import MetricsWire
from gateway.metrics.audited import CountingAuditLog
from gateway.metrics.counts import Counts, Gauge
from gateway.metrics.exposition import exposition
from gateway.metrics.families import FAMILIES, UPSTREAM_SECONDS
from gateway.metrics.node import NodeCounts
from gateway.metrics.upstream import TimedUpstream
from gateway.rollout.rollout import PolicyState
from gateway.settings import Settings
from gateway.settings.folder import METRICS_DIR


class Healthy(Protocol):
    @property
    def healthy(self) -> bool: ...


class Metering:
    """The counts of one worker. With `metrics.access: off` nothing is counted and nothing is in the way."""

    def __init__(
        self, settings: Settings, sinks: SinkWatch, schedules: ScheduleWatch, *, clock_us: Callable[[], int]
    ) -> None:
        """`clock_us` is monotonic."""
        self._sinks = sinks
        self._schedules = schedules
        self._access = settings.metrics.access
        self._clock_us = clock_us
        self._counts = Counts(FAMILIES)

    def log(self, log: AuditLog) -> AuditLog:
        """The log through which everything but health goes from now on."""
        return log if self._access == "off" else CountingAuditLog(log, self._counts, self._clock_us)

    def upstream(self, upstream: Upstream) -> Upstream:
        if self._access == "off":
            return upstream
        return TimedUpstream(upstream, self._counts.histogram(UPSTREAM_SECONDS.name), self._clock_us)

    def wire(
        self,
        door: Door,
        data: Path,
        *,
        audit: Healthy,
        policy: Callable[[], PolicyState],
        cases: CaseStore,
        name: str,
        closing: AsyncExitStack,
    ) -> MetricsWire:
        """The route; from now on the counts are shared with the other workers. `name` is unique among processes."""
        if self._access == "off":
            return MetricsWire(door, "off", _nothing)
        node = NodeCounts(data / METRICS_DIR, self._counts, lambda: _gauges(audit, policy()), name=name)
        node.start()
        closing.push_async_callback(node.stop)

        async def exposed() -> bytes:
            counts, gauges = await node.total()
            own = [*_lags(self._sinks), *self._schedules.gauges()]
            return exposition(FAMILIES, counts, [*gauges, *own, *await _cases(cases)])

        return MetricsWire(door, self._access, exposed)


async def _nothing() -> bytes:
    return b""


def _gauges(audit: Healthy, policy: PolicyState) -> list[Gauge]:
    return [
        Gauge(
            name="gateway_audit_healthy",
            about="Whether the audit log of every worker takes events",
            value=float(audit.healthy),
            least=True,
        ),
        Gauge(
            name="gateway_policy_info",
            about="Digests of the policies in force; two while the workers of a node differ",
            labels={"digest": policy.digest, "role": "in_force"},
            value=1.0,
        ),
        *(
            [
                Gauge(
                    name="gateway_policy_info",
                    about="Digests of the policies in force; two while the workers of a node differ",
                    labels={"digest": policy.candidate, "role": "candidate"},
                    value=1.0,
                )
            ]
            if policy.candidate
            else []
        ),
        Gauge(
            name="gateway_policy_stale",
            about="Whether newer policy files could not come into force in some worker",
            value=float(policy.stale),
        ),
        Gauge(
            name="gateway_policy_candidate_failed",
            about="Whether the candidate could not be loaded in some worker",
            value=float(bool(policy.candidate_error)),
        ),
    ]


def _lags(sinks: SinkWatch) -> Iterator[Gauge]:
    for lag in sinks.lags():
        for name, about, value in (
            ("gateway_audit_sink_lag_events", "Events that a sink lacks", lag.behind),
            ("gateway_audit_sink_lag_seconds", "Age of the oldest event that a sink lacks", lag.behind_s),
            (
                "gateway_audit_sink_failures",
                "Deliveries to a sink that failed since the last that did not",
                lag.failures,
            ),
        ):
            yield Gauge(name=name, about=about, labels={"sink": lag.sink}, value=float(value))


async def _cases(store: CaseStore) -> list[Gauge]:
    """Nothing where the store does not answer: then its absence is what tells."""
    try:
        counts = await store.count_by_state()
    except GuardUnavailable:
        return []
    return [
        Gauge(
            name="gateway_cases",
            about="Cases by state",
            labels={"state": state.value},
            value=float(counts.get(state, 0)),
        )
        for state in CaseState
    ]
