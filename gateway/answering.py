"""Steps 9 and 10: what the model is asked, and how its answer is judged."""

from typing import Final

from gateway.domain.errors import UpstreamError
from gateway.domain.model import Body, ModelRequest
from gateway.domain.vocabulary import Phase
from gateway.enforce.answer import AnswerPlan
from gateway.enforce.release import Cut, TextRelease
from gateway.enforce.units import Granularity
from gateway.escalation import answer_facts
from gateway.exchange import Exchange, Ports
from gateway.judging import Judging
from gateway.retrieval.context import build_context, list_sources
from gateway.retrieving import UNREACHABLE
from gateway.stopping import hold_answer, stop_answer
from gateway.wire.chat import with_context, with_system_prompt

_WITHOUT_SOURCES: Final = (
    "Note: the organisation's documents could not be searched, so this answer is not based on them."
)


def model_request(exchange: Exchange, body: Body) -> ModelRequest:
    """What the model gets: the judged body, the passages that were kept, and the app's own instructions."""
    prompt = exchange.call.prompt
    if exchange.shown:
        body = with_context(body, prompt.question_address, build_context(exchange.shown))
    if exchange.app.system_prompt:
        body = with_system_prompt(body, exchange.app.system_prompt)
    return ModelRequest(
        model=prompt.model,
        body=body,
        passages=exchange.shown,
        question=exchange.question,
        exchange=exchange.id,
    )


def answer_plan(exchange: Exchange, judging: Judging, ports: Ports) -> AnswerPlan:
    """How the answer of an exchange whose query has a verdict is judged: in units as small as its policies allow."""
    policy, fields = exchange.policy, exchange.fields
    exchange.ground()
    facts = answer_facts(exchange)
    exchange.buffered = bool(policy.whole_answer_rules(fields))
    cut = (
        Cut(granularity=Granularity.WHOLE)
        if exchange.buffered
        else exchange.rulebook.growth.cut(policy.required(Phase.ANSWER, fields) - policy.noted(fields))
    )
    assert exchange.query is not None
    return AnswerPlan(
        judge=judging.answer_judge(exchange, facts),
        judge_call=lambda tool: judging.call_judge(exchange, facts, tool),
        redactor=exchange.redactor,
        cut=cut,
        json_answer=exchange.call.prompt.json_answer,
        obligations=exchange.query.obligations,
        sources=list_sources(exchange.shown),
        caveat=_WITHOUT_SOURCES if exchange.retrieval.status in UNREACHABLE else "",
        on_stop=lambda verdict, candidate: stop_answer(ports, exchange, verdict, candidate),
        on_hold=lambda verdicts, candidate, held: hold_answer(ports, exchange, verdicts, candidate, held),
    )


async def judged_error(exchange: Exchange, error: UpstreamError, judging: Judging, ports: Ports) -> UpstreamError:
    """The error with the upstream's own words, if the policies let them pass as they are."""
    plan = answer_plan(exchange, judging, ports)
    release = TextRelease(plan.judge, plan.redactor, Cut(granularity=Granularity.WHOLE))
    released = await release.whole(error.upstream_message)
    if not released.text or released.changed or release.stopped is not None:
        return error
    return error.with_message(f"{error.message}: {released.text}")
