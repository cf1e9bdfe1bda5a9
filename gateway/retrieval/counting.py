"""What searches were like, counted by day: where questions lie, how good the best passage was, how many found nothing.

No text and no vector is kept. Of a question's embedding only the side of six secret planes counts (random projection,
Charikar 2002: Similarity Estimation Techniques from Rounding Algorithms), which is one of 64 numbers.
"""

import datetime as dt
import hashlib
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.passage import RetrievalStatus

PLANES: Final = 6
SCORES: Final = 10  # deciles

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS counted (
    tenant TEXT NOT NULL, day TEXT NOT NULL, embedder TEXT NOT NULL, kind TEXT NOT NULL, bucket INTEGER NOT NULL,
    count INTEGER NOT NULL, PRIMARY KEY (tenant, day, embedder, kind, bucket)
);
"""
_WAIT_S: Final = 10.0
_QUERY, _SCORE, _ENDED = "query", "score", "ended"
_FOUND, _EMPTY, _FAILED = 0, 1, 2


class Window(Struct, frozen=True, kw_only=True):
    """Searches of some days: by the bucket of the question, by the decile of the best score, and how they ended."""

    queries: Mapping[int, int] = {}
    scores: Mapping[int, int] = {}
    found: int = 0
    empty: int = 0
    failed: int = 0

    @property
    def searches(self) -> int:
        return self.found + self.empty + self.failed


class SearchCounts:
    """Counts in memory until `flush`. Thread-safe; any number of processes share the file. `key` is secret and makes
    the planes."""

    def __init__(self, path: Path, *, key: bytes, today: Callable[[], dt.date]) -> None:
        self._path = path
        self._key = key
        self._today = today
        self._planes: dict[int, NDArray[np.float32]] = {}
        self._lock = threading.Lock()
        self._pending: Counter[tuple[str, str, str, str, int]] = Counter()

    def note(
        self,
        tenant: str,
        embedder: str,
        vector: NDArray[np.float32] | None,
        status: RetrievalStatus,
        best: float | None,
    ) -> None:
        """Count one search. `vector` is `None` if there was no embedding, `best` if nothing was found. Microseconds."""
        day = self._today().isoformat()
        ended = _FAILED if status is not RetrievalStatus.OK else _EMPTY if best is None else _FOUND
        buckets = [(_ENDED, ended)]
        if vector is not None:
            buckets.append((_QUERY, self._bucket(vector)))
        if best is not None:
            buckets.append((_SCORE, min(SCORES - 1, max(0, int(best * SCORES)))))
        with self._lock:
            self._pending.update((tenant, day, embedder, kind, bucket) for kind, bucket in buckets)

    def flush(self) -> None:
        """Write what was counted. Blocking. Raises `sqlite3.Error` or `OSError`; then nothing is lost."""
        with self._lock:
            pending, self._pending = self._pending, Counter()
        if not pending:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as connection, connection:
                connection.executescript(_SCHEMA)
                connection.executemany(
                    "INSERT INTO counted VALUES (?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET count = count + excluded.count",
                    [(*key, count) for key, count in pending.items()],
                )
        except (OSError, sqlite3.Error):
            with self._lock:
                self._pending.update(pending)
            raise

    def _bucket(self, vector: NDArray[np.float32]) -> int:
        planes = self._planes.get(len(vector))
        if planes is None:
            seed = hashlib.blake2b(self._key + len(vector).to_bytes(4, "big"), digest_size=16).digest()
            rng = np.random.default_rng(int.from_bytes(seed, "big"))
            planes = self._planes[len(vector)] = rng.standard_normal((PLANES, len(vector)), np.float32)
        sides = np.vecdot(planes, vector) > 0
        return int(sum(1 << at for at, side in enumerate(sides) if side))


def read_window(path: Path, tenant: str, first: dt.date, last: dt.date, embedder: str) -> Window:
    """The searches of a tenant from `first` to `last`, both inclusive; places of questions only where `embedder` made
    them. Empty where nothing was counted. Raises `sqlite3.Error`."""
    if not path.exists():
        return Window()
    with closing(sqlite3.connect(path, timeout=_WAIT_S)) as connection:
        rows = connection.execute(
            "SELECT kind, bucket, sum(count) FROM counted WHERE tenant = ? AND day BETWEEN ? AND ? "
            "AND (kind <> ? OR embedder = ?) GROUP BY kind, bucket",
            (tenant, first.isoformat(), last.isoformat(), _QUERY, embedder),
        ).fetchall()
    counted: dict[str, dict[int, int]] = {_QUERY: {}, _SCORE: {}, _ENDED: {}}
    for kind, bucket, count in rows:
        counted[kind][bucket] = count
    ended = counted[_ENDED]
    return Window(
        queries=counted[_QUERY],
        scores=counted[_SCORE],
        found=ended.get(_FOUND, 0),
        empty=ended.get(_EMPTY, 0),
        failed=ended.get(_FAILED, 0),
    )
