"""How long searches of a large log take, each filter alone and together, first pages and deep ones.

    python -m tests.bench.audit_search FOLDER [ROUNDS]

FOLDER holds a log that `tests.bench.audit_workload` wrote; its index is made if it is missing. Every query opens log
and index anew, as a request does, and reads a page of 50 events.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from gateway.audit.read import AuditReader, Filter
from gateway.audit.search import AuditSearch
from gateway.audit.search_index import SearchIndex, index_of
from tests.bench.audit_workload import RULES, START, TAGS, answer

PAGE: Final = 50
_STEP: Final = 2_000
_EFFECTS: Final = ("flag", "redact", "escalate", "refuse")
_DAYS: Final = 90


class Asked:
    """Random questions about a log of `events` events."""

    def __init__(self, path: Path, events: int, seed: int) -> None:
        self._path = path
        self._random = random.Random(seed)
        self.events = events

    def tenant(self) -> str:
        return f"tenant-{self._random.randrange(20):02d}"

    def principal(self) -> str:
        return f"p:{self.tenant()}-{self._random.randrange(300):04d}"

    def rule(self) -> str:
        return self._random.choice(RULES)

    def effect(self) -> str:
        return self._random.choice(_EFFECTS)

    def span(self) -> dict[str, object]:
        since = START + timedelta(days=self._random.uniform(0, _DAYS - 7))
        return {"since": since, "until": since + timedelta(days=self._random.uniform(0.01, 7))}

    def number(self) -> int:
        return self._random.randrange(self.events // 3)

    def commitment(self) -> str:
        with AuditReader(self._path) as reader:
            for event in reader.search(Filter(types=frozenset({"intent"}), first=1 + self.number())):
                return str(event.members["query"]["c"])
        raise LookupError("the log has no intent")


def questions(asked: Asked) -> dict[str, Callable[[], Filter]]:
    """By name, what makes a filter."""
    return {
        "time": lambda: Filter(**asked.span()),
        "tenant": lambda: Filter(tenant=asked.tenant()),
        "app": lambda: Filter(app="loans"),
        "principal": lambda: Filter(principal=asked.principal()),
        "rule": lambda: Filter(rule=asked.rule()),
        "effect": lambda: Filter(effect=asked.effect()),
        "case": lambda: Filter(case=f"case_{asked.number():032x}"),
        "type": lambda: Filter(types=frozenset({"case.approved", "rejected"})),
        "commitment": lambda: Filter(commitment=asked.commitment()),
        "request": lambda: Filter(request=f"{asked.number():032x}"),
        "tenant + rule": lambda: Filter(tenant=asked.tenant(), rule=asked.rule()),
        "effect + app + time": lambda: Filter(effect=asked.effect(), app="desk", **asked.span()),
        "principal + effect": lambda: Filter(principal=asked.principal(), effect=asked.effect()),
        "rule + effect that never meet": lambda: Filter(rule=asked.rule(), effect="allow"),
        "all": lambda: Filter(
            tenant=asked.tenant(),
            app="cards",
            principal=asked.principal(),
            rule=asked.rule(),
            effect=asked.effect(),
            types=frozenset({"outcome", "stream.close"}),
            **asked.span(),
        ),
        "nothing": Filter,
    }


def measured(path: Path, rounds: int) -> dict[str, tuple[float, float, float]]:
    """Milliseconds by question: median and 95th percentile of first pages, and the latter of deep pages."""
    with AuditSearch(path) as search:
        asked = Asked(path, search.indexed, seed=7)
    figures = {}
    for name, make in questions(asked).items():
        first, deep = [], []
        for _ in range(rounds):
            wanted = make()
            first.append(_page(path, wanted, ""))
            deep.append(_page(path, wanted, str(asked.number() + 1)))
        figures[name] = (statistics.median(first), _p95(first), _p95(deep))
    texts = []
    for _ in range(rounds):
        begun = time.perf_counter()
        with AuditSearch(path) as search:
            search.texts(answer(asked.number()), TAGS, Filter(), limit=10)
        texts.append((time.perf_counter() - begun) * 1_000)
    figures["text"] = (statistics.median(texts), _p95(texts), _p95(texts))
    counts = []
    for _ in range(max(3, rounds // 10)):
        begun = time.perf_counter()
        with AuditSearch(path) as search:
            search.stats(Filter(tenant=asked.tenant()))
        counts.append((time.perf_counter() - begun) * 1_000)
    figures["stats of a tenant"] = (statistics.median(counts), _p95(counts), _p95(counts))
    return figures


def _page(path: Path, wanted: Filter, cursor: str) -> float:
    begun = time.perf_counter()
    with AuditSearch(path) as search:
        search.page(wanted, limit=PAGE, cursor=cursor)
    return (time.perf_counter() - begun) * 1_000


def _p95(figures: list[float]) -> float:
    return sorted(figures)[max(0, -(-len(figures) * 95 // 100) - 1)]


def build(path: Path) -> float:
    """Seconds that the index takes from nothing."""
    begun = time.perf_counter()
    with SearchIndex(path) as index:
        index.begin_anew()
        while index.take_in(_STEP):
            pass
    return time.perf_counter() - begun


if __name__ == "__main__":
    log = Path(sys.argv[1]) / "audit.db"
    if not index_of(log).exists():
        print(f"index made in {build(log):.0f} s")
    print(f"index: {index_of(log).stat().st_size / 1e6:.0f} MB; log: {log.stat().st_size / 1e6:.0f} MB")
    print(f"{'question':<32}{'p50 ms':>9}{'p95 ms':>9}{'deep p95':>10}")
    for name, (median, high, far) in measured(log, int(sys.argv[2]) if len(sys.argv) > 2 else 100).items():
        print(f"{name:<32}{median:>9.1f}{high:>9.1f}{far:>10.1f}")
