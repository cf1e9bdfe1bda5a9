"""Logs in temporary folders, with a clock and ids that the test decides."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.copies import Copies
from gateway.audit.log import SqliteAuditLog
from gateway.audit.note import KeyType, SigningKey
from gateway.audit.signer import Signer
from gateway.audit.witness import Witness
from gateway.audit.witness_server import WitnessServer
from gateway.domain.event import Commitment, EventDraft, EventType

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


class Clock:
    """Advances a millisecond with every look."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


class Logs:
    """Opens logs at one path and closes what the test left open."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.db"
        self.clock = Clock()
        self._ids = itertools.count()
        self._opened: list[SqliteAuditLog] = []

    def open(self, **changes: object) -> SqliteAuditLog:
        settings: dict[str, object] = {
            "log_name": "gateway.test/node-1",
            "group_max_events": 64,
            "append_timeout_s": 5.0,
            "reserve_bytes": 0,
            "clock": self.clock,
            "ids": lambda: f"id-{next(self._ids):06d}",
            "salts": lambda: os.urandom(32),
        }
        log = SqliteAuditLog.open(changes.pop("path", self.path), **{**settings, **changes})  # type: ignore[arg-type]
        self._opened.append(log)
        return log

    def crash(self, log: SqliteAuditLog) -> None:
        """What a killed process leaves behind: everything durable, and no lock on its boot file."""
        log._writer._boot_file.close()

    def close(self) -> None:
        for log in self._opened:
            log.close()


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = Logs(tmp_path)
    yield made
    made.close()


@pytest.fixture
def exchange() -> Callable[[str], tuple[EventDraft, EventDraft]]:
    """The two events of an answered request."""

    def make(request: str) -> tuple[EventDraft, EventDraft]:
        about = {"request": request, "tenant": "acme", "app": "loans", "principal": "p:1"}
        return (
            EventDraft(type=EventType.INTENT, **about, body={"query": Commitment(text=f"question of {request}")}),
            EventDraft(type=EventType.OUTCOME, **about, body={"effect": "allow", "score_e6": 700_000}),
        )

    return make


LOG_KEY = SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(range(32)))
WITNESS_KEY = SigningKey("witness.test/w1", KeyType.COSIGNATURE, bytes(range(1, 33)))


@pytest.fixture
def sign() -> Callable[..., SignedCheckpoint | None]:
    """Sign one checkpoint of a log as a signer would that has just started."""

    def once(path: Path, key: SigningKey = LOG_KEY, **changes: object) -> SignedCheckpoint | None:
        warnings: list[str] = []
        settings: dict[str, object] = {
            "every_events": 10,
            "every_s": 1.0,
            "witnesses": [],
            "copies": Copies([], clock=lambda: 0.0, warn=warnings.append),
            "clock": lambda: 0.0,
            "warn": warnings.append,
        }
        with Signer(path, key, **{**settings, **changes}) as signer:  # type: ignore[arg-type]
            return signer.step()

    return once


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    made = Witness(tmp_path / "witness.db", WITNESS_KEY, [LOG_KEY.verifier], lambda: 1_800_000_000)
    yield made
    made.close()


@pytest.fixture
def witness_url(witness: Witness) -> Iterator[str]:
    """A witness that is asked over HTTP."""
    with WitnessServer(("127.0.0.1", 0), witness) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
