"""A trial run as a page shows it: the numbered steps of the request path, with what each of them did.

What the person typed is shown as typed. What others wrote (passages, the model) is shown with personal data masked, as
everywhere in the console, and not at all if it cannot be looked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from gateway.console.difference import Stretch, differences
from gateway.console.parts import Parts
from gateway.console.policies_explain import spoken
from gateway.console.shown_text import ShownText, narrow_findings, shown_text
from gateway.console.tryit_run import Trial, TrialRun, content_of
from gateway.domain.event import EventType
from gateway.domain.signal import Finding
from gateway.domain.vocabulary import Phase
from gateway.policy.explain import RuleExplanation
from gateway.policy.explain_recorded import ExplainedJudgement


class JudgedStep(Struct, frozen=True, kw_only=True):
    """A verdict: the rules that spoke, and those that did not match. `missing` says what could not be explained."""

    effect: str
    reasons: tuple[str, ...]
    rules: tuple[RuleExplanation, ...] = ()
    others: tuple[RuleExplanation, ...] = ()
    missing: str = ""


class PassageStep(Struct, frozen=True, kw_only=True):
    """A passage that was found: how it was judged, and whether the model saw it."""

    id: str
    title: str
    revision: str
    effect: str
    rules: tuple[str, ...]
    kept: bool
    text: ShownText


class Proof(Struct, frozen=True, kw_only=True):
    """Where in the audit log an event of the run stands."""

    seq: int
    id: str


class TrialView(Struct, frozen=True, kw_only=True):
    """`question` is as typed, with findings marked, `about` kinds of longer stretches; `asked` is what is left of it
    for the model. `before` and `after` are the model's answer and what a client gets, `changes` what lies between
    them. Steps that were not reached are empty. `took_ms` has the time of each step in milliseconds."""

    exchange: str
    effect: str
    reasons: tuple[str, ...]
    error: str
    held: bool
    case: str
    question: ShownText
    about: tuple[str, ...]
    asked: str
    redacted: tuple[tuple[str, int], ...]
    query: JudgedStep | None
    intent: Proof | None
    search: str
    retrieval: str
    reached_retrieval: bool
    passages: tuple[PassageStep, ...]
    system: str
    reached_model: bool
    answered_by: str
    before: ShownText
    answers: tuple[JudgedStep, ...]
    after: ShownText
    changes: tuple[Stretch, ...]
    outcome: Proof | None
    release: str
    took_ms: Mapping[str, float]


async def view_trial(parts: Parts, trial: Trial, run: TrialRun) -> TrialView:
    """What to show of a run."""
    watched = run.watched
    intent, outcome = watched.event(EventType.INTENT), watched.event(EventType.OUTCOME)
    told: Mapping[str, Any] = outcome.draft.body if outcome else {}
    before = content_of(watched.answered.body if watched.answered else None)
    after = content_of(run.reply)
    found = watched.retrieval.passages if watched.retrieval else ()
    texts = [*(passage.text for passage in found), before, after]
    personal = await parts.find_personal(texts)
    places: Sequence[Sequence[Finding] | None] = personal if personal is not None else [None] * len(texts)
    shown = [shown_text(text, own, masked=True) for text, own in zip(texts, places, strict=True)]
    masked_before, masked_after = _plain(shown[-2]), _plain(shown[-1])
    narrow, about = narrow_findings(trial.text, run.findings)
    verdicts = {one["id"]: one for one in (told.get("retrieval") or {}).get("passages", ())}
    return TrialView(
        exchange=run.exchange,
        effect=str(told.get("effect", "")),
        reasons=tuple(told.get("reasons", ())),
        error=run.error,
        held=watched.held,
        case=str(told.get("case", "")),
        question=shown_text(trial.text, narrow, masked=False),
        about=about,
        asked=watched.asked.question if watched.asked else "",
        redacted=tuple((told.get("redacted") or {}).get("query", {}).items()),
        query=next((_judged(one) for one in run.judgements if one.phase is Phase.QUERY), None),
        intent=Proof(seq=intent.receipt.seq, id=intent.receipt.id) if intent else None,
        search=watched.query,
        retrieval=watched.retrieval.status.value if watched.retrieval else "",
        reached_retrieval=watched.retrieval is not None,
        passages=tuple(
            PassageStep(
                id=passage.id,
                title=passage.title,
                revision=passage.revision,
                effect=str(verdicts.get(passage.id, {}).get("effect", "")),
                rules=tuple(rule["id"] for rule in verdicts.get(passage.id, {}).get("rules", ())),
                kept=bool(verdicts.get(passage.id, {}).get("kept")),
                text=shown[index],
            )
            for index, passage in enumerate(found)
        ),
        system=parts.settings.app(trial.principal.app).system_prompt,
        reached_model=watched.asked is not None,
        answered_by=" ".join(dict.fromkeys((watched.answered.provider, watched.answered.model)))
        if watched.answered
        else "",
        before=shown[-2],
        answers=tuple(_judged(one) for one in run.judgements if one.phase in {Phase.ANSWER, Phase.TOOL_CALL}),
        after=shown[-1],
        changes=differences(masked_before, masked_after) if before and before != after and personal else (),
        outcome=Proof(seq=outcome.receipt.seq, id=outcome.receipt.id) if outcome else None,
        release=str((told.get("release") or {}).get("kind", "")),
        took_ms=_times(run),
    )


def _judged(judgement: ExplainedJudgement) -> JudgedStep:
    if judgement.explanation is None:
        return JudgedStep(effect=judgement.effect.value, reasons=(), missing=judgement.missing)
    rules, others = spoken(judgement.explanation)
    return JudgedStep(
        effect=judgement.effect.value, reasons=judgement.explanation.verdict.reasons, rules=rules, others=others
    )


def _times(run: TrialRun) -> dict[str, float]:
    """Between the watched steps lies the judging: of the question, of the passages, of the answer."""
    spans = run.watched.spans
    whole, intent, ask = spans["run"], spans.get("intent"), spans.get("ask")
    found, outcome = spans.get("retrieve"), spans.get("outcome")
    parts: dict[str, int] = {"run": whole.end_us - whole.start_us}
    if intent:
        parts |= {"inspect": intent.start_us - whole.start_us, "intend": intent.end_us - intent.start_us}
    if found:
        parts["retrieve"] = found.end_us - found.start_us
        following = ask or outcome
        if following:
            parts["passages"] = following.start_us - found.end_us
    if ask:
        parts["ask"] = ask.end_us - ask.start_us
        if outcome:
            parts["answer"] = outcome.start_us - ask.end_us
    if outcome:
        parts["settle"] = outcome.end_us - outcome.start_us
    return {name: max(0, span) / 1000 for name, span in parts.items()}


def _plain(text: ShownText) -> str:
    """The text with `[KIND]` in place of what is masked."""
    return "".join(piece.text or f"[{piece.kind}]" for piece in text.pieces)
