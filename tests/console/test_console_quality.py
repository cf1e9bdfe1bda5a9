"""Review quality: what leads see of seeds, agreement, alarms, rules, staffing and broken glass."""

import itertools
import re
from datetime import timedelta
from html import unescape

import pytest
from console_stage import OPENED

from gateway.cases import BlindReviews
from gateway.cases.case import REVIEWER
from gateway.cases.machine import Actor
from gateway.cases.review import Act
from gateway.cases.seeds import Seeding, read_seeds
from gateway.cases.terms import person_of
from gateway.console.quality_view import hours_of

SEEDS = """
seeds:
  - {name: promise, tenant: acme, app: loans, queue: credit, rules: [C-003], expected: refuse,
     question: Will I get it?, candidate: "Yes, certainly."}
  - {name: rival-seed, tenant: rival, app: loans, queue: credit, rules: [C-003], expected: approve, question: Hello?}
"""


def words(answer) -> str:
    """What a person reads: without tags, blanks joined."""
    body = answer.text.partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def actor(stage, user: str) -> Actor:
    return Actor(person=person_of("acme", user, stage.parts.case_key), ref=f"p:{user}", roles=frozenset({REVIEWER}))


@pytest.fixture
def decide(stage):
    async def one(case_id: str, user: str, act: Act, *, dwell_s: float = 60.0) -> None:
        case = await stage.parts.store.find(case_id)
        case = await stage.parts.review.act(case, Act.CLAIM, actor(stage, user))
        stage.clock.forward(seconds=dwell_s)
        await stage.parts.review.act(case, act, actor(stage, user), reason="within_policy")

    return one


@pytest.fixture
async def planted(stage) -> list[str]:
    """Ids of the planted cases."""
    numbers = itertools.count(100)
    seeding = Seeding(
        stage.parts.store,
        stage.audit,
        key=stage.parts.case_key,
        policy=stage.parts.policy().digest,
        ids=lambda: f"{next(numbers):032x}",
        clock=stage.clock,
    )
    made = [await seeding.plant(seed) for seed in read_seeds(SEEDS, "seeds.yaml", known_rules=frozenset({"C-003"}))]
    return [case.id for case in made if case is not None]


async def test_an_empty_store_says_that_there_is_nothing(stage) -> None:
    answer = await (await stage.signed_in("lena", "lead")).get("/quality")
    assert answer.status_code == 200
    read = words(answer)
    for said in ("0 decisions", "Nobody has decided a case", "No case came in", "None was planted", "No alarm"):
        assert said in read


async def test_a_seed_tells_its_answer_only_once_it_is_decided(stage, planted, decide) -> None:
    stage.clock.forward(seconds=1)
    lena = await stage.signed_in("lena", "lead")
    before = await lena.get("/quality")
    assert "promise" in words(before)
    assert "told once it is decided" in words(before)
    assert planted[0] not in before.text
    assert not re.search(r"\brefuse\b", words(before))
    await decide(planted[0], "zoe", Act.APPROVE)
    stage.clock.forward(seconds=1)
    after = await lena.get("/quality")
    assert "approve, wrong" in words(after)
    assert planted[0] in after.text
    assert "Known answers right 0 of 1, 0% (0% to 79%)" in words(after)


async def test_another_tenants_figures_are_not_there(stage, planted) -> None:
    stage.clock.forward(seconds=1)
    lena = await stage.signed_in("lena", "lead")
    assert "rival-seed" not in (await lena.get("/quality")).text
    assert (await lena.get("/quality?tenant=rival")).status_code == 404
    both = await stage.signed_in("lou", "lead", tenants=("acme", "rival"))
    assert "rival-seed" in (await both.get("/quality?tenant=rival")).text
    assert "rival-seed" not in (await both.get("/quality?tenant=acme")).text


async def test_agreement_of_blind_second_decisions_is_shown_with_its_interval(stage, decide) -> None:
    numbers = itertools.count(200)
    blind = BlindReviews(
        stage.parts.store,
        stage.audit,
        key=stage.parts.case_key,
        ids=lambda: f"{next(numbers):032x}",
        clock=stage.clock,
    )
    acts = [Act.APPROVE, Act.REFUSE, Act.APPROVE, Act.REFUSE]
    for number, act in enumerate(acts):
        case = await stage.open_case(number)
        await decide(case.id, "zoe", act)
        second = await blind.open(case.id)
        assert second is not None
        await decide(second.id, "bram", Act.APPROVE if number == 1 else act)
    stage.clock.forward(seconds=1)
    read = words(await (await stage.signed_in("lena", "lead")).get("/quality"))
    assert "3 of 4, Cohen's kappa 0.50 (" in read
    assert "2 of 4, 50%" in read, "the precision of the rule counts first decisions alone"
    assert read.count("Median seconds") == 1


async def test_who_approves_all_too_fast_is_named(stage, decide) -> None:
    lena = await stage.signed_in("lena", "lead")
    for number in range(30):
        await decide((await stage.open_case(number)).id, "lena", Act.APPROVE, dwell_s=1)
    stage.clock.forward(seconds=1)
    read = words(await lena.get("/quality"))
    assert "Alarm. lena approved 30 of 30 cases" in read
    assert "too fast" in read


async def test_hours_that_are_typed_in_are_worked_with_and_not_kept(stage, decide) -> None:
    for number in range(2):
        await decide((await stage.open_case(number)).id, "zoe", Act.APPROVE, dwell_s=7_200 / 4)
    stage.clock.now = OPENED + timedelta(days=1)
    lena = await stage.signed_in("lena", "lead")
    read = words(await lena.get("/quality?days=7&hours.credit=0.1"))
    # Two cases of half an hour in seven days are a seventh of an hour a day.
    assert "0.14" in read
    assert "143 % too much" in read
    assert "% too much" not in words(await lena.get("/quality?days=7&hours.credit=8"))
    wrong = await lena.get("/quality?days=7&hours.credit=many")
    assert wrong.status_code == 400
    assert "correct credit" in words(wrong)
    assert "too much" not in words(await lena.get("/quality"))


@pytest.mark.parametrize(
    ("asked", "hours", "wrong"),
    [
        ({}, {"a": 2.0}, ()),
        ({"hours.a": "3"}, {"a": 3.0}, ()),
        ({"hours.b": "1,5"}, {"a": 2.0, "b": 1.5}, ()),
        ({"hours.a": " "}, {"a": 2.0}, ()),
        ({"hours.a": "nan"}, {"a": 2.0}, ("a",)),
        ({"hours.a": "-1", "hours.b": "inf"}, {"a": 2.0}, ("a", "b")),
        ({"days": "30"}, {"a": 2.0}, ()),
    ],
)
def test_hours_are_numbers_that_a_day_could_have(asked, hours, wrong) -> None:
    assert hours_of(asked, {"a": 2.0}) == (hours, wrong)


async def test_a_broken_glass_is_listed_until_it_was_looked_at_and_then_late(stage) -> None:
    case = await stage.open_case()
    lou = await stage.signed_in("lou", "lead")
    assert (await lou.act(case, "break-glass", {"code": "urgent_harm"})).status_code == 303
    stage.clock.forward(seconds=1)
    lena = await stage.signed_in("lena", "lead")
    early = await lena.get("/quality")
    assert f"/console/cases/{case.id}" in early.text
    assert "1 to be looked at after breaking the glass" in words(early)
    stage.clock.forward(days=2)
    late = await (await stage.signed_in("lena", "lead")).get("/quality")
    assert "breaking the glass, 1 late" in words(late)
