"""Logs as a busy node leaves them: every event is prepared, chained and stored by the log's own functions; only the
wait for the disk after each group is left out, which makes a million events a matter of a minute.

    python -m tests.bench.audit_workload FOLDER [EVENTS]
"""

import itertools
import os
import random
import sys
import time
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gateway.audit import database
from gateway.audit.entry import chain, prepare
from gateway.audit.text_tag import TextTags
from gateway.domain.event import Commitment, EventDraft, EventType

START: Final = datetime(2026, 3, 1, tzinfo=UTC)
LOG_NAME: Final = "gateway.bench/node-1"
TAGS: Final = TextTags(bytes(32))
EFFECTS: Final = {"allow": 82, "flag": 8, "redact": 6, "escalate": 1, "refuse": 3}
DETECTORS: Final = ("injection", "patterns", "pii", "secrets", "topics")
RULES: Final = tuple(f"{kind}-{number:03d}" for kind in ("PII", "INJ", "CRD", "SEC", "TOP") for number in range(1, 13))
_GROUP: Final = 200


def by_rank(count: int) -> list[float]:
    """Cumulative weights of Zipf's law."""
    return list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))


class Traffic:
    """Exchanges of a bank's users: few tenants and rules do most, as Zipf says; one exchange in a hundred goes to a
    human. `random` decides all."""

    def __init__(self, seed: int, *, tenants: int = 20, users: int = 300) -> None:
        self._random = random.Random(seed)
        self._tenants = by_rank(tenants)
        self._users = by_rank(users)
        self._rules = by_rank(len(RULES))

    def drafts(self) -> Iterator[EventDraft]:
        for number in itertools.count():
            yield from self._exchange(number)

    def _exchange(self, number: int) -> Iterator[EventDraft]:
        tenant = f"tenant-{self._ranked(self._tenants):02d}"
        app = ("desk", "loans", "cards", "help")[self._random.randrange(4)]
        about = {
            "request": f"{number:032x}",
            "tenant": tenant,
            "app": app,
            "principal": f"p:{tenant}-{self._ranked(self._users):04d}",
        }
        if self._random.random() < 0.03:
            body: dict[str, Any] = {"route": "/v1/chat/completions", "code": "rate_limit_exceeded", "status": 429}
            yield EventDraft(type=EventType.REJECTED, **about, body=body)
            return
        effect = self._random.choices(list(EFFECTS), EFFECTS.values())[0]
        yield EventDraft(type=EventType.INTENT, **about, body=self._intent(number, effect))
        case = f"case_{number:032x}" if effect == "escalate" else ""
        if case:
            for kind in (EventType.CASE_OPENED, EventType.CASE_CLAIMED, EventType.CASE_APPROVED):
                yield EventDraft(type=kind, **about, body={"case": case, "queue": "credit", "revision": 1})
        streams = self._random.random() < 0.4 and effect in ("allow", "flag", "redact")
        if streams:
            yield EventDraft(type=EventType.STREAM_OPEN, **about, body={"buffered": False})
        kind = EventType.STREAM_CLOSE if streams else EventType.OUTCOME
        yield EventDraft(type=kind, **about, body=self._end(number, effect, case))

    def _intent(self, number: int, effect: str) -> dict[str, Any]:
        return {
            "route": "/v1/chat/completions",
            "auth": "key",
            "key": "k-0001",
            "groups": ["staff"],
            "model": "fast",
            "stream": False,
            "segments": 2,
            "query": Commitment(text=question(number)),
            "phase": {
                "phase": "query",
                "effect": effect,
                "policy": "sha256:" + "0" * 64,
                "evaluated": 64,
                "rules": self._outcomes(effect),
                "signals": self._signals(),
            },
            "coverage": {"required": list(DETECTORS), "not_ok": [], "unscanned": []},
        }

    def _end(self, number: int, effect: str, case: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "effect": effect,
            "reasons": [rule["id"] for rule in self._outcomes(effect)],
            "policy": "sha256:" + "0" * 64,
            "retrieval": {
                "status": "ok",
                "passages": [
                    {
                        "id": f"doc-{self._random.randrange(200)}#{self._random.randrange(9)}",
                        "rev": "0f" * 8,
                        "content": Commitment(text=f"passage {self._random.randrange(900)}"),
                        "score_e6": self._random.randrange(1_000_000),
                        "kept": True,
                        "effect": "allow",
                        "rules": [],
                    }
                    for _ in range(3)
                ],
            },
            "model": {"name": "fast", "provider": "openai", "tokens_in": 812, "tokens_out": 164},
            "answer": [{"phase": "answer", "effect": "allow", "evaluated": 64, "rules": []} for _ in range(3)],
            "signals": [self._signals()],
            "redacted": {"query": {}, "answer": {}},
            "release": {"chars": 400, "content": Commitment(text=answer(number)), "finish": "stop"},
            "buffered": False,
            "took_us": int(self._random.lognormvariate(13.5, 0.6)),
        }
        return body | {"case": case} if case else body

    def _outcomes(self, effect: str) -> list[dict[str, Any]]:
        chosen = [] if effect == "allow" else [RULES[self._ranked(self._rules)]]
        return [
            {"id": rule, "status": "matched", "effect": effect, "mode": "enforce", "why": ["pii.entities any_of"]}
            for rule in chosen
        ]

    def _signals(self) -> dict[str, Any]:
        failing = self._random.random() < 0.002
        return {
            "detectors": [
                {
                    "name": name,
                    "version": "1.4",
                    "status": "timeout" if failing and name == "pii" else "ok",
                    "reason": "",
                    "us": self._random.randrange(20_000),
                    "cached": 0,
                    "scanned": 1,
                }
                for name in DETECTORS
            ],
            "values": {"user": {"injection.score": {"e6": self._random.randrange(1_000_000)}}},
        }

    def _ranked(self, weights: list[float]) -> int:
        return bisect(weights, self._random.random() * weights[-1])


def question(number: int) -> str:
    return f"question {number}: what does a replacement card cost, and how long does it take to arrive?"


def answer(number: int) -> str:
    return f"answer {number}: a replacement card costs 9 euros and arrives within five working days [1]."


def write_log(path: Path, events: int, *, seed: int = 1, days: int = 90) -> None:
    """A new log of exactly this many events over so many days."""
    drafts = itertools.islice(Traffic(seed).drafts(), events - 1)
    ids = (f"{number:014x}{'0' * 18}" for number in itertools.count())
    with database.unavailable_on_error(path):
        db = database.open_writer(path)
        db.execute("PRAGMA synchronous = OFF")
        boot = EventDraft(type=EventType.LOG_BOOT, body={"after_seq": 0, "checked": 0})
        made = 0
        waiting = itertools.chain([boot], drafts)
        while group := list(itertools.islice(waiting, _GROUP)):
            entries = [
                prepare(
                    draft,
                    log_name=LOG_NAME,
                    boot="b1",
                    ids=lambda: next(ids),
                    salts=lambda: os.urandom(32),
                    tags=TAGS,
                )
                for draft in group
            ]
            now = START + timedelta(days=days) * made / events
            db.execute("BEGIN IMMEDIATE")
            database.insert(db, chain(entries, database.read_tip(db), now))
            db.execute("COMMIT")
            made += len(entries)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    begun = time.perf_counter()
    write_log(folder / "audit.db", wanted)
    size = (folder / "audit.db").stat().st_size
    print(f"{wanted} events, {size / 1e6:.0f} MB, {time.perf_counter() - begun:.0f} s")
