"""What became of an exchange's passages: a human's release of a stopped one, and withdrawal while an answer is made."""

from collections.abc import Collection

from msgspec import structs

from gateway.domain.passage import Standing
from gateway.domain.ports import Retriever
from gateway.domain.verdict import RuleOutcome, Verdict
from gateway.domain.vocabulary import Effect, RuleMode, RuleStatus, strictest
from gateway.exchange import Exchange
from gateway.policy.recorded import RELEASED
from gateway.settings import RetrievalSettings

WITHDRAWN = "gateway.source_withdrawn"
"""Reason of the stop when a document that an answer is made of was deleted or closed to the caller meanwhile."""

_MESSAGE = "A source of this answer is no longer available to you. Please ask again."


def released(verdict: Verdict, rules: Collection[str]) -> Verdict:
    """The verdict on a passage without the stops of the rules that a human has lifted for its very text. All else
    stays: redactions, and the stops of other rules."""
    if not rules:
        return verdict
    outcomes = tuple(
        structs.replace(outcome, effect=Effect.ALLOW, exception=RELEASED)
        if outcome.rule in rules and outcome.effect.stops and outcome.status is RuleStatus.MATCHED
        else outcome
        for outcome in verdict.outcomes
    )
    if outcomes == verdict.outcomes:
        return verdict
    effect = strictest(*(outcome.effect for outcome in outcomes if outcome.mode is not RuleMode.SHADOW))
    left = tuple(one for one in verdict.obligations.escalations if one.rule not in rules)
    return structs.replace(
        verdict,
        outcomes=outcomes,
        effect=effect,
        obligations=structs.replace(verdict.obligations, escalations=left),
        message=verdict.message if effect.stops else "",
    )


async def check_sources(exchange: Exchange, retriever: Retriever, settings: RetrievalSettings) -> None:
    """Note whether a document that the model was shown has been deleted, or closed to the caller, since then.
    Where that cannot be known, the answer ends as a search that fails would end it."""
    if exchange.withdrawn or not exchange.shown:
        return
    standing = await retriever.standing(exchange.principal, exchange.retrieval, exchange.shown)
    refuses = settings.on_failure == "refuse"
    exchange.withdrawn = standing is Standing.WITHDRAWN or (standing is Standing.UNKNOWN and refuses)


def withdrawn(verdict: Verdict) -> Verdict:
    """The verdict on text that is made of a withdrawn document: nothing more of it leaves."""
    outcome = RuleOutcome(rule=WITHDRAWN, status=RuleStatus.MATCHED, effect=Effect.REFUSE)
    return structs.replace(verdict, outcomes=(*verdict.outcomes, outcome), effect=Effect.REFUSE, message=_MESSAGE)
