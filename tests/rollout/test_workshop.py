"""What a change of policies builds anew, and what it takes over."""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rollout_texts import policy, rule, words, write

from gateway.assembly.policies import PolicyWorkshop
from gateway.domain.errors import FaultsFound
from gateway.exchange import Rulebook
from gateway.inspection.inspector import Inspector
from gateway.rollout.rollout import Prepared
from gateway.settings import Settings

SECRET = {**rule("S-1"), "when": {"all": [{"signal": "secrets.kinds", "empty": False}]}}
TOPIC = {**rule("T-1", effect="flag"), "when": {"all": [{"signal": "topic.loans", "gte": 0.9}]}}
LOANS = {"loans": {"like": ["Do I get a loan?", "Will you lend me money?"], "unlike": ["What is a loan?"]}}


class OneEmbedder:
    """Every text alike: nothing here depends on what it says."""

    name, version, dimensions = "one", "1", 2

    def embed(self, texts):
        import numpy as np

        return np.full((len(texts), 2), 0.5**0.5, dtype=np.float32)


@pytest.fixture
def workshop(make_settings: Callable[..., Settings]) -> Callable[..., PolicyWorkshop]:
    def make(**more) -> PolicyWorkshop:
        return PolicyWorkshop(
            make_settings(**more),
            embedder=OneEmbedder(),
            cache_key=b"k" * 32,
            now=lambda: datetime.now(UTC),
            clock_us=lambda: time.monotonic_ns() // 1000,
        )

    return make


def inspector(prepared: Prepared[Rulebook]) -> Inspector:
    assert isinstance(prepared.rulebook.inspector, Inspector)
    return prepared.rulebook.inspector


def test_only_what_depends_on_what_changed_is_built_anew(workshop, policies: Path) -> None:
    write(policies, policy(rule(), SECRET, TOPIC, lists=words("alpha"), topics=LOANS))
    made = workshop()
    first = made.prepare(made.read(), None)
    write(policies, policy(rule(), SECRET, TOPIC, lists=words("beta"), topics=LOANS))
    second = made.prepare(made.read(), first)
    before, after = inspector(first).detectors, inspector(second).detectors
    assert {name for name in after if after[name] is before[name]} == {"secrets", "topics"}
    assert after["lists"].version != before["lists"].version, "or the cache would answer for the old list"
    assert second.rulebook.growth is not first.rulebook.growth

    write(policies, policy(rule(effect="flag"), SECRET, TOPIC, lists=words("beta"), topics=LOANS))
    third = made.prepare(made.read(), second)
    assert inspector(third).detectors == after
    assert third.rulebook.growth is second.rulebook.growth
    assert third.bundle.digest != second.bundle.digest


def test_an_unchanged_edition_is_not_compiled_again(workshop, policies: Path, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate"
    write(candidate, policy(rule("C-1"), lists=words("beta")))
    made = workshop(policy={"candidate": (candidate,)})
    first = made.prepare(made.read(), None)
    assert first.rulebook.candidate is not None
    assert first.rulebook.candidate.own == {"lists"}
    write(candidate, policy(rule("C-1"), lists=words("alpha")))
    second = made.prepare(made.read(), first)
    assert second.bundle is first.bundle
    assert second.rulebook.candidate is not None
    assert second.rulebook.candidate.own == frozenset(), "the same list as in force"


def test_what_is_replaced_goes_with_the_last_exchange(workshop, policies: Path) -> None:
    write(policies, policy(rule(), TOPIC, lists=words("alpha"), topics=LOANS))
    made = workshop()
    first = made.prepare(made.read(), None)
    more = {"loans": {**LOANS["loans"], "unlike": ["Where is a branch?"]}}
    write(policies, policy(rule(), TOPIC, lists=words("alpha"), topics=more))
    second = made.prepare(made.read(), first)
    gone = weakref.ref(inspector(first))
    gc.disable()  # it goes by itself, also where the collector has frozen what was there at the start
    try:
        del first
        assert gone() is None
    finally:
        gc.enable()
    assert inspector(second).detectors["topics"]
    assert not [one for one in threading.enumerate() if one.name.startswith("detector-topics")]


@pytest.mark.parametrize(("expected", "stands"), [("refuse", True), ("allow", False)])
def test_conversations_are_a_self_test_where_the_settings_say_so(workshop, policies: Path, expected, stands) -> None:
    spoken = [{"name": "one", "query": "what of alpha?", "expect": {"effect": expected}}]
    write(policies, policy(rule(), lists=words("alpha"), conversations=spoken))
    made = workshop()
    made.prepare(made.read(), None)  # by default they are not run
    made = workshop(policy={"selftest": "conversations"})
    if stands:
        assert made.prepare(made.read(), None).bundle.rules
        return
    with pytest.raises(FaultsFound, match="POL202 conversation `one`: expected allow, it is refuse") as caught:
        made.prepare(made.read(), None)
    assert caught.value.code == "policy_tests_failed"


def test_tests_are_not_run_where_the_settings_say_so(workshop, policies: Path) -> None:
    wrong = {"name": "wrong", "given": {"list.words": True}, "expect": "no_match"}
    write(policies, policy({**rule(), "tests": [wrong]}, lists=words("alpha")))
    made = workshop(policy={"selftest": "off"})
    assert made.prepare(made.read(), None).bundle.rules
    made = workshop()
    with pytest.raises(FaultsFound, match="POL201"):
        made.prepare(made.read(), None)
