"""Looks now and then whether a reviewer approves nearly everything faster than anybody reads, and records it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.cases.quality import ReviewerQuality, quality_report
from gateway.cases.store import CaseStore
from gateway.domain.event import EventDraft, EventType
from gateway.domain.ports import AuditLog
from gateway.settings import QualitySettings

_log = structlog.get_logger("gateway.cases")
_EVERY: Final = timedelta(hours=1)
_AGAIN: Final = timedelta(days=1)
_MILLISECONDS: Final = 1_000


class QualityWatch:
    """One alarm per reviewer and day, while the process lives."""

    def __init__(
        self, store: CaseStore, audit: AuditLog, settings: QualitySettings, *, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._audit = audit
        self._settings = settings
        self._clock = clock
        self._looked: datetime | None = None
        self._raised: dict[str, datetime] = {}

    async def look(self) -> None:
        """Look if an hour has passed since the last time. Raises `GuardUnavailable`."""
        now = self._clock()
        if self._looked is not None and now < self._looked + _EVERY:
            return
        self._looked = now
        report = await quality_report(self._store, self._settings, now=now)
        for reviewer in report.alarms:
            if now >= self._raised.get(reviewer.person, now - _AGAIN) + _AGAIN:
                await self._audit.append(alarm_event(reviewer, self._settings))
                self._raised[reviewer.person] = now
                _log.warning("review_alarm", person=reviewer.person, decisions=reviewer.decisions)


def alarm_event(reviewer: ReviewerQuality, settings: QualitySettings) -> EventDraft:
    """`review.alarm`: who, and the figures."""
    return EventDraft(
        type=EventType.REVIEW_ALARM,
        principal="gateway",
        body={
            "person": reviewer.person,
            "decisions": reviewer.decisions,
            "approvals": reviewer.approvals.hits,
            "dwell_ms": int((reviewer.dwell_s or 0.0) * _MILLISECONDS),
            "window_days": settings.window_days,
        },
    )
