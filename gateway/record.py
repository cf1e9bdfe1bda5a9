"""What the audit log keeps of an exchange. No free text: identifiers, counts, codes, and commitments to texts.

Scores are integers in millionths, so that an event has one canonical form whatever computes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, assert_never

from gateway.captured import answered_texts, asked_texts, captured
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.principal import Principal
from gateway.domain.signal import DetectorRun, Inspection, SignalValue
from gateway.domain.verdict import RuleOutcome, Verdict
from gateway.domain.vocabulary import Effect, Provenance, RuleMode, SignalStatus, strictest
from gateway.enforce.answer import AnswerRelease
from gateway.enforce.evidence import EvidenceSum
from gateway.enforce.release import TextRelease
from gateway.exchange import Exchange, JudgedPassage
from gateway.judged import identifier, identifiers, recorded_passage, recorded_sight, recorded_values
from gateway.policy.recorded import UNOFFERED, on_exchange


def intent(exchange: Exchange) -> EventDraft:
    """Written before anything goes upstream: who asks what, what was seen in it, and what the policies say."""
    prompt, verdict = exchange.call.prompt, exchange.query
    assert verdict is not None
    body: dict[str, Any] = {
        "route": exchange.call.route,
        "auth": exchange.principal.auth,
        "key": exchange.principal.key_id,
        "groups": sorted(exchange.principal.groups),
        "model": prompt.model,
        "stream": prompt.stream,
        "segments": len(prompt.segments),
        "quarantined": prompt.quarantined,
        "query": Commitment(text=prompt.question),
        "phase": _phase(verdict, exchange.inspection.values, exchange.inspection.runs),
        "coverage": _coverage(exchange.inspection.runs, prompt.unscanned),
        "exceptions": _exceptions([verdict]),
        "facts": {"roles": sorted(exchange.principal.roles), "tools": identifiers(prompt.tools)},
    }
    _add_would_be(body, exchange, verdict.effect, [verdict])
    return captured(_draft(EventType.INTENT, exchange.id, exchange.principal, body), exchange, asked_texts)


def settled(
    exchange: Exchange,
    kind: EventType,
    *,
    answer: AnswerRelease | None = None,
    released: str = "",
    usage: Mapping[str, Any] | None = None,
    provider: str = "",
    answered_by: str = "",
    response_id: str = "",
    finish: str = "",
    error: str = "",
    took_us: int,
) -> EventDraft:
    """Written before release: what was retrieved and shown, what the policies said of the answer, what leaves."""
    texts = answer.texts if answer else []
    verdicts = answer.verdicts if answer else []
    effect = exchange.effect(answer.effect if answer else Effect.ALLOW)
    body: dict[str, Any] = {
        "effect": "error" if error else effect.value,
        "reasons": list(exchange.reasons(*verdicts)),
        "policy": exchange.policy.digest,
        "retrieval": _retrieval(exchange),
        "model": {
            "name": exchange.call.prompt.model,
            "provider": provider,
            "answered_by": answered_by,
            "response_id": response_id,
            **_usage(usage),
        },
        "answer": [_phase(verdict, {}, {}) for verdict in verdicts],
        "signals": [
            _signals(text.evidence.values, text.evidence.runs)
            | ({"rules": [_outcome(outcome) for outcome in text.verdicts[-1].outcomes]} if text.verdicts else {})
            for text in texts
        ],
        "calls": _calls(exchange),
        "coverage": _coverage(_all_runs(texts), ()) if texts else None,
        "redacted": {
            "query": dict(sorted(exchange.query_redacted.items())),
            "answer": dict(sorted((answer.redacted if answer else {}).items())),
        },
        "exceptions": _exceptions([*_judged_before(exchange), *verdicts]),
        "release": {
            "kind": _release_kind(exchange, effect, released=bool(released), error=error),
            "chars": len(released),
            "bytes": len(released.encode("utf-8", "surrogatepass")),
            "content": Commitment(text=released),
            "finish": finish,
        },
        "buffered": exchange.buffered,
        "took_us": took_us,
    }
    _add_would_be(body, exchange, effect, [*_judged_before(exchange), *verdicts])
    if exchange.case:
        body["case"] = exchange.case
    if error:
        body["error"] = error
    draft = _draft(kind, exchange.id, exchange.principal, body)
    return captured(draft, exchange, lambda _: answered_texts(exchange, answer, released))


def stream_opened(exchange: Exchange) -> EventDraft:
    """Written before the first byte of a stream."""
    body = {
        "policy": exchange.policy.digest,
        "retrieval": _retrieval(exchange, seen=False),
        "buffered": exchange.buffered,
    }
    return captured(_draft(EventType.STREAM_OPEN, exchange.id, exchange.principal, body), exchange, lambda _: ())


def rejected(exchange_id: str, *, route: str, principal: Principal | None, code: str, status: int) -> EventDraft:
    """A request that failed before it had an intent."""
    body = {"route": route, "code": code, "status": status}
    if principal is None:
        return EventDraft(type=EventType.REJECTED, request=exchange_id, body=body)
    return _draft(EventType.REJECTED, exchange_id, principal, body)


def _draft(kind: EventType, exchange_id: str, principal: Principal, body: dict[str, Any]) -> EventDraft:
    return EventDraft(
        type=kind,
        request=exchange_id,
        tenant=principal.tenant,
        app=principal.app,
        principal=principal.ref,
        body=body,
    )


def _add_would_be(body: dict[str, Any], exchange: Exchange, effect: Effect, verdicts: Sequence[Verdict]) -> None:
    """What rules that are only observed, and the candidate's, would have made of what was judged so far."""
    observed = [
        (verdict.phase, outcome)
        for verdict in verdicts
        for outcome in verdict.outcomes
        if outcome.mode is RuleMode.SHADOW and outcome.effect is not Effect.ALLOW
    ]
    if observed:
        would = strictest(effect, *(on_exchange(phase, outcome.effect) for phase, outcome in observed))
        body["shadow"] = {"would": would.value, "rules": sorted({outcome.rule for _, outcome in observed})}
    candidate = exchange.rulebook.candidate
    if candidate is not None:
        rehearsed = exchange.rehearsed
        body["candidate"] = {
            "policy": candidate.policy.digest,
            "would": strictest(*(on_exchange(one.phase, one.effect) for one in rehearsed)).value,
            "rules": sorted({rule for one in rehearsed for rule in one.rules}),
            "errors": sorted({one.error for one in rehearsed if one.error}),
        }


def _phase(
    verdict: Verdict, values: Mapping[Provenance, Mapping[str, SignalValue]], runs: Mapping[str, DetectorRun]
) -> dict[str, Any]:
    phase: dict[str, Any] = {
        "phase": verdict.phase.value,
        "effect": verdict.effect.value,
        "policy": verdict.policy,
        "evaluated": verdict.evaluated,
        "rules": [_outcome(outcome) for outcome in verdict.outcomes],
    }
    if verdict.obligations.notify:
        phase["notify"] = list(verdict.obligations.notify)
    if runs:
        phase["signals"] = _signals(values, runs)
    return phase


def _outcome(outcome: RuleOutcome) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": outcome.rule,
        "status": outcome.status.value,
        "effect": outcome.effect.value,
        "mode": outcome.mode.value,
        "why": list(outcome.why),
    }
    if outcome.exception:
        entry["exception"] = outcome.exception
    return entry


def _signals(values: Mapping[Provenance, Mapping[str, SignalValue]], runs: Mapping[str, DetectorRun]) -> dict[str, Any]:
    return {
        "detectors": [
            {
                "name": run.detector,
                "version": run.version,
                "status": run.status.value,
                "reason": run.reason,
                "us": run.took_us,
                "cached": run.cached,
                "scanned": run.scanned,
            }
            for _, run in sorted(runs.items())
        ],
        "values": recorded_values(values),
    }


def _calls(exchange: Exchange) -> list[dict[str, Any]]:
    offered = exchange.call.prompt.tools
    return [
        {
            "tool": identifier(call.tool) if call.tool in offered else UNOFFERED,
            "effect": call.verdict.effect.value,
            "rules": [_outcome(outcome) for outcome in call.verdict.outcomes],
            "seen": recorded_sight(call.values, call.runs),
        }
        for call in exchange.calls
    ]


def _coverage(runs: Mapping[str, DetectorRun], unscanned: Iterable[str]) -> dict[str, Any]:
    return {
        "required": sorted(runs),
        "ran": sorted(name for name, run in runs.items() if run.status is SignalStatus.OK),
        "not_ok": [
            {"name": name, "status": run.status.value, "reason": run.reason}
            for name, run in sorted(runs.items())
            if run.status is not SignalStatus.OK
        ],
        "unscanned": sorted(unscanned),
    }


def _all_runs(texts: Iterable[TextRelease]) -> Mapping[str, DetectorRun]:
    total = EvidenceSum()
    for text in texts:
        total.add(Inspection(runs=text.evidence.runs))
    return total.runs


def _judged_before(exchange: Exchange) -> list[Verdict]:
    own = [exchange.query] if exchange.query else []
    return [*own, *(judged.verdict for judged in exchange.passages)]


def _exceptions(verdicts: Iterable[Verdict]) -> list[str]:
    """Ids of the exceptions and approvals that lifted a match, sorted and distinct."""
    return sorted({outcome.exception for verdict in verdicts for outcome in verdict.outcomes if outcome.exception})


def _release_kind(exchange: Exchange, effect: Effect, *, released: bool, error: str) -> str:
    if not released:
        return "none" if error or effect.stops or not exchange.call.route.endswith("/embeddings") else "vectors"
    match effect:
        case Effect.ESCALATE:
            return "hold"
        case Effect.REFUSE:
            return "notice"
        case Effect.REDACT:
            return "redacted"
        case Effect.ALLOW | Effect.FLAG:
            return "answer"
        case _:
            assert_never(effect)


def _retrieval(exchange: Exchange, *, seen: bool = True) -> dict[str, Any]:
    """`seen`: with what the verdicts on the passages were made on; once an exchange is enough."""
    retrieval = exchange.retrieval
    return {
        "status": retrieval.status.value,
        "reason": retrieval.reason,
        "store": retrieval.store,
        "index_rev": retrieval.index_rev,
        "filter": retrieval.filter,
        "access_dropped": retrieval.dropped,
        "us": retrieval.took_us,
        "passages": _passages(exchange.passages, seen=seen),
    }


def _passages(passages: Sequence[JudgedPassage], *, seen: bool) -> list[dict[str, Any]]:
    return [
        {
            "id": judged.passage.id,
            "rev": judged.passage.revision,
            "content": Commitment(text=judged.passage.text),
            "score_e6": round(judged.passage.score * 1_000_000),
            "kept": judged.kept,
            "effect": judged.verdict.effect.value,
            "rules": [_outcome(outcome) for outcome in judged.verdict.outcomes],
            **(_passage_evidence(judged) if seen else {}),
        }
        for judged in passages
    ]


def _passage_evidence(judged: JudgedPassage) -> dict[str, Any]:
    seen = judged.inspection
    return {"facts": recorded_passage(judged.passage), "seen": recorded_sight(seen.values, seen.runs)}


def _usage(usage: Mapping[str, Any] | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, key in (("tokens_in", "prompt_tokens"), ("tokens_out", "completion_tokens")):
        count = usage.get(key) if usage else None
        if isinstance(count, int) and not isinstance(count, bool):
            found[name] = count
    return found
