"""An audit log that counts what passes through it, so that the request path counts nothing itself.

An app whose capture level keeps no signals has no detectors in its events, and so none in the counts.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import PLAYGROUND, EventDraft, EventType, Receipt
from gateway.domain.ports import AuditLog
from gateway.metrics import families
from gateway.metrics.counts import Counts

_KINDS = {EventType.OUTCOME: "whole", EventType.STREAM_CLOSE: "stream"}


class CountingAuditLog:
    """`AuditLog` over another. `clock_us` is monotonic."""

    def __init__(self, log: AuditLog, counts: Counts, clock_us: Callable[[], int]) -> None:
        self._log = log
        self._clock_us = clock_us
        self._requests = counts.counter(families.REQUESTS.name)
        self._errors = counts.counter(families.REQUEST_ERRORS.name)
        self._seconds = counts.histogram(families.REQUEST_SECONDS.name)
        self._rejected = counts.counter(families.REJECTED.name)
        self._verdicts = counts.counter(families.VERDICTS.name)
        self._rules = counts.counter(families.RULES.name)
        self._would_be = counts.counter(families.WOULD_BE.name)
        self._run_seconds = counts.histogram(families.DETECTOR_SECONDS.name)
        self._texts = counts.counter(families.INSPECTED_TEXTS.name)
        self._tokens = counts.counter(families.TOKENS.name)
        self._events = counts.counter(families.AUDIT_EVENTS.name)
        self._append_seconds = counts.histogram(families.AUDIT_SECONDS.name)
        self._failures = counts.counter(families.AUDIT_FAILURES.name)

    async def append(self, draft: EventDraft) -> Receipt:
        started_us = self._clock_us()
        try:
            receipt = await self._log.append(draft)
        except AuditUnavailable:
            self._failures.add(())
            raise
        self._append_seconds.observe((), self._clock_us() - started_us)
        self._events.add((draft.type,))
        self._count(draft)
        return receipt

    def _count(self, draft: EventDraft) -> None:
        app, body = draft.app, draft.body
        if body.get(PLAYGROUND):
            return
        if draft.type is EventType.INTENT:
            self._decision(app, body["phase"])
        elif draft.type in _KINDS:
            self._ended(app, _KINDS[draft.type], body)
        elif draft.type is EventType.REJECTED:
            self._rejected.add((app, body["code"], str(body["status"])))

    def _ended(self, app: str, kind: str, body: Mapping[str, Any]) -> None:
        effect = body["effect"]
        self._requests.add((app, kind, effect))
        self._seconds.observe((app, kind), body["took_us"])
        if "error" in body:
            self._errors.add((app, body["error"]))
        for decision in body["answer"]:
            self._decision(app, decision)
        for signals in body.get("signals", ()):
            self._detectors(signals["detectors"])
        for passage in body["retrieval"]["passages"]:
            self._verdicts.add((app, "passage", passage["effect"]))
            self._outcomes("passage", passage["rules"])
        for by in ("shadow", "candidate"):
            if by in body:
                self._would_be.add((by, effect, body[by]["would"]))
        model = body["model"]
        for direction in ("in", "out"):
            tokens = model.get(f"tokens_{direction}", 0)
            if tokens > 0:
                self._tokens.add((model["answered_by"] or model["name"], direction), tokens)

    def _decision(self, app: str, decision: Mapping[str, Any]) -> None:
        phase = decision["phase"]
        self._verdicts.add((app, phase, decision["effect"]))
        self._outcomes(phase, decision["rules"])
        if "signals" in decision:
            self._detectors(decision["signals"]["detectors"])

    def _outcomes(self, phase: str, rules: Iterable[Mapping[str, Any]]) -> None:
        for rule in rules:
            self._rules.add((rule["id"], phase, rule["mode"], rule["status"]))

    def _detectors(self, runs: Iterable[Mapping[str, Any]]) -> None:
        for run in runs:
            name = run["name"]
            self._run_seconds.observe((name, run["status"]), run["us"])
            if run["scanned"]:
                self._texts.add((name, "scanned"), run["scanned"])
            if run["cached"]:
                self._texts.add((name, "cached"), run["cached"])
