"""What a decision costs: the evaluator timed on evidence, phase by phase."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from gateway.domain.verdict import Evidence
from gateway.domain.vocabulary import Phase
from gateway.policy.bundle import Bundle
from gateway.policy.signals import detector_of
from gateway.policy.trials import quiet_evidence, trial_evidence


class Cost(Struct, frozen=True, kw_only=True):
    """Times of decisions in microseconds. `kind` says on what: `quiet` (nothing was found), `tests` (the evidence of
    the bundle's own tests), `given`; `rules` is how many apply to the first of them."""

    phase: Phase
    kind: str
    rules: int
    decisions: int
    p50_us: float
    p99_us: float
    max_us: float


def costs(
    bundle: Bundle,
    *,
    now: dt.datetime,
    decisions: int,
    clock_ns: Callable[[], int],
    given: Sequence[Evidence] = (),
) -> tuple[Cost, ...]:
    """The cost of at least `decisions` decisions of each kind in each phase that has rules. Views are built before,
    since a gateway builds them once; CPU-bound, for as long as that takes."""
    detectors = {detector_of(signal) for signal in bundle.signals}.union(*(rule.detectors for rule in bundle.rules))
    found = []
    for phase in Phase:
        kinds: Mapping[str, list[Evidence]] = {
            "quiet": [quiet_evidence(phase, detectors)],
            "tests": [trial_evidence(trial, phase, detectors) for trial in bundle.trials if phase in trial.phases],
            "given": [one for one in given if one.phase is phase],
        }
        for kind, evidence in kinds.items():
            rules = len(bundle.view(phase, evidence[0].fields).rules) if evidence else 0
            if rules:
                times = sorted(_times(bundle, evidence, now, decisions, clock_ns))
                found.append(_cost(phase, kind, rules, times))
    return tuple(found)


def _times(
    bundle: Bundle, evidence: Sequence[Evidence], now: dt.datetime, decisions: int, clock_ns: Callable[[], int]
) -> Iterable[int]:
    for one in evidence:
        bundle.decide(one, now=now)
    rounds = -(-decisions // len(evidence))
    for _ in range(rounds):
        for one in evidence:
            start = clock_ns()
            bundle.decide(one, now=now)
            yield clock_ns() - start


def _cost(phase: Phase, kind: str, rules: int, times: Sequence[int]) -> Cost:
    def at(share: float) -> float:
        return times[min(len(times) - 1, int(share * len(times)))] / 1000

    return Cost(
        phase=phase,
        kind=kind,
        rules=rules,
        decisions=len(times),
        p50_us=at(0.5),
        p99_us=at(0.99),
        max_us=times[-1] / 1000,
    )
