"""What stands behind the audit pages: a real log with exchanges of two tenants, kept texts, a signer, tampering."""

import hashlib
import itertools
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.audit.anchoring import Trust
from gateway.audit.apart import Apart
from gateway.audit.body_read import BodyReader
from gateway.audit.body_writer import BodyWriter
from gateway.audit.copies import Copies
from gateway.audit.keeping import KeepingLog
from gateway.audit.log import SqliteAuditLog
from gateway.audit.note import KeyType, SigningKey
from gateway.audit.search_index import SearchIndex
from gateway.audit.signer import Signer
from gateway.audit.text_tag import TextTags
from gateway.audit.wrapping import MasterWrapper, Wrappers
from gateway.console.audit_trail import Trail
from gateway.domain.event import BodyText, Commitment, EventDraft, EventType
from gateway.domain.ports import AuditLog

KEY = SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(range(32)))
TAGS = TextTags(bytes(32))
WRAPPERS = Wrappers(MasterWrapper(bytes(32)), [])
ATTACK = "<script>alert(1)</script>\u202e"
QUESTION = "what does a card 4111 1111 1111 1111 cost?"
START = datetime.fromisoformat("2026-11-20T09:00:00+00:00")


def make_trail(log: Path, audit: AuditLog) -> Trail:
    trust = Trust(log_keys=(KEY.verifier,))
    return Trail(
        log=log,
        trust=trust,
        apart=Apart(log, trust=trust, keys=(), most_events=200, monotonic=lambda: 0.0),
        tags=TAGS,
        bodies=BodyReader(log, log.with_name("bodies.db"), log.with_name("keys.db"), wrappers=WRAPPERS, audit=audit),
        lags=list,
    )


class Written:
    """A log that a test writes and changes."""

    def __init__(self, path: Path, end: Callable[[], datetime]) -> None:
        self.path = path
        for file in path.parent.glob("audit.db*"):
            if file.is_file():
                file.unlink()
        self._moments = itertools.count()
        self._numbers = itertools.count(1)
        self._end = end
        self._writer = BodyWriter(
            path.with_name("bodies.db"), path.with_name("keys.db"), WRAPPERS, clock=end, timeout_s=5
        )
        self.log = SqliteAuditLog.open(
            path,
            log_name="gateway.test/node-1",
            group_max_events=64,
            append_timeout_s=5.0,
            reserve_bytes=0,
            clock=self._now,
            ids=lambda: f"id-{next(self._numbers):06d}",
            salts=lambda: bytes(range(32)),
            tags=TAGS,
        )
        self.keeping = KeepingLog(self.log, self._writer)

    def _now(self) -> datetime:
        return START + timedelta(minutes=next(self._moments))

    async def exchange(self, request: str, *, tenant: str = "acme", effect: str = "allow", **more: Any) -> None:
        """The two events of an exchange, its question kept."""
        about: dict[str, Any] = {"request": request, "tenant": tenant, "app": "loans", "principal": f"p:{tenant}"}
        question = str(more.pop("question", QUESTION))
        rule = {"id": more.pop("rule", "C-003"), "status": "matched", "effect": effect, "mode": "enforce"}
        signals = {"detectors": [{"name": "pii", "version": "1", "status": more.pop("status", "ok"), "us": 4100}]}
        phase = {"phase": "query", "effect": effect, "rules": [{**rule, "why": ["pii.entities any of PERSON"]}]}
        await self.keeping.append(
            EventDraft(
                type=EventType.INTENT,
                **about,
                body={
                    "model": more.get("model", "fast"),
                    "query": Commitment(text=question),
                    "phase": {**phase, "policy": "sha256:00", "signals": signals},
                },
                bodies=(BodyText(field="query", text=question),),
            )
        )
        model = {"name": "fast", "provider": "p", "answered_by": "m", "tokens_in": 1_000, "tokens_out": 500}
        body = {"effect": effect, "reasons": [rule["id"]], "took_us": 12_000, "model": model, **more}
        body["release"] = {"chars": 10, "finish": "stop", "content": Commitment(text="ten chars!")}
        await self.log.append(EventDraft(type=EventType.OUTCOME, **about, body=body))

    def sign(self) -> None:
        with Signer(
            self.path,
            KEY,
            every_events=1,
            every_s=0.0,
            witnesses=[],
            copies=Copies([], clock=lambda: 0.0, warn=print),
            clock=lambda: 0.0,
            warn=print,
        ) as signer:
            signer.step()

    def index(self) -> None:
        with SearchIndex(self.path) as index:
            while index.take_in(1_000):
                pass

    def rewrite(self, seq: int, old: bytes, new: bytes, *, rehash: bool = True) -> None:
        """Tamper with an event, and with its stored hash."""
        db = sqlite3.connect(self.path)
        (body,) = db.execute("SELECT body FROM events WHERE seq = ?", (seq,)).fetchone()
        changed = body.replace(old, new)
        assert changed != body
        db.execute("UPDATE events SET body = ? WHERE seq = ?", (changed, seq))
        if rehash:
            db.execute("UPDATE events SET hash = ? WHERE seq = ?", (hashlib.sha256(changed).digest(), seq))
        db.commit()
        db.close()

    async def close(self) -> None:
        await self.keeping.drained()
        self._writer.close()
        self.log.close()
