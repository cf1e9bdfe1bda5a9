"""Drills and the measures of the review, over real transitions in a real store."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs
from support.fakes import FakeAudit

from gateway.cases import AuditedCaseDesk, BlindReviews, CaseReview, CaseStore, Transitions
from gateway.cases.case import REVIEWER, Case, CaseState, Operator
from gateway.cases.drill import DrillKind, is_drill
from gateway.cases.machine import Actor, Appeal
from gateway.cases.quality import capacity_report, quality_report, rule_precision
from gateway.cases.review import Act
from gateway.cases.seeds import Seeding, read_seeds
from gateway.cases.terms import person_of
from gateway.cases.watch import QualityWatch
from gateway.domain.errors import FaultsFound, RequestError
from gateway.domain.principal import Principal
from gateway.domain.verdict import Escalation
from gateway.settings import QualitySettings

KEY = bytes(range(32))
START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
SETTINGS = QualitySettings(alarm_decisions=4)
SEEDS = """
seeds:
  - {name: promise, tenant: acme, app: loans, queue: credit, rules: [CRD-001], expected: refuse,
     question: Will I get it?, candidate: "Yes, certainly.", passages: [{title: Fees, text: Fees are low.}]}
  - {name: harmless, tenant: acme, app: loans, queue: credit, rules: [CRD-001], expected: approve, question: Hello?}
"""
RULES = frozenset({"CRD-001"})


class Desk:
    """A store with everything that moves its cases, and a clock to be set."""

    def __init__(self, store: CaseStore) -> None:
        self.store = store
        self.audit = FakeAudit()
        self.now = START
        numbers = itertools.count(1)
        self.ids = lambda: f"{next(numbers):032x}"
        transitions = Transitions(store, self.audit, clock=self.time, announce=lambda *_: ())
        self.desk = AuditedCaseDesk(store, self.audit, transitions, key=KEY, ids=self.ids, clock=self.time)
        self.transitions = transitions

        async def passes(case, content, text):
            return ()

        self.review = CaseReview(
            store,
            self.audit,
            transitions,
            judge_edit=passes,
            key=KEY,
            lease=timedelta(minutes=15),
            clock=self.time,
        )
        self.blind = BlindReviews(store, self.audit, key=KEY, ids=self.ids, clock=self.time)
        self.seeding = Seeding(store, self.audit, key=KEY, policy="sha256:ab", ids=self.ids, clock=self.time)

    def time(self) -> datetime:
        return self.now

    def actor(self, user: str) -> Actor:
        return Actor(person=person_of("acme", user, KEY), ref=f"p:{user}", roles=frozenset({REVIEWER}))

    async def decide(
        self, case_id: str, user: str, act: Act, *, dwell_s: float = 60.0, before_s: float = 10.0, view: bool = True
    ) -> Case:
        """Claim, look after a while, and decide after another."""
        case = await self.review.act(await self.store.find(case_id), Act.CLAIM, self.actor(user))
        self.now += timedelta(seconds=before_s)
        if view:
            await self.review.open_file(case, principal(user), reason="T-1")
        self.now += timedelta(seconds=dwell_s)
        text = "Other words." if act is Act.EDIT else ""
        return await self.review.act(case, act, self.actor(user), reason="POL-7", text=text)


def principal(user: str, *roles: str) -> Principal:
    return Principal(
        tenant="acme",
        app="console",
        user=user,
        groups=frozenset(),
        roles=frozenset(roles or (REVIEWER,)),
        auth="key",
        ref=f"p:{user}",
    )


@pytest.fixture
def desk(store) -> Desk:
    return Desk(store)


@pytest.fixture
def opened(desk, draft):
    async def open_one(number: int, **changes) -> str:
        terms = {"escalations": (Escalation(rule="CRD-001", queue="credit", sla_s=3600),), "rules": ("CRD-001",)}
        made = draft(
            **{"fingerprint": f"{number:064x}", "opened": desk.now, "principal": "p:asker", **terms, **changes}
        )
        return (await desk.desk.open_case(made)).id

    return open_one


async def report_of(desk):
    return await quality_report(desk.store, SETTINGS, now=desk.now + timedelta(seconds=1))


async def test_decisions_are_counted_with_the_time_from_seeing_to_deciding(desk, opened) -> None:
    for number, act in enumerate([Act.APPROVE, Act.REFUSE, Act.EDIT]):
        await desk.decide(await opened(number), "ruth", act, dwell_s=30 + number)
    await desk.decide(await opened(9), "ravi", Act.APPROVE, view=False)
    report = await report_of(desk)
    ruth, ravi = sorted(report.reviewers, key=lambda one: -one.decisions)
    assert (ruth.decisions, ruth.approvals.hits, ruth.dwell_s, ruth.unseen, ruth.alarm) == (3, 2, 31.0, 0, False)
    assert (ravi.decisions, ravi.dwell_s, ravi.unseen) == (1, 70.0, 1), "without a look it counts from the claim"
    (rule,) = await rule_precision(desk.store, since=START, until=desk.now + timedelta(days=1))
    assert (rule.rule, rule.refused, rule.edited, rule.precision.hits, rule.precision.total) == ("CRD-001", 1, 1, 2, 4)


@pytest.mark.parametrize(
    ("acts", "dwell_s", "alarm"), [("aaaa", 2, True), ("aaaa", 6, False), ("aaar", 2, False), ("aaa", 2, False)]
)
async def test_who_approves_all_faster_than_anybody_reads_raises_the_alarm(desk, opened, acts, dwell_s, alarm) -> None:
    for number, act in enumerate(acts):
        await desk.decide(await opened(number), "ruth", Act.APPROVE if act == "a" else Act.REFUSE, dwell_s=dwell_s)
    (ruth,) = (await report_of(desk)).reviewers
    assert ruth.alarm is alarm
    watch = QualityWatch(desk.store, desk.audit, SETTINGS, clock=desk.time)
    before = len(desk.audit.drafts)
    desk.now += timedelta(seconds=1)
    for hours in (0, 0.5, 2, 25):
        desk.now += timedelta(hours=hours)
        await watch.look()
    raised = [draft.body for draft in desk.audit.drafts[before:] if draft.type.value == "review.alarm"]
    assert len(raised) == (2 if alarm else 0), "once a day"
    if alarm:
        assert raised[0] == {
            "person": ruth.person, "decisions": 4, "approvals": 4, "dwell_ms": dwell_s * 1000, "window_days": 30,
        }  # fmt: skip


async def test_a_seed_goes_through_the_queue_like_any_case_and_belongs_to_nobody(desk, opened) -> None:
    promise, harmless = read_seeds(SEEDS, "seeds.yaml", known_rules=RULES)
    case = await desk.seeding.plant(promise)
    other = await desk.seeding.plant(harmless)
    assert await desk.seeding.plant(promise) is None, "planted once"
    assert [draft.type.value for draft in desk.audit.drafts] == ["case.drill_opened"] * 2
    assert desk.audit.drafts[0].body["about"] == "acme/promise"
    real = await desk.store.find(await opened(1))
    # What is shown of a case has the form of any other.
    assert [len(case.id), len(case.fingerprint), len(case.binding)] == [len(real.id), 64, len(real.binding)]
    assert (case.exchange.isalnum(), len(case.exchange), case.principal[:2]) == (True, 32, "p:")
    assert is_drill(case, KEY)
    assert not is_drill(real, KEY)
    reviewer = principal("ruth")
    listed = await desk.store.list_cases(reviewer)
    assert {one.id for one in listed} == {case.id, other.id, real.id}
    file = await desk.review.open_file(case, reviewer, reason="T-1")
    assert (file.content.candidate, file.content.passages[0].text) == ("Yes, certainly.", "Fees are low.")
    assert (await desk.decide(case.id, "ruth", Act.APPROVE)).state is CaseState.APPROVED
    assert (await desk.decide(other.id, "ruth", Act.APPROVE)).state is CaseState.APPROVED
    nobody = structs.replace(principal("eve", "user"), app="loans", ref=case.principal)
    with pytest.raises(RequestError) as raised:
        await desk.desk.approval(case.id, nobody)
    assert raised.value.code == "case_not_found", "not even for whoever has its reference"
    report = await report_of(desk)
    assert (report.seeds.hits, report.seeds.total) == (1, 2)
    assert await rule_precision(desk.store, since=START, until=desk.now + timedelta(days=1)) == ()


async def test_a_second_reviewer_decides_a_copy_without_the_first_decision(desk, opened) -> None:
    for number, (one, two) in enumerate([("a", "a"), ("r", "r"), ("a", "r"), ("r", "r")]):
        acts = {"a": Act.APPROVE, "r": Act.REFUSE}
        first = await desk.decide(await opened(number), "ruth", acts[one])
        copy = await desk.blind.open(first.id)
        assert await desk.blind.open(first.id) is None, "one second look"
        assert (copy.state, copy.course.votes, copy.course.deciders, copy.revision) == (CaseState.QUEUED, (), (), 1)
        assert (await desk.store.drill_of(copy.id)).kind is DrillKind.BLIND
        with pytest.raises(RequestError) as raised:
            await desk.review.act(copy, Act.CLAIM, desk.actor("ruth"))
        assert raised.value.status == 403, "not by whoever decided first"
        assert (await desk.store.sealed_content(copy)).candidate == "canary answer"
        assert (await desk.decide(copy.id, "ravi", acts[two])).state in (CaseState.APPROVED, CaseState.REFUSED)
        assert (await desk.store.find(first.id)).revision == first.revision, "the request's own case is untouched"
    found = (await report_of(desk)).agreement
    assert (found.cases, found.agreed, found.kappa) == (4, 3, pytest.approx(0.5))
    (rule,) = await rule_precision(desk.store, since=START, until=desk.now + timedelta(days=1))
    assert rule.precision.total == 4, "copies do not count for the rule"


async def test_appeals_that_change_a_decision_are_counted(desk, opened) -> None:
    for number, act in enumerate([Act.APPROVE, Act.REFUSE]):
        case = await desk.decide(await opened(number), "ruth", Act.REFUSE)
        asker = Actor(person=case.course.person, ref=case.principal, requests=True)
        await desk.transitions.move(case, Appeal("wrong"), asker)
        await desk.decide(case.id, "ravi", act)
    overturned = (await report_of(desk)).overturned
    assert (overturned.hits, overturned.total) == (1, 2)
    (rule,) = await rule_precision(desk.store, since=START, until=desk.now + timedelta(days=1))
    assert rule.refused == 1, "the last decision counts"


async def test_a_queue_that_gets_more_than_its_people_can_do_is_seen(desk, opened) -> None:
    for number in range(4):
        await desk.decide(await opened(number), "ruth", Act.APPROVE, before_s=0, dwell_s=1800)
    until = START + timedelta(days=1)
    (load,) = await capacity_report(desk.store, {"credit": 1.0}, since=START, until=until)
    assert (load.queue, load.arrivals_per_day, load.work_s, load.needed_hours) == ("credit", 4.0, 1800.0, 2.0)
    assert load.load == pytest.approx(2.0)
    unstaffed, idle = await capacity_report(desk.store, {"idle": 8.0}, since=START, until=until)
    assert (unstaffed.load, idle.queue, idle.load, idle.arrivals_per_day) == (None, "idle", None, 0.0)
    assert await capacity_report(desk.store, {}, since=START, until=until, tenant="other") == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("expected: refuse", "expected: maybe"), ""),
        (("rules: [CRD-001], expected: refuse", "rules: [NO-1], expected: refuse"), "SEED002"),
        (("name: harmless", "name: promise"), "SEED001"),
        (("question: Hello?", "question: ''"), ""),
        (("question: Hello?", "question: Hello?, answer: x"), ""),
    ],
)
def test_seeds_that_cannot_be_planted_are_named_with_their_place(change, code) -> None:
    with pytest.raises(FaultsFound) as raised:
        read_seeds(SEEDS.replace(*change), "seeds.yaml", known_rules=RULES)
    (fault,) = raised.value.faults
    assert (fault.file, fault.line > 0, fault.code.startswith(code)) == ("seeds.yaml", True, True)


async def test_reviewers_of_other_tenants_see_no_drill(desk) -> None:
    promise, _ = read_seeds(SEEDS, "seeds.yaml", known_rules=RULES)
    case = await desk.seeding.plant(promise)
    stranger = structs.replace(principal("eve"), tenant="other")
    assert await desk.store.get(case.id, stranger) is None
    assert await desk.store.get(case.id, Operator()) == case


async def test_drills_of_a_kind_are_listed_by_tenant_and_time(desk, opened) -> None:
    planted = [await desk.seeding.plant(seed) for seed in read_seeds(SEEDS, "seeds.yaml", known_rules=RULES)]
    await desk.blind.open(await opened(1))
    later = desk.now + timedelta(seconds=1)
    found = await desk.store.drills(DrillKind.SEED, START, later, "acme")
    assert {(case.id, mark.case, mark.expected) for case, mark in found} == {
        (planted[0].id, planted[0].id, "refuse"),
        (planted[1].id, planted[1].id, "approve"),
    }
    assert [mark.kind for _, mark in await desk.store.drills(DrillKind.BLIND, START, later)] == [DrillKind.BLIND]
    assert await desk.store.drills(DrillKind.SEED, START, later, "rival") == []
    assert await desk.store.drills(DrillKind.SEED, later, later + timedelta(days=1)) == []
