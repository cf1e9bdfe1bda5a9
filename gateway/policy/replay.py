"""A candidate over the audit log: what it would have decided on the very signals that were seen.

A record is `exact` if every signal, fact and detector version that the candidate's verdict depends on was recorded.
What was not recorded (who the person was, a detector that nobody ran) is tried in every way that the candidate can
tell apart: only if that makes no difference is the record exact. Where a detector makes one and the text itself was
kept, the detector can be run on it now: the record is `recomputed`. Otherwise it is not replayable, and counted so.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, product
from typing import Final

from msgspec import Struct, structs

from gateway.domain.signal import DetectorRun, Inspection
from gateway.domain.verdict import Evidence, RuleOutcome
from gateway.domain.vocabulary import Effect, Phase, RuleMode, RuleStatus, SignalStatus, SignalType, strictest
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledRule
from gateway.policy.recorded import Judgement, Recording, enforced, on_exchange
from gateway.policy.signals import detector_of

USER: Final = "principal.user"
NOBODY: Final = "?"  # a person whom no policy names
MOST_WAYS: Final = 64  # in which what was not recorded is tried

_UNRECORDED: Final = "unrecorded"
_FINE: Final = 1e-9
_MILLIONTH: Final = 1_000_000


Recompute = Callable[[Recording, Judgement, frozenset[str]], Inspection | None]
"""Runs these detectors on the kept text of a judgement; `None` if it was not kept, or cannot be opened."""


class Moved(Struct, frozen=True, order=True):
    """What a rule said on an exchange, then and now: its strictest enforced effect."""

    rule: str
    was: Effect
    would: Effect


class Replayed(Struct, frozen=True, kw_only=True):
    """One exchange asked again. `reason` says why it is not replayable, "" for one that is; `recomputed`: detectors
    were run on kept texts for that. `opens`: the candidate lets on what had been stopped, and what would have come
    after is not known."""

    exchange: str
    tenant: str
    app: str
    at: dt.datetime
    was: Effect
    would: Effect
    moved: tuple[Moved, ...] = ()
    opens: bool = False
    case: str = ""
    reason: str = ""
    recomputed: bool = False

    @property
    def exact(self) -> bool:
        return not self.reason and not self.recomputed


def replay(
    candidate: Bundle,
    recording: Recording,
    *,
    versions: Callable[[str], str] | None = None,
    recompute: Recompute | None = None,
) -> Replayed:
    """Ask the candidate about one exchange, at the time of that exchange. Pure but for `recompute`.

    `versions` gives the version of a detector as it would serve the candidate, "" for one that is not installed;
    without it the recorded versions count as current. `recompute` is asked only where the record does not suffice for
    want of a detector.
    """
    was: list[Effect] = []
    would: list[Effect] = []
    rules: dict[str, list[Effect]] = {}
    reason, opens, recomputed = "", False, False
    for judgement in recording.judgements:
        found = _again(candidate, judgement, recording.at, versions)
        if isinstance(found, str) and recompute is not None:
            completed = _completed(candidate, recording, judgement, versions, recompute)
            if completed is not None:
                found, recomputed = _again(candidate, completed, recording.at, versions), True
        if isinstance(found, str):
            reason = reason or found
            break
        was.append(on_exchange(judgement.phase, judgement.effect))
        effect = enforced(found)
        would.append(on_exchange(judgement.phase, effect))
        for index, outcomes in enumerate((judgement.outcomes, found)):
            for one in outcomes:
                if one.mode is not RuleMode.SHADOW:
                    sides = rules.setdefault(one.rule, [Effect.ALLOW, Effect.ALLOW])
                    sides[index] = strictest(sides[index], one.effect)
        opens = opens or (judgement.effect.stops and not effect.stops)
        if effect.stops and judgement.phase is Phase.QUERY:
            # Nothing was asked then: what the answer was made of counts no more.
            was += [on_exchange(one.phase, one.effect) for one in recording.judgements[1:]]
            break
    return Replayed(
        exchange=recording.exchange,
        tenant=recording.tenant,
        app=recording.app,
        at=recording.at,
        was=strictest(*was),
        would=strictest(*would),
        moved=tuple(Moved(rule, *sides) for rule, sides in sorted(rules.items()) if sides[0] is not sides[1]),
        opens=opens,
        case=recording.case,
        reason=reason,
        recomputed=recomputed and not reason,
    )


def likely_evidence(bundle: Bundle, judgement: Judgement, now: dt.datetime) -> Evidence | None:
    """The evidence of a judgement as the bundle takes it, with a person and sides of canaries that fit how it was
    recorded, if there are such; `None` where it holds no evidence."""
    if judgement.evidence is None:
        return None
    ways = _ways(bundle, _as_recorded(bundle, judgement.evidence, None), judgement, now)
    recorded = _told(judgement.outcomes)
    fitting = (way for way in ways if _told(_lifted(bundle.decide(way, now=now).outcomes, judgement)) == recorded)
    return next(fitting, ways[0])


def _again(
    candidate: Bundle, judgement: Judgement, now: dt.datetime, versions: Callable[[str], str] | None
) -> tuple[RuleOutcome, ...] | str:
    """The outcomes of the candidate's rules, or why they cannot be known."""
    if judgement.evidence is None:
        return judgement.missing
    evidence = _as_recorded(candidate, judgement.evidence, versions)
    same = judgement.policy == candidate.digest
    first: tuple[RuleOutcome, ...] | None = None
    doubt = ""
    ways = _ways(candidate, evidence, judgement if same else None, now)
    if len(ways) > MOST_WAYS:
        return "too many rules depend on the person, whom the log does not name"
    for way in ways:
        outcomes = _lifted(candidate.decide(way, now=now).outcomes, judgement)
        unknown = next((why for one in outcomes for why in one.why if why.endswith(_UNRECORDED)), "")
        if unknown:
            return f"detector {unknown.partition(':')[0]} did not run then, or in another version"
        if same and _told(outcomes) == _told(judgement.outcomes):
            return outcomes
        if first is None:
            first = outcomes
        elif _told(outcomes) != _told(first):
            doubt = "it depends on the person, whom the log does not name"
    near = _too_near(candidate, evidence)
    if near:
        return f"a score is nearer to the threshold of {near} than the log tells"
    assert first is not None
    return doubt or first


def _completed(
    candidate: Bundle,
    recording: Recording,
    judgement: Judgement,
    versions: Callable[[str], str] | None,
    recompute: Recompute,
) -> Judgement | None:
    """The judgement with what detectors that the record lacks see in the kept text; `None` if they lack none, or the
    text is not there."""
    if judgement.evidence is None:
        return None
    recorded = _as_recorded(candidate, judgement.evidence, versions)
    lacking = frozenset(name for name, run in recorded.runs.items() if run.reason == _UNRECORDED)
    seen = recompute(recording, judgement, lacking) if lacking else None
    if seen is None:
        return None
    values = {
        provenance: {name: value for name, value in own.items() if detector_of(name) not in lacking}
        for provenance, own in judgement.evidence.values.items()
    }
    for provenance, own in seen.values.items():
        values[provenance] = {**values.get(provenance, {}), **own}
    runs = {**judgement.evidence.runs, **{name: run for name, run in seen.runs.items() if name in lacking}}
    return structs.replace(judgement, evidence=structs.replace(judgement.evidence, values=values, runs=runs))


def _as_recorded(candidate: Bundle, evidence: Evidence, versions: Callable[[str], str] | None) -> Evidence:
    """The evidence with every detector that the candidate needs and the log has no result of marked as such."""
    runs = dict(evidence.runs)
    for detector in candidate.required(evidence.phase, evidence.fields):
        run = runs.get(detector)
        if run is None or (versions is not None and versions(detector) not in {run.version, ""}):
            runs[detector] = DetectorRun(detector=detector, version="", status=SignalStatus.NOT_RUN, reason=_UNRECORDED)
    return structs.replace(evidence, runs=runs)


def _ways(candidate: Bundle, evidence: Evidence, pinned: Judgement | None, now: dt.datetime) -> list[Evidence]:
    """The evidence with every person and every side of a canary that the candidate can tell apart, as long as there
    are few. `pinned`: the same policies decided then, so that the sides of canaries that spoke are known."""
    rules = candidate.view(evidence.phase, evidence.fields).rules
    people = sorted({NOBODY, *(word for rule in rules for word in _people(rule))})
    canaries = [rule.id for rule in rules if rule.share is not None and rule.share.by == "principal"]
    known = {one.rule: one.mode is RuleMode.CANARY for one in pinned.outcomes} if pinned is not None else {}
    spoke = {one.rule for person in people for one in candidate.decide(_of(evidence, person, {}), now=now).outcomes}
    open_ = [rule for rule in canaries if rule in spoke and rule not in known]
    sides = product([True, False], repeat=len(open_))
    every = product(people, islice(sides, MOST_WAYS + 1))
    return [
        _of(evidence, person, {**known, **dict(zip(open_, chosen, strict=True))})
        for person, chosen in islice(every, MOST_WAYS + 1)
    ]


def _of(evidence: Evidence, person: str, shares: Mapping[str, bool]) -> Evidence:
    return structs.replace(evidence, fields={**evidence.fields, USER: person}, shares=shares)


def _people(rule: CompiledRule) -> Iterator[str]:
    """The people whom a rule or its exceptions name."""
    for leaf in rule.leaves:
        if leaf.atom.name == USER and isinstance(leaf.atom.operand, frozenset):
            yield from leaf.atom.operand
    for exception in rule.exceptions:
        for match in exception.matches:
            if match.field == USER:
                yield from match.words


def _lifted(outcomes: Iterable[RuleOutcome], judgement: Judgement) -> tuple[RuleOutcome, ...]:
    """The outcomes without what a person had lifted: an escalation, or a passage's stop for its very text."""
    passage = judgement.phase is Phase.PASSAGE
    return tuple(
        structs.replace(one, effect=Effect.ALLOW)
        if one.rule in judgement.lifts and (one.effect is Effect.ESCALATE or (passage and one.effect.stops))
        else one
        for one in outcomes
    )


def _told(outcomes: Iterable[RuleOutcome]) -> list[tuple[str, RuleStatus, Effect, bool]]:
    """What of outcomes makes a difference."""
    return sorted((one.rule, one.status, one.effect, one.mode is RuleMode.SHADOW) for one in outcomes)


def _too_near(candidate: Bundle, evidence: Evidence) -> str:
    """A rule with a threshold of more than six digits in the same millionth as a score, "" if there is none."""
    scores = {
        (name, int(value * _MILLIONTH))
        for own in evidence.values.values()
        for name, value in own.items()
        if isinstance(value, float) and value == value  # noqa: PLR0124 -- not a number
    }
    for rule in candidate.view(evidence.phase, evidence.fields).rules:
        for leaf in rule.leaves:
            operand = leaf.atom.operand
            if leaf.atom.type is SignalType.SCORE and isinstance(operand, float):
                steps = operand * _MILLIONTH
                if abs(steps - round(steps)) > _FINE * _MILLIONTH and (leaf.atom.name, int(steps)) in scores:
                    return rule.id
    return ""


class Summary(Struct, frozen=True, kw_only=True):
    """A candidate over a log. The matrices count exact and recomputed exchanges by effect then and now."""

    total: int
    exact: int
    recomputed: int
    not_replayable: Mapping[str, int]  # by reason
    opened: int
    matrix: Mapping[tuple[Effect, Effect], int]
    by_app: Mapping[str, Mapping[tuple[Effect, Effect], int]]
    by_rule: Mapping[str, Mapping[tuple[Effect, Effect], int]]
    samples: Mapping[tuple[Effect, Effect], tuple[str, ...]]
    first: dt.datetime | None
    last: dt.datetime | None

    @property
    def changed(self) -> int:
        """Exchanges whose effect would have been another."""
        return sum(count for (was, would), count in self.matrix.items() if was is not would)

    @property
    def is_empty(self) -> bool:
        """Whether no verdict and no rule would have ended otherwise, as far as the log can tell."""
        return not self.changed and not self.by_rule

    def count(self, effect: Effect, *, now: bool) -> int:
        """Exchanges that ended in an effect then, or would now."""
        return sum(count for sides, count in self.matrix.items() if sides[int(now)] is effect)


def summarise(replayed: Iterable[Replayed], *, samples: int = 5) -> Summary:
    """All exchanges together; `samples` ids are kept of each transition."""
    total = exact = recomputed = opened = 0
    reasons: Counter[str] = Counter()
    matrix: Counter[tuple[Effect, Effect]] = Counter()
    by_app: dict[str, Counter[tuple[Effect, Effect]]] = {}
    by_rule: dict[str, Counter[tuple[Effect, Effect]]] = {}
    ids: dict[tuple[Effect, Effect], list[str]] = {}
    first = last = None
    for one in replayed:
        total += 1
        first, last = min(first or one.at, one.at), max(last or one.at, one.at)
        if one.reason:
            reasons[one.reason] += 1
            continue
        exact += one.exact
        recomputed += one.recomputed
        opened += one.opens
        sides = (one.was, one.would)
        matrix[sides] += 1
        by_app.setdefault(one.app, Counter())[sides] += 1
        for moved in one.moved:
            by_rule.setdefault(moved.rule, Counter())[moved.was, moved.would] += 1
        kept = ids.setdefault(sides, [])
        if one.was is not one.would and len(kept) < samples:
            kept.append(one.exchange)
    return Summary(
        total=total,
        exact=exact,
        recomputed=recomputed,
        not_replayable=dict(sorted(reasons.items())),
        opened=opened,
        matrix=matrix,
        by_app=dict(sorted(by_app.items())),
        by_rule=dict(sorted(by_rule.items())),
        samples={sides: tuple(kept) for sides, kept in ids.items() if kept},
        first=first,
        last=last,
    )
