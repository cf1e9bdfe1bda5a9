"""Parts of the hot path on their own: the pattern tier, a policy decision, the audit log."""

import asyncio
import itertools
import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from gateway.audit.log import SqliteAuditLog
from gateway.detectors import build_detectors, installed_signals
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.ports import Detector, Embedder
from gateway.domain.signal import DetectorRun
from gateway.domain.verdict import Evidence
from gateway.domain.vocabulary import Phase, Provenance, SignalStatus
from gateway.policy.bundle import Bundle
from gateway.policy.load import load_bundle
from gateway.settings import InspectionSettings
from tests.bench.workload import pattern_rules, personal_rules, unique_word

_WORDS = ("account", "balance", "branch", "closing", "interest", "leaflet", "paid", "quarter", "statement", "year")
_FIELDS: dict[str, Any] = {
    "principal.tenant": "bench",
    "principal.app": "bench",
    "principal.user": "load",
    "principal.groups": frozenset({"staff"}),
    "principal.roles": frozenset(),
    "request.route": "/v1/chat/completions",
    "request.model": "fast",
    "request.stream": False,
    "request.tools": frozenset(),
    "request.unscanned": frozenset(),
}


class Micro(Struct, frozen=True, kw_only=True):
    """Figures in microseconds, but for `audit_per_s`. Patterns: per 1,000 words, by the length of the text."""

    patterns_us: dict[int, float]
    decide_quiet_p50_us: float
    decide_quiet_p99_us: float
    decide_busy_p50_us: float
    decide_busy_p99_us: float
    audit_per_s: float
    audit_alone_per_s: float


def measure(folder: Path, *, quick: bool) -> Micro:
    scale = 1 if quick else 4
    quiet, busy = _decisions(_bundle(folder / "decide", rules=500), 1_000 * scale)
    return Micro(
        patterns_us=_patterns(_bundle(folder / "patterns", rules=1_000), 20 * scale),
        decide_quiet_p50_us=quiet[0],
        decide_quiet_p99_us=quiet[1],
        decide_busy_p50_us=busy[0],
        decide_busy_p99_us=busy[1],
        audit_per_s=asyncio.run(_audit(folder / "many.db", clients=32, events=60 * scale)),
        audit_alone_per_s=asyncio.run(_audit(folder / "alone.db", clients=1, events=60 * scale)),
    )


def _bundle(folder: Path, *, rules: int) -> Bundle:
    folder.mkdir(parents=True)
    for name, policy in (("patterns", pattern_rules(rules)), ("personal", personal_rules("pii_patterns"))):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(policy, sort_keys=False), encoding="utf-8")
    return load_bundle([folder], signals=installed_signals(InspectionSettings()), now=datetime.now(UTC))


def _patterns(bundle: Bundle, rounds: int) -> dict[int, float]:
    """The time of all inline detectors together; every text is new."""
    detectors = build_detectors(bundle, InspectionSettings(), _no_embedder)
    numbers = itertools.count()
    return {words: _scan_us(detectors, words, rounds, numbers) * 1_000 / words for words in (100, 300, 1_000, 3_000)}


def _scan_us(detectors: list[Detector], words: int, rounds: int, numbers: "itertools.count[int]") -> float:
    took = []
    for _ in range(rounds):
        text = " ".join([unique_word(next(numbers)), *(_WORDS[i % len(_WORDS)] for i in range(words - 1))])
        began = time.perf_counter()
        for detector in detectors:
            detector.scan([text])
        took.append((time.perf_counter() - began) * 1e6)
    return statistics.median(took)


def _no_embedder() -> Embedder:
    raise AssertionError("the profile needs no embeddings")


def _decisions(bundle: Bundle, rounds: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """p50 and p99 of a decision on a text without findings, and on one with personal data and five patterns."""
    runs = {
        name: DetectorRun(detector=name, version="9", status=SignalStatus.OK) for name in ("patterns", "pii_patterns")
    }
    seen: dict[str, Any] = {f"pattern.p{number:04d}": True for number in range(0, 500, 100)}
    seen |= {"pii_patterns.entities": frozenset({"CREDIT_CARD", "EMAIL_ADDRESS"}), "pii_patterns.count": 2}
    quiet = Evidence(phase=Phase.QUERY, fields=_FIELDS, runs=runs)
    busy = Evidence(phase=Phase.QUERY, fields=_FIELDS, values={Provenance.USER: seen}, runs=runs)
    return _decide_us(bundle, quiet, rounds), _decide_us(bundle, busy, rounds)


def _decide_us(bundle: Bundle, evidence: Evidence, rounds: int) -> tuple[float, float]:
    now = datetime.now(UTC)
    bundle.decide(evidence, now=now)
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        bundle.decide(evidence, now=now)
        took.append((time.perf_counter() - began) * 1e6)
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


async def _audit(path: Path, *, clients: int, events: int) -> float:
    """Durable events a second."""
    numbers = itertools.count()
    log = SqliteAuditLog.open(
        path,
        log_name="bench",
        group_max_events=256,
        append_timeout_s=30.0,
        reserve_bytes=0,
        clock=lambda: datetime.now(UTC),
        ids=lambda: f"{next(numbers):032x}",
        salts=lambda: os.urandom(32),
    )
    body = {
        "route": "/v1/chat/completions",
        "model": "fast",
        "query": Commitment(text="when is interest paid? " * 10),
        "phase": {"effect": "allow", "policy": "sha256:" + "0" * 64, "rules": [], "evaluated": 500},
    }

    async def client() -> None:
        for _ in range(events):
            await log.append(EventDraft(type=EventType.INTENT, request=f"{next(numbers):032x}", tenant="t", body=body))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    took = time.perf_counter() - began
    log.close()
    return clients * events / took
