"""Answers under way whose documents go, and passages that a human has released."""

import pytest
from msgspec import structs
from pipeline.test_pipeline import Bench, content_of, endings, streamed_content
from support.fakes import FakePolicy, FakeRetriever, FakeUpstream

from gateway.domain.passage import Passage, Standing
from gateway.domain.verdict import Escalation, Obligations, RuleOutcome, Verdict
from gateway.domain.vocabulary import Effect, Phase, RuleMode, RuleStatus
from gateway.sources import WITHDRAWN, released, withdrawn

FEES = Passage(doc="fees", number=0, revision="r1", title="Fees", text="Fees are low.", access=frozenset({"staff"}))
ANSWER = "Fees are low [1]. They stay so. That is all."


def bench(stands, *, on_failure="refuse", upstream=None, passages=(FEES,)):
    made = Bench(retriever=FakeRetriever(*passages), upstream=upstream or FakeUpstream(ANSWER), on_failure=on_failure)
    made.retriever.stands = stands
    return made


def always(standing):
    return lambda _: standing


async def test_an_answer_whose_document_went_meanwhile_does_not_leave():
    gone = bench(always(Standing.WITHDRAWN))
    reply = await gone.ask()
    assert "Fees" not in content_of(reply)
    assert "no longer available" in content_of(reply)
    assert gone.audit.last["effect"] == "refuse"
    assert WITHDRAWN in gone.audit.last["reasons"]


async def test_a_stream_ends_at_the_sentence_before_which_the_document_went():
    gone = bench(
        lambda check: Standing.CURRENT if check < 2 else Standing.WITHDRAWN,
        upstream=FakeUpstream(pieces=["Fees are low [1]. ", "They stay ", "so. ", "That is all."]),
    )
    _, chunks = await gone.stream()
    text = streamed_content(chunks)
    assert text.startswith("Fees are low [1].")
    assert "That is all" not in text
    assert "no longer available" in text
    assert endings(chunks) == ["content_filter"]
    assert WITHDRAWN in gone.audit.last["reasons"]


@pytest.mark.parametrize(("on_failure", "leaves"), [("refuse", False), ("answer_without", True)])
async def test_where_it_cannot_be_known_the_settings_decide(on_failure, leaves):
    reply = await bench(always(Standing.UNKNOWN), on_failure=on_failure).ask()
    assert ("Fees are low" in content_of(reply)) is leaves


async def test_sources_that_stand_change_nothing_and_answers_without_any_are_not_checked():
    fine = bench(always(Standing.CURRENT))
    assert content_of(await fine.ask()) == ANSWER
    assert fine.retriever.checks == 1
    without = bench(always(Standing.WITHDRAWN), passages=())
    assert ANSWER in content_of(await without.ask())
    assert without.retriever.checks == 0


STOPS = {Phase.PASSAGE: {"forbidden": Effect.REFUSE, "ask-human": Effect.ESCALATE}}


@pytest.mark.parametrize(
    ("text", "rules", "kept"),
    [
        ("A forbidden one.", (), False),
        ("A forbidden one.", ("R-forbidden",), True),
        ("A forbidden one.", ("R-ask-human",), False),
        ("Some advice.", ("R-ask-human",), True),
        ("A forbidden advice.", ("R-ask-human",), False),
        ("A forbidden advice.", ("R-ask-human", "R-forbidden"), True),
    ],
)
async def test_a_released_passage_is_shown_although_these_rules_stop_it(text, rules, kept):
    passage = structs.replace(FEES, text=text, released=frozenset(rules))
    made = Bench(FakePolicy(STOPS), retriever=FakeRetriever(passage), upstream=FakeUpstream("So it is."))
    await made.ask()
    [recorded] = made.audit.last["retrieval"]["passages"]
    assert recorded["kept"] is kept
    lifted = {rule["id"] for rule in recorded["rules"] if rule.get("exception") == "released"}
    assert lifted == {rule for rule in rules if rule in {one["id"] for one in recorded["rules"]}}


def verdict(*outcomes, escalations=()):
    return Verdict(
        phase=Phase.PASSAGE,
        effect=max((one.effect for one in outcomes), key=lambda effect: effect.rank),
        policy="p",
        outcomes=outcomes,
        obligations=Obligations(escalations=escalations),
        message="m",
    )


def outcome(rule, effect=Effect.REFUSE, status=RuleStatus.MATCHED, mode=RuleMode.ENFORCE):
    return RuleOutcome(rule=rule, status=status, effect=effect, mode=mode)


def test_a_release_lifts_matches_and_no_failures():
    failed = verdict(outcome("A", status=RuleStatus.ERROR))
    assert released(failed, {"A"}) == failed
    assert released(failed, ()) == failed
    both = verdict(outcome("A"), outcome("B", Effect.FLAG), escalations=(Escalation(rule="A", queue="q", sla_s=1),))
    lifted = released(both, {"A"})
    assert (lifted.effect, lifted.message, lifted.obligations.escalations) == (Effect.FLAG, "", ())
    assert lifted.reasons == ("B",)
    watched = verdict(outcome("A"), outcome("B", mode=RuleMode.SHADOW))
    assert released(watched, {"A"}).effect is Effect.ALLOW


def test_a_withdrawn_source_refuses_whatever_else_was_said():
    made = withdrawn(verdict(outcome("A", Effect.FLAG)))
    assert (made.effect, made.reasons) == (Effect.REFUSE, ("A", WITHDRAWN))
