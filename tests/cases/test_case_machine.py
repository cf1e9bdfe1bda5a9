from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from gateway.cases import machine as m
from gateway.cases.case import REVIEWER, Case, CaseState, Course
from gateway.domain.vocabulary import Phase

OPENED = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LEASE = timedelta(minutes=15)
REQUESTER = m.Actor(person="u:asker", ref="p:asker", requests=True)
RUTH, RAVI, ROSA = (
    m.Actor(person=f"u:{name}", ref=f"p:{name}", roles=frozenset({REVIEWER}), groups=frozenset({group}))
    for name, group in (("ruth", "desk"), ("ravi", "credit"), ("rosa", "desk"))
)
ADMIN = m.Actor(person="u:ada", ref="p:ada", roles=frozenset({m.LEAD}))
SELF_REVIEWER = m.Actor(person="u:asker", ref="p:asker-console", roles=frozenset({REVIEWER, m.LEAD}))
RELEASED_BY_HUMANS = {CaseState.APPROVED, CaseState.RELEASABLE, CaseState.DELIVERED, CaseState.OVERTURNED}


def opened(*, approvals: int = 1, phase: Phase = Phase.ANSWER, **changes: object) -> Case:
    case = Case(
        id="case_1",
        state=CaseState.QUEUED,
        tenant="acme",
        app="desk",
        principal="p:asker",
        exchange="ex",
        phase=phase,
        queue="q",
        approvals=approvals,
        rules=("R-1",),
        policy="sha256:ab",
        opened=OPENED,
        due=OPENED + timedelta(hours=1),
        expires=OPENED + timedelta(days=7),
        fingerprint="f",
        binding="b:1",
        revision=1,
        course=Course(person="u:asker", origin="b:1", sla_s=3600),
    )
    return structs.replace(case, **changes)


def run(case: Case, *steps: tuple[m.Actor, m.Command], now: datetime = OPENED) -> Case:
    for actor, command in steps:
        moved = m.apply(case, command, actor, now)
        assert isinstance(moved, Case), (case.state, command, moved)
        assert moved.revision == case.revision + 1
        case = moved
    return case


def refused(case: Case, actor: m.Actor, command: m.Command, now: datetime = OPENED) -> str:
    found = m.apply(case, command, actor, now)
    assert isinstance(found, m.Refusal), found
    return found.code


CLAIM, YES, NO = m.Claim(LEASE), m.Approve("ok"), m.Refuse("unsafe")


@pytest.mark.parametrize(
    ("approvals", "steps", "state"),
    [
        (1, [(RUTH, CLAIM), (RUTH, YES)], CaseState.APPROVED),
        (1, [(RUTH, CLAIM), (RUTH, NO)], CaseState.REFUSED),
        (1, [(RUTH, CLAIM), (RUTH, m.Release()), (RAVI, CLAIM)], CaseState.IN_REVIEW),
        (1, [(RUTH, CLAIM), (RUTH, m.Edit("wording", 1))], CaseState.APPROVED),
        (2, [(RUTH, CLAIM), (RUTH, YES)], CaseState.AWAIT_SECOND),
        (2, [(RUTH, CLAIM), (RUTH, YES), (RAVI, CLAIM), (RAVI, YES)], CaseState.APPROVED),
        (2, [(RUTH, CLAIM), (RUTH, YES), (RAVI, CLAIM), (RAVI, NO)], CaseState.ADJUDICATION),
        (
            2,
            [(RUTH, CLAIM), (RUTH, YES), (RAVI, CLAIM), (RAVI, NO), (ROSA, CLAIM), (ROSA, YES)],
            CaseState.APPROVED,
        ),
        (2, [(RUTH, CLAIM), (RUTH, YES), (RAVI, CLAIM), (RAVI, NO), (ROSA, CLAIM), (ROSA, NO)], CaseState.REFUSED),
        # An edit is a new text: who agreed to the old one may agree to it, its author may not agree twice.
        (2, [(RUTH, CLAIM), (RUTH, YES), (RAVI, CLAIM), (RAVI, m.Edit("wording", 1))], CaseState.AWAIT_SECOND),
        (
            2,
            [(RUTH, CLAIM), (RUTH, YES), (RAVI, CLAIM), (RAVI, m.Edit("w", 1)), (RUTH, CLAIM), (RUTH, YES)],
            CaseState.APPROVED,
        ),
        (1, [(RUTH, CLAIM), (RUTH, m.Ask("which account")), (REQUESTER, m.Reply("b:2"))], CaseState.QUEUED),
        (1, [(REQUESTER, m.Withdraw())], CaseState.WITHDRAWN),
        (1, [(ADMIN, m.BreakGlass("outage 12"))], CaseState.APPROVED),
        (1, [(RUTH, CLAIM), (RUTH, NO), (REQUESTER, m.Appeal("wrong")), (RAVI, CLAIM), (RAVI, NO)], CaseState.UPHELD),
        (
            1,
            [(RUTH, CLAIM), (RUTH, NO), (REQUESTER, m.Appeal("wrong")), (RAVI, CLAIM), (RAVI, YES)],
            CaseState.OVERTURNED,
        ),
        (
            1,
            [
                (RUTH, CLAIM),
                (RUTH, NO),
                (REQUESTER, m.Appeal("wrong")),
                (RAVI, CLAIM),
                (RAVI, YES),
                (REQUESTER, m.Confirm()),
                (REQUESTER, m.Deliver("ex-2")),
            ],
            CaseState.DELIVERED,
        ),
        (
            2,
            [(RUTH, CLAIM), (RUTH, NO), (REQUESTER, m.Appeal("wrong")), (RAVI, CLAIM), (RAVI, YES)],
            CaseState.AWAIT_SECOND,
        ),
    ],
)
def test_the_ways_through_a_case(approvals: int, steps, state: CaseState) -> None:
    assert run(opened(approvals=approvals), *steps).state is state


@pytest.mark.parametrize(
    ("case", "actor", "command", "code"),
    [
        (opened(), m.Actor(person="u:x", ref="p:x"), CLAIM, "reviewer_required"),
        (opened(), SELF_REVIEWER, CLAIM, "own_request"),
        (opened(), SELF_REVIEWER, m.BreakGlass("x"), "own_request"),
        (opened(), RUTH, m.BreakGlass("x"), "admin_required"),
        (opened(), RUTH, YES, "case_state"),
        (run(opened(), (RUTH, CLAIM)), RAVI, CLAIM, "case_held"),
        (run(opened(), (RUTH, CLAIM)), RAVI, YES, "claim_required"),
        (run(opened(), (RUTH, CLAIM)), RUTH, m.Approve(""), "reason_required"),
        (run(opened(approvals=2), (RUTH, CLAIM), (RUTH, YES)), RUTH, CLAIM, "second_person_required"),
        (run(opened(), (RUTH, CLAIM), (RUTH, YES)), RUTH, m.Confirm(), "requester_required"),
        (run(opened(), (RUTH, CLAIM), (RUTH, YES)), REQUESTER, m.Deliver("e"), "case_state"),
        (opened(), RUTH, m.Withdraw(), "requester_required"),
        (opened(), RUTH, m.Overdue(), "clock_only"),
        (run(opened(phase=Phase.QUERY), (RUTH, CLAIM)), RUTH, m.Edit("x", 1), "case_has_no_answer"),
        (run(opened(phase=Phase.TOOL_CALL), (RUTH, CLAIM)), RUTH, YES, "case_not_approvable"),
        (run(opened(), (RUTH, CLAIM), (RUTH, NO), (REQUESTER, m.Appeal("x"))), RUTH, CLAIM, "second_person_required"),
    ],
)
def test_what_is_refused(case: Case, actor: m.Actor, command: m.Command, code: str) -> None:
    assert refused(case, actor, command) == code


BARRED = Course(person="u:asker", origin="b:1", sla_s=3600, barred=("u:ruth", "group:credit"))


@pytest.mark.parametrize(("who", "may"), [(RUTH, False), (RAVI, False), (ROSA, True)])
def test_the_author_of_a_rule_and_their_team_do_not_review_what_it_stops(who: m.Actor, may: bool) -> None:
    case = opened(course=BARRED)
    assert isinstance(m.apply(case, CLAIM, who, OPENED), Case) is may
    if not may:
        assert refused(case, who, CLAIM) == "own_rule"
        admin = structs.replace(who, roles=frozenset({m.LEAD}))
        assert refused(case, admin, m.BreakGlass("outage")) == "own_rule"


def test_a_tool_call_that_was_kept_whole_is_approved_like_an_answer() -> None:
    course = Course(person="u:asker", origin="b:1", sla_s=3600, whole=True)
    case = opened(phase=Phase.TOOL_CALL, course=course)
    assert run(case, (RUTH, CLAIM), (RUTH, YES)).state is CaseState.APPROVED
    assert run(case, (ADMIN, m.BreakGlass("outage 12"))).state is CaseState.APPROVED


def test_an_appeal_has_its_time() -> None:
    over = run(opened(), (RUTH, CLAIM), (RUTH, NO))
    appeal = m.Appeal("wrong", timedelta(hours=2))
    assert run(over, (REQUESTER, appeal), now=OPENED + timedelta(hours=1)).state is CaseState.APPEALED
    assert refused(over, REQUESTER, appeal, OPENED + timedelta(hours=2)) == "appeal_over"
    old = structs.replace(over, course=structs.replace(over.course, decided=None))  # of a gateway that kept no time
    assert run(old, (REQUESTER, appeal), now=OPENED + timedelta(hours=3)).state is CaseState.APPEALED


def test_a_broken_glass_is_looked_at_by_another_person_once() -> None:
    broken = run(opened(), (ADMIN, m.BreakGlass("outage 12", timedelta(hours=4))))
    assert broken.course.review_by == OPENED + timedelta(hours=4)
    ada_reviews = structs.replace(ADMIN, roles=frozenset({REVIEWER}))
    assert refused(broken, ada_reviews, m.PostReview("x", upheld=True)) == "second_person_required"
    assert refused(broken, ADMIN, m.PostReview("x", upheld=True)) == "reviewer_required"
    seen = run(broken, (RUTH, m.PostReview("checked", upheld=True)))
    assert (seen.state, seen.course.post_review) == (CaseState.APPROVED, "upheld")
    assert refused(seen, RAVI, m.PostReview("x", upheld=False)) == "case_state"
    taken = run(broken, (RUTH, m.PostReview("no need", upheld=False)))
    assert (taken.state, taken.course.post_review) == (CaseState.REFUSED, "contested")
    delivered = run(broken, (REQUESTER, m.Confirm()), (REQUESTER, m.Deliver("ex-2")))
    late = run(delivered, (RUTH, m.PostReview("no need", upheld=False)))
    assert (late.state, late.course.post_review) == (CaseState.DELIVERED, "contested"), "what has left has left"
    assert refused(opened(), RUTH, m.PostReview("x", upheld=True)) == "case_state"


def test_a_lease_that_has_ended_lets_the_next_reviewer_in() -> None:
    held = run(opened(), (RUTH, CLAIM))
    later = OPENED + LEASE
    assert refused(held, m.CLOCK, m.LapseLease(), OPENED) == "case_state"
    assert run(held, (m.CLOCK, m.LapseLease()), now=later).state is CaseState.QUEUED
    assert run(held, (RAVI, CLAIM), now=later).course.holder == RAVI.person


def test_an_overdue_case_goes_up_or_is_refused_and_is_never_approved() -> None:
    late = opened().due
    up = run(opened(), (m.CLOCK, m.Overdue("senior", 600)), now=late)
    assert (up.state, up.queue, up.due, up.course.tier) == (
        CaseState.QUEUED,
        "senior",
        late + timedelta(seconds=600),
        1,
    )
    assert run(opened(), (m.CLOCK, m.Overdue()), now=late).state is CaseState.REFUSED
    half = run(opened(approvals=2), (RUTH, CLAIM), (RUTH, YES))
    assert run(half, (m.CLOCK, m.Overdue()), now=late).state is CaseState.REFUSED
    assert refused(opened(), m.CLOCK, m.Overdue(), OPENED) == "case_state"


def test_an_approval_that_no_longer_fits_is_decided_again() -> None:
    approved = run(opened(), (RUTH, CLAIM), (RUTH, YES))
    again = run(approved, (REQUESTER, m.Requeue("policy_changed", "sha256:cd", "f2", "b:2")))
    assert (again.state, again.policy, again.course.reason, again.course.votes) == (
        CaseState.QUEUED,
        "sha256:cd",
        "policy_changed",
        (),
    )
    assert refused(approved, REQUESTER, m.Confirm(), approved.expires) == "case_expired"


class Racing(RuleBasedStateMachine):
    """Two reviewers, a third person, the requester and the clock act on copies they read at any time before. A write
    counts only if the revision it read is still the stored one, as the store does it."""

    @initialize(
        approvals=st.integers(1, 3),
        phase=st.sampled_from([Phase.QUERY, Phase.ANSWER, Phase.TOOL_CALL]),
        barred=st.sets(st.sampled_from(["u:ruth", "group:credit"])),
        whole=st.booleans(),
    )
    def open(self, approvals: int, phase: Phase, barred: set[str], whole: bool) -> None:
        self.stored = opened(approvals=approvals, phase=phase)
        course = structs.replace(self.stored.course, barred=tuple(sorted(barred)), whole=whole)
        self.stored = structs.replace(self.stored, course=course)
        self.read = {actor.ref: self.stored for actor in (RUTH, RAVI, ROSA, ADMIN, REQUESTER, SELF_REVIEWER, m.CLOCK)}
        self.now = OPENED
        self.deliveries = 0
        self.log = [self.stored]

    @rule(actor=st.sampled_from([RUTH, RAVI, ROSA, ADMIN, REQUESTER, SELF_REVIEWER, m.CLOCK]))
    def look(self, actor: m.Actor) -> None:
        self.read[actor.ref] = self.stored

    @rule(minutes=st.sampled_from([1, 10, 20, 70, 60 * 24 * 8]))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(
        actor=st.sampled_from([RUTH, RAVI, ROSA, SELF_REVIEWER, REQUESTER]),
        command=st.sampled_from(
            [
                *(CLAIM, YES, YES, NO, m.Edit("w", 1), m.Edit("w", 2), m.Release(), m.Ask("a"), m.Appeal("x")),
                *(m.PostReview("p", upheld=True), m.PostReview("p", upheld=False)),
            ]
        ),
        fresh=st.booleans(),
    )
    def review(self, actor: m.Actor, command: m.Command, fresh: bool) -> None:
        self._write(actor, command, fresh=fresh)

    @rule(reviewer=st.sampled_from([RUTH, RAVI, ROSA]), command=st.sampled_from([YES, YES, NO, m.Edit("w", 1)]))
    def claim_and_decide(self, reviewer: m.Actor, command: m.Command) -> None:
        self._write(reviewer, CLAIM, fresh=True)
        self._write(reviewer, command, fresh=True)

    @rule(
        command=st.sampled_from(
            [m.Reply("b:2"), m.Withdraw(), m.Appeal("x"), m.Requeue("policy_changed", "sha256:cd", "f2", "b:3")]
        )
    )
    def request(self, command: m.Command) -> None:
        self._write(REQUESTER, command, fresh=True)

    @precondition(lambda self: self.stored.state in RELEASED_BY_HUMANS)
    @rule(fresh=st.booleans())
    def fetch(self, fresh: bool) -> None:
        self._write(REQUESTER, m.Confirm(), fresh=fresh)
        self._write(REQUESTER, m.Deliver("ex-2"), fresh=fresh)

    @rule(
        command=st.sampled_from([m.LapseLease(), m.Overdue(), m.Overdue("senior", 600), m.Close(), CLAIM, YES]),
    )
    def tick(self, command: m.Command) -> None:
        self._write(m.CLOCK, command, fresh=True)

    @rule(actor=st.sampled_from([ADMIN, SELF_REVIEWER]))
    def break_glass(self, actor: m.Actor) -> None:
        self._write(actor, m.BreakGlass("outage"), fresh=True)

    def _write(self, actor: m.Actor, command: m.Command, *, fresh: bool) -> None:
        read = self.stored if fresh else self.read[actor.ref]
        moved = m.apply(read, command, actor, self.now)
        if isinstance(moved, m.Refusal) or read.revision != self.stored.revision:
            return
        before, self.stored = self.stored, moved
        self.log.append(moved)
        assert moved.revision == before.revision + 1
        if actor.clock:
            assert moved.state not in RELEASED_BY_HUMANS - {before.state}, "the clock never lets an answer out"
            assert moved.state is not CaseState.DELIVERED
        if moved.state in (CaseState.APPROVED, CaseState.OVERTURNED) and moved.state is not before.state:
            assert actor.person != "u:asker"
        if isinstance(command, m.Deliver):
            assert before.state is CaseState.RELEASABLE
            assert self.now < before.expires
            self.deliveries += 1

    @invariant()
    def consumed_once(self) -> None:
        if hasattr(self, "stored"):
            assert self.deliveries <= 1

    @invariant()
    def nobody_decides_their_own_or_twice(self) -> None:
        if not hasattr(self, "stored"):
            return
        persons = [vote.person for vote in self.stored.course.votes]
        assert "u:asker" not in persons
        assert len(set(persons)) == len(persons)

    @invariant()
    def nobody_decides_about_a_rule_of_their_own(self) -> None:
        if not hasattr(self, "stored"):
            return
        own = {actor.person: {actor.person, *(f"group:{one}" for one in actor.groups)} for actor in (RUTH, RAVI, ROSA)}
        for person in self.stored.course.deciders:
            assert own.get(person, set()).isdisjoint(self.stored.course.barred)

    @invariant()
    def what_was_not_kept_is_not_approved(self) -> None:
        if hasattr(self, "stored") and self.stored.phase is Phase.TOOL_CALL and not self.stored.course.whole:
            assert self.stored.state not in RELEASED_BY_HUMANS

    @invariant()
    def an_approval_has_the_votes_it_needs(self) -> None:
        if not hasattr(self, "stored") or self.stored.state is not CaseState.APPROVED:
            return
        votes, text = self.stored.course.votes, self.stored.course.text
        agreeing = {vote.person for vote in votes if vote.agrees and vote.text == text}
        adjudicated = any(not vote.agrees for vote in votes) and len({vote.person for vote in votes}) >= 3
        broken = self.stored.course.review_by is not None
        assert len(agreeing) >= self.stored.approvals or adjudicated or broken


Racing.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestRacing = Racing.TestCase
