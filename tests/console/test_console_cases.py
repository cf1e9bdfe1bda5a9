"""The queue and the page of a case: what is shown when, what is recorded before, and what may be done."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.cases.case import REASON, CaseState
from gateway.cases.drill import Drill, DrillKind
from gateway.cases.machine import Claim
from gateway.cases.review import Act
from gateway.console.case_page import Typed, reason_of
from gateway.domain.event import EventType
from gateway.domain.verdict import Escalation
from gateway.domain.vocabulary import Phase

CARD = "4111 1111 1111 1111"
APPROVE, REFUSE = {"code": "within_policy"}, {"code": "against_policy"}


async def claimed(stage, account: str = "zoe", *roles: str, view: str = "may_pass", **changes):
    """A case that somebody has claimed and had a first view of."""
    case = await stage.open_case(**changes)
    browser = await stage.signed_in(account, *(roles or ("reviewer",)))
    await browser.act(case, "claim")
    if case.phase is not Phase.QUERY:
        await browser.act(case, "first-view", {"view": view})
    return case, browser


# The queue


async def test_the_earliest_due_case_comes_first_with_its_clock(stage) -> None:
    late = await stage.open_case(1, escalations=(Escalation(rule="C-003", queue="credit", sla_s=60),))
    soon = await stage.open_case(2, escalations=(Escalation(rule="C-003", queue="credit", sla_s=600),))
    last = await stage.open_case(3, escalations=(Escalation(rule="C-003", queue="fraud", sla_s=7200),))
    stage.clock.forward(seconds=90)
    page = (await (await stage.signed_in("zoe", "reviewer")).get("/cases")).text
    places = [page.index(f'href="/console/cases/{case.id}"') for case in (late, soon, last)]
    assert places == sorted(places)
    for text in ("30 s late", "8 min left", "1 h 58 min left", "A human is asked about the answer"):
        assert text in page
    assert CARD not in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {1, 2}),
        ("?queue=fraud", {2}),
        ("?queue=nothing", set()),
        ("?tier=0", {1, 2}),
        ("?tier=3", set()),
        ("?view=in_review", {1}),
        ("?view=queued", {2}),
        ("?view=decided", {3}),
        ("?view=all", {1, 2, 3}),
        ("?view=nonsense", {1, 2}),
        ("?mine=1", {1}),
    ],
)
async def test_filters(stage, query: str, shown: set[int]) -> None:
    zoe = await stage.signed_in("zoe", "reviewer")
    fraud = (Escalation(rule="C-003", queue="fraud", sla_s=3600),)
    cases = {1: await stage.open_case(1), 2: await stage.open_case(2, escalations=fraud), 3: await stage.open_case(3)}
    await zoe.act(cases[1], "claim")
    bram = await stage.signed_in("bram", "reviewer")
    for act, form in (("claim", {}), ("first-view", {"view": "unsure"}), ("refuse", REFUSE)):
        await bram.act(cases[3], act, form)
    page = (await zoe.get(f"/cases{query}")).text
    assert {number for number, case in cases.items() if f'href="/console/cases/{case.id}"' in page} == shown


async def test_the_next_case_is_claimed_and_given_to_one_person(stage) -> None:
    cases = [await stage.open_case(number) for number in range(1, 4)]
    people = [await stage.signed_in(name, "reviewer") for name in ("zoe", "bram", "cleo", "dara")]
    answers = await asyncio.gather(*(person.post("/cases/next") for person in people))
    places = [answer.headers["location"] for answer in answers]
    assert sorted(places) == sorted([*(f"/console/cases/{case.id}" for case in cases), "/console/cases?none"])
    states = [(await stage.case(case)).state for case in cases]
    assert states == [CaseState.IN_REVIEW] * 3
    assert "no case that you could take" in (await people[0].get("/cases?none")).text


async def test_nobody_is_given_a_request_of_their_own_or_of_another_tenant(stage) -> None:
    await stage.open_case(1)
    await stage.open_case(2, tenant="rival", user="somebody")
    alice = await stage.signed_in("alice", "reviewer")
    assert (await alice.post("/cases/next")).headers["location"] == "/console/cases?none"


async def test_the_next_case_of_a_queue(stage) -> None:
    await stage.open_case(1)
    fraud = await stage.open_case(2, escalations=(Escalation(rule="C-003", queue="fraud", sla_s=7200),))
    zoe = await stage.signed_in("zoe", "reviewer")
    answer = await zoe.post("/cases/next", {"queue": "fraud"})
    assert answer.headers["location"] == f"/console/cases/{fraud.id}"


# Reading


async def test_sealed_texts_open_for_who_claims_and_the_reading_is_recorded_first(stage) -> None:
    case = await stage.open_case()
    zoe = await stage.signed_in("zoe", "reviewer")
    before = (await zoe.get(f"/cases/{case.id}")).text
    assert "question [" not in before
    assert "The texts are sealed" in before
    assert EventType.BODY_READ not in stage.audit.types
    await zoe.act(case, "claim")
    page = (await zoe.get(f"/cases/{case.id}")).text
    assert stage.audit.types == [EventType.CASE_CLAIMED, EventType.BODY_READ]
    assert stage.audit.last["reason"] == "review with masked personal data"
    assert 'question <span class="masked">CREDIT CARD</span>' in page
    assert CARD not in page


async def test_order_keeps_the_reviewers_own_judgement(stage) -> None:
    """Question, rule, passages; the answer only after a first view, which is recorded before it shows."""
    case = await stage.open_case()
    zoe = await stage.signed_in("zoe", "reviewer")
    await zoe.act(case, "claim")
    page = (await zoe.get(f"/cases/{case.id}")).text
    places = [
        page.index(heading) for heading in ("The question", "Why it waits", "Cited passages", "The model's answer")
    ]
    assert places == sorted(places)
    assert "reply <span" not in page
    assert 'action="/console/cases/' + case.id + '/approve"' not in page
    answer = await zoe.act(case, "first-view", {"view": "may_not_pass"})
    assert answer.headers["location"].endswith("#answer")
    assert stage.audit.drafts[-1].type is EventType.CASE_VIEWED
    assert (stage.audit.last["view"], stage.audit.last["revision"]) == ("may_not_pass", 2)
    page = (await zoe.get(f"/cases/{case.id}")).text
    assert "reply <span" in page
    assert "Your first view: it should not be answered" in page
    assert 'action="/console/cases/' + case.id + '/approve"' in page


async def test_nobody_decides_without_a_first_view(stage) -> None:
    case = await stage.open_case()
    zoe = await stage.signed_in("zoe", "reviewer")
    await zoe.act(case, "claim")
    answer = await zoe.act(case, "approve", APPROVE)
    assert answer.status_code == 400
    assert "Note what you think" in answer.text
    assert (await stage.case(case)).state is CaseState.IN_REVIEW
    assert (await zoe.act(case, "first-view", {"view": "nonsense"})).status_code == 400


async def test_a_first_view_that_cannot_be_recorded_shows_no_answer(stage) -> None:
    case = await stage.open_case()
    zoe = await stage.signed_in("zoe", "reviewer")
    await zoe.act(case, "claim")
    stage.audit.fail_on = EventType.CASE_VIEWED
    assert (await zoe.act(case, "first-view", {"view": "unsure"})).status_code == 503
    assert "reply <span" not in (await zoe.get(f"/cases/{case.id}")).text


async def test_personal_data_shows_after_a_reason_that_every_view_records(stage) -> None:
    case, zoe = await claimed(stage)
    assert CARD not in (await zoe.get(f"/cases/{case.id}")).text
    answer = await zoe.act(case, "unmask", {"reason": "TICKET-7 caller check"})
    assert answer.status_code == 303
    page = (await zoe.get(f"/cases/{case.id}")).text
    assert page.count(f'<mark title="CREDIT CARD">{CARD}</mark>') == 3
    assert (stage.audit.drafts[-1].type, stage.audit.last["reason"]) == (EventType.BODY_READ, "TICKET-7 caller check")
    other = await stage.signed_in("zoe", "reviewer")  # another session of the same person
    assert CARD not in (await other.get(f"/cases/{case.id}")).text
    await zoe.act(case, "mask")
    assert CARD not in (await zoe.get(f"/cases/{case.id}")).text


@pytest.mark.parametrize("reason", ["", " ", "x", "<b>why</b>", "x" * 81, "two\nlines"])
async def test_no_reason_no_personal_data(stage, reason: str) -> None:
    case, zoe = await claimed(stage)
    answer = await zoe.act(case, "unmask", {"reason": reason})
    assert answer.status_code == 400
    assert CARD not in answer.text
    assert CARD not in (await zoe.get(f"/cases/{case.id}")).text


async def test_unmasking_ends_with_time(stage) -> None:
    case, zoe = await claimed(stage)
    await zoe.act(case, "unmask", {"reason": "caller check"})
    stage.clock.forward(minutes=16)
    assert CARD not in (await zoe.get(f"/cases/{case.id}")).text


async def test_what_cannot_be_recorded_is_not_shown(stage) -> None:
    case, zoe = await claimed(stage)
    stage.audit.fail_on = EventType.BODY_READ
    for _ in range(2):
        answer = await zoe.get(f"/cases/{case.id}")
        assert answer.status_code == 503
        assert "question" not in answer.text
        await zoe.act(case, "unmask", {"reason": "caller check"})


async def test_texts_stay_closed_when_personal_data_cannot_be_found(stage) -> None:
    case, zoe = await claimed(stage)
    stage.detectors.failing = True
    page = (await zoe.get(f"/cases/{case.id}")).text
    assert page.count("Personal data could not be looked for") == 3
    assert "question <" not in page
    assert CARD not in page
    await zoe.act(case, "unmask", {"reason": "detectors are down"})
    assert CARD in (await zoe.get(f"/cases/{case.id}")).text


async def test_the_requester_does_not_read_what_is_held(stage) -> None:
    case = await stage.open_case()
    alice = await stage.signed_in("alice", "lead")
    page = (await alice.get(f"/cases/{case.id}")).text
    assert "This request is yours" in page
    await alice.act(case, "unmask", {"reason": "curious"})
    assert CARD not in (await alice.get(f"/cases/{case.id}")).text
    assert EventType.BODY_READ not in stage.audit.types
    for act in ("claim", "approve", "refuse", "break-glass"):
        answer = await alice.act(case, act, {"code": "urgent_harm"} if act == "break-glass" else APPROVE)
        assert answer.status_code in (400, 403)
    assert (await stage.case(case)).state is CaseState.QUEUED


async def test_who_looks_without_claiming_gives_a_reason(stage) -> None:
    case, _ = await claimed(stage, "bram")
    zoe = await stage.signed_in("zoe", "lead")
    page = (await zoe.get(f"/cases/{case.id}")).text
    assert "Another reviewer has this case" in page
    await zoe.act(case, "unmask", {"reason": "complaint 12"})
    page = (await zoe.get(f"/cases/{case.id}")).text
    assert stage.audit.last["reason"] == "complaint 12"
    assert "question <mark" in page
    assert "reply <mark" not in page  # they may still come to decide it
    assert "only after claiming it" in page


async def test_who_decides_no_more_sees_the_answer_with_a_reason(stage) -> None:
    case, bram = await claimed(stage, "bram")
    await bram.act(case, "refuse", {"code": "harmful", "note": "my own reason"})
    for name in ("bram", "zoe"):
        browser = await stage.signed_in(name, "reviewer")
        await browser.act(case, "unmask", {"reason": "complaint 12"})
        page = (await browser.get(f"/cases/{case.id}")).text
        assert "reply <mark" in page
        assert "my own reason" in page


async def test_the_second_reviewer_does_not_read_why_the_first_agreed(stage) -> None:
    twice = (Escalation(rule="C-003", queue="credit", sla_s=3600, approvals=2),)
    case, zoe = await claimed(stage, escalations=twice)
    await zoe.act(case, "approve", {**APPROVE, "note": "looks fine"})
    bram = await stage.signed_in("bram", "reviewer")
    await bram.act(case, "claim")
    assert "looks fine" not in (await bram.get(f"/cases/{case.id}")).text
    await bram.act(case, "first-view", {"view": "unsure"})
    assert "looks fine" in (await bram.get(f"/cases/{case.id}")).text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '"><svg onload=alert(1)>',
        "</textarea><script>alert(1)</script>",
        "javascript:alert(1)",
    ],
)
async def test_stored_markup_is_inert_everywhere(stage, text: str) -> None:
    case, zoe = await claimed(stage, question=text, candidate=text, app=text, exchange="ex-html")
    stage.tell("ex-html", type="outcome", answer=[{"phase": "answer", "rules": [{"id": "C-003", "why": [text]}]}])
    pages = [(await zoe.get(path)).text for path in (f"/cases/{case.id}", "/cases")]
    pages.append((await zoe.act(case, "edit", {"step": "differences", "text": text + "!"})).text)
    pages.append((await zoe.post(f"/cases/{case.id}/refuse", {**REFUSE, "revision": "1", "text": text})).text)
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<svg onload" not in page


async def test_template_marks_in_a_text_are_text(stage) -> None:
    case, zoe = await claimed(stage, candidate="{{ 7 * 7 }} {% raw %}")
    assert "{{ 7 * 7 }} {% raw %}" in (await zoe.get(f"/cases/{case.id}")).text


async def test_what_cannot_be_seen_is_made_visible(stage) -> None:
    case, zoe = await claimed(stage, candidate="pay\u202eten\u200b\U000e0041now")
    page = (await zoe.get(f"/cases/{case.id}")).text
    for code in ("U+202E", "U+200B", "U+E0041"):
        assert f'<span class="unseen">{code}</span>' in page


async def test_the_evidence_says_why(stage) -> None:
    case, zoe = await claimed(stage, exchange="ex-why")
    stage.tell(
        "ex-why",
        type="outcome",
        answer=[
            {
                "phase": "answer",
                "rules": [{"id": "C-003", "status": "matched", "effect": "escalate", "why": ["list.delicate is true"]}],
            }
        ],
        signals=[
            {
                "detectors": [{"name": "lists", "version": "1", "status": "timeout"}],
                "values": {"assistant": {"list.delicate": True, "topic.x": {"e6": 700000}}},
            }
        ],
    )
    page = (await zoe.get(f"/cases/{case.id}")).text
    for text in ("list.delicate is true", "lists@1", "timeout", "list.delicate = yes (assistant)", "Tests of cases"):
        assert text in page


async def test_a_blind_review_looks_like_the_case_it_is_about(stage) -> None:
    case = await stage.open_case(1, exchange="ex-first")
    verdict = [{"phase": "answer", "rules": [{"id": "C-003", "effect": "escalate", "why": ["list.delicate is true"]}]}]
    stage.tell("ex-first", type="outcome", answer=verdict)
    content = await stage.parts.store.sealed_content(case)
    copied = structs.replace(case, id="case_" + "b" * 32, exchange="ex-copy", fingerprint="b" * 64)
    drill = Drill(case=copied.id, kind=DrillKind.BLIND, about=case.id, at=stage.clock())
    assert await stage.parts.store.copy(copied, content, drill)
    zoe = await stage.signed_in("zoe", "reviewer")
    await zoe.act(copied, "claim")
    page = (await zoe.get(f"/cases/{copied.id}")).text
    assert "list.delicate is true" in page
    assert "question <span" in page
    assert case.id not in page
    assert "blind" not in page


async def test_rules_that_are_gone_and_policies_that_changed_are_told(stage) -> None:
    case, zoe = await claimed(stage, rules=("GONE-1",), policy="sha256:other")
    page = (await zoe.get(f"/cases/{case.id}")).text
    assert "no longer in force" in page
    assert "Other policies are in force" in page


# Deciding


@pytest.mark.parametrize(
    ("act", "form", "state", "event"),
    [
        ("approve", APPROVE, CaseState.APPROVED, EventType.CASE_APPROVED),
        ("refuse", REFUSE, CaseState.REFUSED, EventType.CASE_REFUSED),
        ("release", {}, CaseState.QUEUED, EventType.CASE_RELEASED),
        ("ask", {"code": "needs_information", "text": "Which account?"}, CaseState.WAITING_INFO, EventType.CASE_ASKED),
        ("edit", {"code": "within_policy", "text": "other words"}, CaseState.APPROVED, EventType.CASE_EDITED),
    ],
)
async def test_what_a_reviewer_does(stage, act: str, form: dict, state: CaseState, event: EventType) -> None:
    case, zoe = await claimed(stage)
    answer = await zoe.act(case, act, form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/cases/{case.id}?done={act}")
    assert (await stage.case(case)).state is state
    assert stage.audit.drafts[-1].type is event
    assert "Done:" in (await zoe.get(f"/cases/{case.id}?done={act}")).text


@pytest.mark.parametrize("act", ["approve", "refuse", "ask", "edit"])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"code": ""},
        {"code": "made_up"},
        {"code": "was_right"},
        {"code": "within_policy", "note": "x" * 51},
        {"code": "within_policy", "note": "<b>"},
        {"code": "within_policy", "note": "a\nb"},
    ],
)
async def test_no_decision_without_a_reason_and_nothing_typed_is_lost(stage, act: str, form: dict) -> None:
    case, zoe = await claimed(stage)
    await zoe.act(case, "unmask", {"reason": "caller check"})
    answer = await zoe.act(case, act, {"text": "typed by hand", **form})
    assert answer.status_code == 400
    assert "Choose a reason that fits" in answer.text
    assert (await stage.case(case)).state is CaseState.IN_REVIEW
    if act in ("ask", "edit"):
        assert "typed by hand" in answer.text


async def test_the_reason_is_the_code_and_the_note(stage) -> None:
    case, zoe = await claimed(stage)
    await zoe.act(case, "refuse", {"code": "needs_adviser", "note": "pension transfer"})
    assert stage.audit.last["reason"] == "needs_adviser: pension transfer"


async def test_a_question_needs_no_first_view_and_has_no_answer(stage) -> None:
    case, zoe = await claimed(stage, phase=Phase.QUERY, candidate="", rules=("C-001",))
    page = (await zoe.get(f"/cases/{case.id}")).text
    assert "The model's answer" not in page
    assert 'id="edit"' not in page
    assert (await zoe.act(case, "approve", APPROVE)).status_code == 303


async def test_an_edit_shows_its_differences_and_is_judged(stage) -> None:
    case, zoe = await claimed(stage, candidate="You should buy the fund today.")
    edited = {"text": "You could ask an adviser today.", **APPROVE}
    preview = await zoe.act(case, "edit", {**edited, "step": "differences"})
    assert preview.status_code == 200
    for part in ("<del>should</del>", "<ins>could</ins>", "You could ask an adviser today.</textarea>"):
        assert part in preview.text
    stage.stopping = ("FIN-9",)
    stopped = await zoe.act(case, "edit", edited)
    assert stopped.status_code == 422
    assert "stopped by `FIN-9`" in stopped.text
    assert "You could ask an adviser today.</textarea>" in stopped.text
    assert (await stage.case(case)).state is CaseState.IN_REVIEW
    stage.stopping = ()
    assert (await zoe.act(case, "edit", edited)).status_code == 303


async def test_a_masked_answer_is_not_edited(stage) -> None:
    """The masks would become part of the text."""
    case, zoe = await claimed(stage)
    page = (await zoe.get(f"/cases/{case.id}")).text
    assert "an edit of the masked text would lose it" in page
    await zoe.act(case, "unmask", {"reason": "edit the answer"})
    assert f"reply {CARD}</textarea>" in (await zoe.get(f"/cases/{case.id}")).text


async def test_line_ends_of_browsers_change_nothing(stage) -> None:
    case, zoe = await claimed(stage, candidate="one\ntwo")
    preview = await zoe.act(case, "edit", {"text": "one\r\ntwo", "step": "differences", **APPROVE})
    assert "<ins>" not in preview.text
    assert "<del>" not in preview.text


@pytest.mark.parametrize("act", ["approve", "refuse", "edit", "ask", "release", "claim"])
async def test_who_was_too_late_loses_nothing_of_what_they_typed(stage, act: str) -> None:
    case, zoe = await claimed(stage)
    stage.clock.forward(minutes=16)  # the lease has ended, and somebody else takes the case
    bram = await stage.signed_in("bram", "reviewer")
    old = (await stage.case(case)).revision
    await bram.act(case, "claim")
    form = {"revision": str(old), "code": "within_policy", "note": "my note", "text": "my long text"}
    answer = await zoe.post(f"/cases/{case.id}/{act}", form)
    assert answer.status_code == 409
    for part in ("Nothing of what you sent has happened", "my long text</textarea>", "my note", "in review"):
        assert part in answer.text
    assert (await stage.case(case)).state is CaseState.IN_REVIEW


async def test_of_two_who_decide_at_once_one_is_told(stage) -> None:
    case, zoe = await claimed(stage)
    again = await stage.signed_in("zoe", "reviewer")
    revision = {"revision": str((await stage.case(case)).revision)}
    answers = await asyncio.gather(
        zoe.post(f"/cases/{case.id}/approve", {**APPROVE, **revision}),
        again.post(f"/cases/{case.id}/refuse", {**REFUSE, **revision}),
    )
    assert sorted(answer.status_code for answer in answers) == [303, 409]


@pytest.mark.parametrize("revision", ["", "0", "1", "x", "999"])
async def test_a_form_of_another_revision_does_nothing(stage, revision: str) -> None:
    case, zoe = await claimed(stage)
    answer = await zoe.post(f"/cases/{case.id}/approve", {**APPROVE, "revision": revision})
    assert answer.status_code == 409
    assert (await stage.case(case)).state is CaseState.IN_REVIEW


async def test_two_approvals_by_two_people(stage) -> None:
    twice = (Escalation(rule="C-003", queue="credit", sla_s=3600, approvals=2),)
    case, zoe = await claimed(stage, escalations=twice)
    await zoe.act(case, "approve", APPROVE)
    assert (await stage.case(case)).state is CaseState.AWAIT_SECOND
    again = await zoe.act(case, "claim")
    assert again.status_code == 403
    assert "another person must" in again.text
    bram = await stage.signed_in("bram", "reviewer")
    await bram.act(case, "claim")
    await bram.act(case, "first-view", {"view": "unsure"})
    page = (await bram.get(f"/cases/{case.id}")).text
    assert "Second decision" in page
    await bram.act(case, "refuse", REFUSE)
    assert (await stage.case(case)).state is CaseState.ADJUDICATION
    cleo = await stage.signed_in("cleo", "reviewer")
    await cleo.act(case, "claim")
    await cleo.act(case, "first-view", {"view": "unsure"})
    assert "Final decision" in (await cleo.get(f"/cases/{case.id}")).text
    await cleo.act(case, "approve", APPROVE)
    assert (await stage.case(case)).state is CaseState.APPROVED


async def test_the_second_reviewer_sees_what_the_first_has_edited(stage) -> None:
    twice = (Escalation(rule="C-003", queue="credit", sla_s=3600, approvals=2),)
    case, zoe = await claimed(stage, escalations=twice, candidate="buy now")
    await zoe.act(case, "edit", {"text": "wait now", **APPROVE})
    bram = await stage.signed_in("bram", "reviewer")
    await bram.act(case, "claim")
    assert "<ins>wait</ins>" not in (await bram.get(f"/cases/{case.id}")).text  # not before their own view
    await bram.act(case, "first-view", {"view": "unsure"})
    page = (await bram.get(f"/cases/{case.id}")).text
    assert "<del>buy</del>" in page
    assert "<ins>wait</ins>" in page


async def test_an_appeal_goes_to_somebody_else(stage) -> None:
    case, zoe = await claimed(stage)
    await zoe.act(case, "refuse", REFUSE)
    refused = await stage.case(case)
    actor = stage.parts.actor(refused, stage.parts.sessions.find(zoe.cookies["gateway_console"], now=stage.clock()))
    requester = type(actor)(person=refused.course.person, ref=refused.principal, requests=True)
    await stage.parts.review.act(refused, Act.APPEAL, requester, reason="unfair")
    assert (await zoe.act(case, "claim")).status_code == 403
    bram = await stage.signed_in("bram", "reviewer")
    await bram.act(case, "claim")
    await bram.act(case, "first-view", {"view": "may_pass"})
    assert "Decide the appeal" in (await bram.get(f"/cases/{case.id}")).text
    await bram.act(case, "approve", APPROVE)
    assert (await stage.case(case)).state is CaseState.OVERTURNED


async def test_only_leads_break_the_glass_and_somebody_looks_at_it(stage) -> None:
    case = await stage.open_case()
    zoe = await stage.signed_in("zoe", "reviewer")
    assert "Break the glass" not in (await zoe.get(f"/cases/{case.id}")).text
    assert (await zoe.act(case, "break-glass", {"code": "urgent_harm"})).status_code == 403
    lead = await stage.signed_in("lena", "lead")
    assert "Break the glass" in (await lead.get(f"/cases/{case.id}")).text
    assert (await lead.act(case, "break-glass", {})).status_code == 400
    assert (await lead.act(case, "break-glass", {"code": "urgent_harm"})).status_code == 303
    assert (await stage.case(case)).state is CaseState.APPROVED
    assert stage.audit.drafts[-1].type is EventType.CASE_BREAK_GLASS
    assert "to be looked at" not in (await lead.get("/cases")).text  # not by whoever broke it
    other = await stage.signed_in("omar", "lead")
    assert "to be looked at" in (await other.get("/cases")).text
    assert (await other.act(case, "contest", {"code": "should_not_have"})).status_code == 303
    assert (await stage.case(case)).state is CaseState.REFUSED


async def test_who_owns_the_rule_does_not_review_it(stage) -> None:
    case = await stage.open_case(authors=frozenset({"zoe", "team:risk"}))
    for browser in (
        await stage.signed_in("zoe", "reviewer"),
        await stage.signed_in("bram", "reviewer", groups=("risk",)),
    ):
        assert (await browser.act(case, "claim")).status_code == 403
    assert (await (await stage.signed_in("cleo", "reviewer")).act(case, "claim")).status_code == 303


@pytest.mark.parametrize("act", ["withdraw", "reply", "appeal", "nonsense", "clock", ".."])
async def test_acts_of_others_are_no_pages(stage, act: str) -> None:
    case, zoe = await claimed(stage)
    assert (await zoe.act(case, act, {"text": "x", **APPROVE})).status_code in (404, 405)
    assert (await stage.case(case)).state is CaseState.IN_REVIEW


async def test_the_clock_opens_nothing(stage) -> None:
    case, zoe = await claimed(stage)
    count = len(stage.audit.drafts)
    stage.clock.forward(minutes=5)
    page = (await zoe.get(f"/cases/{case.id}/clock")).text
    assert "yours, 10 min left" in page
    assert "55 min left" in page
    assert "<html" not in page
    assert len(stage.audit.drafts) == count


async def test_history_names_no_person_but_you(stage) -> None:
    case, zoe = await claimed(stage)
    await zoe.act(case, "release")
    bram = await stage.signed_in("bram", "reviewer")
    await bram.act(case, "claim")
    page = (await bram.get(f"/cases/{case.id}")).text
    assert "<strong>claimed</strong> by you" in page
    assert "<strong>released</strong> by reviewer p:" in page
    assert "zoe" not in page


async def test_an_erased_case_says_so(stage) -> None:
    case, zoe = await claimed(stage)

    async def erased(*_: object) -> None:
        return None

    stage.parts.store.sealed_content = erased
    assert "were erased" in (await zoe.get(f"/cases/{case.id}")).text


@given(typed=st.text(max_size=60))
def test_a_reason_is_a_code_with_plain_words_or_none(typed: str) -> None:
    reason = reason_of(Typed(act="refuse", code="harmful", note=typed))
    assert reason == "" or reason == "harmful" or reason.startswith("harmful: ")
    assert len(reason) <= 80 or not REASON.fullmatch(reason)


def test_the_lease_is_that_of_the_settings(stage) -> None:
    assert Claim(stage.parts.lease).lease.total_seconds() == 900
