"""The state machine of a roll-out, over fakes: what is recorded, what is swapped, what is shared by workers."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_texts import NOW, policy, rule, words, write
from support.fakes import FakeAudit

from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.domain.event import EventType
from gateway.policy.load import compile_files
from gateway.rollout.edition import from_kept, kept_form, look, read_edition
from gateway.rollout.record import code_of, place_of
from gateway.rollout.rollout import Prepared, Reading, Rollout
from gateway.rollout.shelf import NodeState, Shelf


class FakeWorkshop:
    """Compiles for real; `broken` makes one attempt fail with a defect."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prepared = 0
        self.broken: Exception | None = None

    def look(self):
        return look([self.folder], None)

    def read(self) -> Reading:
        return Reading(edition=read_edition([self.folder], None))

    def compile(self, edition):
        if edition.fault:
            raise ConfigurationError(edition.fault)
        return compile_files(edition.files, signals={}, now=NOW)

    def prepare(self, reading, current):
        self.prepared += 1
        if self.broken is not None:
            raise self.broken
        bundle = self.compile(reading.edition)
        return Prepared(reading=reading, bundle=bundle, rulebook=bundle.digest)


class Worker:
    def __init__(self, folder: Path, node: Path, audit: FakeAudit) -> None:
        self.workshop = FakeWorkshop(folder)
        self.rollout = Rollout(self.workshop, Shelf(node), audit, reload_s=0)


@pytest.fixture
def audit() -> FakeAudit:
    return FakeAudit()


def bodies(audit: FakeAudit, type_: EventType) -> list[dict]:
    return [draft.body for draft in audit.drafts if draft.type is type_]


def changes(audit: FakeAudit) -> list[dict]:
    return [body for body in bodies(audit, EventType.POLICY_ACTIVATE) if body["cause"] == "change"]


async def test_without_a_record_there_is_no_swap_and_the_next_look_tries_again(tmp_path, policies, audit) -> None:
    one = Worker(policies, tmp_path / "node", audit)
    await one.rollout.begin()
    before = one.rollout.rulebook()
    write(policies, policy(rule(), lists=words("beta")))
    audit.fail_on = EventType.POLICY_ACTIVATE
    with pytest.raises(AuditUnavailable):
        await one.rollout.check()
    assert one.rollout.rulebook() == before
    assert Shelf(tmp_path / "node").state().policy == before
    audit.fail_on = None
    await one.rollout.check()
    assert one.rollout.rulebook() != before
    assert len(changes(audit)) == 1


async def test_a_start_that_cannot_be_recorded_fails(tmp_path, policies, audit) -> None:
    audit.fail_on = EventType.POLICY_ACTIVATE
    with pytest.raises(AuditUnavailable):
        await Worker(policies, tmp_path / "node", audit).rollout.begin()


async def test_one_worker_records_and_all_end_alike(tmp_path, policies, audit) -> None:
    workers = [Worker(policies, tmp_path / "node", audit) for _ in range(4)]
    for one in workers:
        await one.rollout.begin()
    write(policies, policy(rule(), lists=words("beta")))
    await asyncio.gather(*(one.rollout.check() for one in workers))
    assert len({one.rollout.rulebook() for one in workers}) == 1
    assert len(changes(audit)) == 1


async def test_a_worker_that_missed_a_change_follows_the_node(tmp_path, policies, audit) -> None:
    quick, slow = (Worker(policies, tmp_path / "node", audit) for _ in range(2))
    await quick.rollout.begin()
    await slow.rollout.begin()
    write(policies, policy(rule(), lists=words("beta")))
    await quick.rollout.check()
    write(policies, {"apiVersion": "gateway/v1"})
    await slow.rollout.check()
    assert slow.rollout.rulebook() == quick.rollout.rulebook()
    assert slow.rollout.state().stale, "the files themselves are faulty"
    assert len(changes(audit)) == 1
    await quick.rollout.check()
    assert len(bodies(audit, EventType.POLICY_REJECTED)) == 1


async def test_a_defect_of_ours_keeps_the_last_good_and_tells_no_text(tmp_path, policies, audit) -> None:
    one = Worker(policies, tmp_path / "node", audit)
    await one.rollout.begin()
    before = one.rollout.rulebook()
    write(policies, policy(rule(), lists=words("beta")))
    one.workshop.broken = RuntimeError("some text of a library")
    await one.rollout.check()
    assert one.rollout.rulebook() == before
    assert one.rollout.state().error == "exception:RuntimeError"
    (body,) = bodies(audit, EventType.POLICY_REJECTED)
    assert (body["code"], body["faults"]) == ("exception:RuntimeError", [])


async def test_nothing_is_tried_twice(tmp_path, policies, audit) -> None:
    one = Worker(policies, tmp_path / "node", audit)
    await one.rollout.begin()
    for _ in range(3):
        await one.rollout.check()
    assert one.workshop.prepared == 1
    write(policies, {"apiVersion": "gateway/v1"})
    for _ in range(3):
        await one.rollout.check()
        one.rollout.wake()
    assert one.workshop.prepared == 2


async def test_files_that_change_while_they_are_tried_wait_for_the_next_look(tmp_path, policies, audit) -> None:
    one = Worker(policies, tmp_path / "node", audit)
    await one.rollout.begin()
    before = one.rollout.rulebook()
    prepare = one.workshop.prepare

    def slow(reading, current):
        prepared = prepare(reading, current)
        write(policies, policy(rule(), lists=words("gamma")))
        return prepared

    write(policies, policy(rule(), lists=words("beta")))
    one.workshop.prepare = slow
    with pytest.raises(Exception, match="changed while they were tried"):
        await one.rollout.check()
    assert one.rollout.rulebook() == before
    one.workshop.prepare = prepare
    await one.rollout.check()
    (body,) = changes(audit)
    assert body["policy"] == one.rollout.rulebook()
    assert body["previous"] == before


async def test_a_cancelled_look_gives_the_lock_back(tmp_path, policies, audit) -> None:
    one, other = (Worker(policies, tmp_path / "node", audit) for _ in range(2))
    await one.rollout.begin()
    await other.rollout.begin()
    held = Shelf(tmp_path / "node").acquire()
    write(policies, policy(rule(), lists=words("beta")))
    checking = asyncio.create_task(one.rollout.check())
    await asyncio.sleep(0.4)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    os.close(held)
    await asyncio.wait_for(other.rollout.check(), 10)
    assert len(changes(audit)) == 1


def test_a_kept_copy_that_was_altered_is_not_served(tmp_path, policies) -> None:
    shelf = Shelf(tmp_path / "node")
    edition = read_edition([policies], None)
    shelf.keep(edition)
    assert shelf.kept(edition.digest) == edition
    (file,) = (tmp_path / "node").glob("edition-*.json")
    file.write_text(file.read_text().replace("refuse", "allow"))
    with pytest.raises(ConfigurationError, match="were changed"):
        shelf.kept(edition.digest)
    file.write_text("{")
    with pytest.raises(ConfigurationError, match="damaged"):
        shelf.kept(edition.digest)


def test_a_state_that_cannot_be_read_is_no_state(tmp_path) -> None:
    shelf = Shelf(tmp_path / "node")
    assert shelf.state() == NodeState()
    (tmp_path / "node" / "state.json").write_text("{")
    assert shelf.state() == NodeState()


def test_a_folder_that_cannot_be_used_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"`.*file/node` cannot be used"):
        Shelf(tmp_path / "file" / "node")


@given(texts=st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=40), max_size=4))
@settings(max_examples=60, deadline=None)
def test_an_edition_is_kept_as_it_was(tmp_path_factory, texts: dict[str, str]) -> None:
    folder = tmp_path_factory.mktemp("edition")
    (folder / "base.yaml").write_text("a: b")
    for name, text in texts.items():
        (folder / f"x{name}.yaml").write_text(text, "utf-8", newline="")
    edition = read_edition([folder], None)
    assert from_kept(kept_form(edition)) == edition
    (folder / "base.yaml").write_text("a: c")
    assert read_edition([folder], None).digest != edition.digest


def test_codes_and_places_tell_no_words_of_a_policy() -> None:
    assert code_of(RuntimeError("secret")) == "exception:RuntimeError"
    assert place_of(ConfigurationError("words of a policy")) == "configuration_error"
