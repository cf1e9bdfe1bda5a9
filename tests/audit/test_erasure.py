"""What erasure, holds and retention destroy is gone from the files; the log verifies as before, and says what was."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from support.declared import check_log

from gateway.audit import database
from gateway.audit.body_read import BodyReader, BodyVerdict
from gateway.audit.body_store import BodyStore
from gateway.audit.body_writer import BodyWriter
from gateway.audit.bundle import prove
from gateway.audit.data_keys import DataKeys, KeyOwner
from gateway.audit.erasure import Acknowledgement, Answer, Eraser, Files, HeldError
from gateway.audit.holds import Holds, Person
from gateway.audit.keeping import KeepingLog
from gateway.audit.log import SqliteAuditLog
from gateway.audit.read import AuditReader, Event, Filter
from gateway.audit.retention import Retention, digest_of
from gateway.audit.search_index import SearchIndex
from gateway.audit.traces import traces_of
from gateway.audit.verify import Outcome, verify_log
from gateway.audit.wrapping import MasterWrapper, Wrappers
from gateway.domain.errors import AuditUnavailable, GuardUnavailable, RequestError
from gateway.domain.event import BodyText, Commitment, EventDraft, EventType

WRAPPERS = Wrappers(MasterWrapper(bytes(range(32))))
ALICE = KeyOwner("acme", "desk", "p:alice")
BOB = KeyOwner("acme", "desk", "p:bob")
ANN, BEN = Person("p:ann", "u:ann"), Person("p:ben", "u:ben")
WHY = "ticket GDPR-17"
START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


class Trail:
    """A log that keeps texts, in a folder, at a time that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = START
        self.files = Files(
            log=folder / "audit.db", bodies=folder / "bodies.db", keys=folder / "keys.db", holds=folder / "holds.db"
        )
        self._ids = itertools.count()
        self.log = SqliteAuditLog.open(
            self.files.log,
            log_name="gateway.test/node-1",
            group_max_events=64,
            append_timeout_s=5.0,
            reserve_bytes=0,
            clock=lambda: self.now,
            ids=self.id,
            salts=lambda: os.urandom(32),
        )
        self.writer = BodyWriter(self.files.bodies, self.files.keys, WRAPPERS, clock=lambda: self.now, timeout_s=5.0)
        self.keeping = KeepingLog(self.log, self.writer)
        self.reader = BodyReader(self.files.log, self.files.bodies, self.files.keys, wrappers=WRAPPERS, audit=self.log)

    def id(self) -> str:
        return f"id-{next(self._ids):06d}"

    async def exchange(self, owner: KeyOwner, question: str, *, kept: bool = True) -> str:
        """An answered request; the id of its intent."""
        request = self.id()
        about: dict[str, Any] = {
            "request": request,
            "tenant": owner.tenant,
            "app": owner.app,
            "principal": owner.subject,
        }
        decided = {"phase": "query", "effect": "allow", "policy": "p", "evaluated": 0, "rules": []}
        coverage = {"required": [], "ran": [], "not_ok": [], "unscanned": []}
        first = {
            "route": "/v1",
            "auth": "key",
            "key": "k",
            "groups": [],
            "model": "m",
            "stream": False,
            "segments": 1,
            "quarantined": 0,
            "query": Commitment(text=question),
            "phase": decided,
            "coverage": coverage,
        }
        bodies = (BodyText(field="query", text=question),) if kept else ()
        receipt = await self.keeping.append(EventDraft(type=EventType.INTENT, **about, body=first, bodies=bodies))
        last = {"effect": "unknown", "reason": "unknown_after_crash", "intent_seq": receipt.seq}
        await self.log.append(EventDraft(type=EventType.OUTCOME, **about, body=last))
        return receipt.id

    def eraser(self, *places: Any) -> Eraser:
        return Eraser(self.files, WRAPPERS, self.log.append, places=places, clock=lambda: self.now, ids=self.id)

    def retention(self, days: int = 365) -> Retention:
        return Retention(
            self.files, WRAPPERS, self.log.append, days=lambda app: days, clock=lambda: self.now, ids=self.id
        )

    def events(self, *kinds: EventType) -> list[Event]:
        with AuditReader(self.files.log) as reader:
            return list(reader.search(Filter(types=frozenset(kind.value for kind in kinds))))

    def secrets(self, owner: KeyOwner) -> list[bytes]:
        """The salts, wrapped keys and ciphertexts of a caller, as they are on disk."""
        ids = traces_of(self.files.log, owner.tenant, owner.subject).ids
        db = database.open_reader(self.files.log)
        found = [row[0] for one in ids for row in db.execute("SELECT salt FROM salts WHERE event_id = ?", (one,))]
        db.close()
        keys, store = DataKeys.open(self.files.keys, WRAPPERS), BodyStore.open(self.files.bodies)
        for record in keys.of_subject(owner.tenant, owner.subject):
            found += [row[0] for row in keys._db.execute("SELECT wrapped FROM data_keys WHERE ref = ?", (record.ref,))]
            found += [row[0] for row in store._db.execute("SELECT sealed FROM bodies WHERE key = ?", (record.ref,))]
        keys.close()
        store.close()
        return [one for one in found if any(one)]

    def raw(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.files.log.parent.rglob("*") if path.is_file())

    def close(self) -> None:
        self.writer.close()
        self.log.close()
        check_log(self.files.log)


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    made = Trail(tmp_path)
    yield made
    made.close()


async def test_what_a_caller_left_is_nowhere_and_another_callers_is_all_there(trail: Trail) -> None:
    mine = [await trail.exchange(ALICE, f"my secret {n} " + "long " * (n * 40)) for n in range(30)]
    theirs = [await trail.exchange(BOB, f"their secret {n}") for n in range(30)]
    gone, kept = trail.secrets(ALICE), trail.secrets(BOB)
    assert len(gone) == 30 * 2 + 1 + 30
    assert all(one[:32] in trail.raw() for one in [*gone, *kept])
    report = await trail.eraser().erase(ALICE, by="os:1", reason=WHY)
    assert (report.stage, report.keys, report.exchanges) == ("done", 1, 30)
    left = trail.raw()
    assert not any(one[start : start + 24] in left for one in gone for start in range(0, len(one) - 23, 24))
    assert all(one[:32] in left for one in kept)
    assert b"secret" not in left
    assert verify_log(trail.files.log).outcome is Outcome.VERIFIED_UNANCHORED
    erased = await trail.reader.read_body(mine[0], "query", "p:auditor", WHY)
    assert (erased.verdict, erased.text) == (BodyVerdict.ERASED, "")
    assert erased.what == "the text was erased on 2026-11-24"
    opened = await trail.reader.read_body(theirs[3], "query", "p:auditor", WHY)
    assert (opened.verdict, opened.text) == (BodyVerdict.OPENED, "their secret 3")


async def test_an_erasure_says_before_and_after_what_every_place_answered(trail: Trail) -> None:
    class Failing:
        name = "archive"

        async def erase(self, owner: KeyOwner) -> Acknowledgement:
            raise GuardUnavailable("the archive does not answer", code="archive_down")

    class Cases:
        name = "cases"

        async def erase(self, owner: KeyOwner) -> Acknowledgement:
            assert owner == ALICE
            assert len(trail.events(EventType.ERASURE)) % 2 == 1, "recorded before anything goes"
            return Acknowledgement(place=self.name, status=Answer.ERASED, count=2)

    await trail.exchange(ALICE, "x")
    report = await trail.eraser(Cases(), Failing()).erase(ALICE, by="os:1", reason=WHY)
    assert report.stage == "incomplete"
    begun, ended = (event.members for event in trail.events(EventType.ERASURE))
    assert (begun["stage"], ended["stage"]) == ("begun", "incomplete")
    assert begun["erasure"] == ended["erasure"] == report.erasure
    assert len(begun["keys"]) == 1
    answers = {one["place"]: (one["status"], one["count"], one["reason"]) for one in ended["acknowledged"]}
    assert answers["data_keys"] == ("erased", 1, "")
    assert answers["bodies"] == ("erased", 1, "")
    assert answers["salts"] == ("erased", 2, "")
    assert answers["cases"] == ("erased", 2, "")
    assert answers["archive"] == ("failed", 0, "archive_down")
    assert answers["pseudonyms"] == ("holds_none", 0, "live_for_one_exchange")
    again = await trail.eraser(Cases()).erase(ALICE, by="os:1", reason=WHY)
    assert again.stage == "done", "an erasure can be run again"


async def test_someone_who_reads_makes_it_incomplete_until_it_is_run_again(trail: Trail) -> None:
    await trail.exchange(ALICE, "x")
    blocker = database.open_reader(trail.files.log)
    blocker.execute("BEGIN")
    blocker.execute("SELECT count(*) FROM salts").fetchone()
    trail.files = structs.replace(trail.files, patience_s=0.05)
    report = await trail.eraser().erase(ALICE, by="os:1", reason=WHY)
    assert report.stage == "incomplete"
    assert next(one for one in report.acknowledged if one.place == "salts").reason == "log_in_use"
    blocker.execute("ROLLBACK")
    blocker.close()
    assert (await trail.eraser().erase(ALICE, by="os:1", reason=WHY)).stage == "done"


async def test_a_reviewer_who_is_erased_takes_nobody_elses_case_along(trail: Trail) -> None:
    await trail.exchange(BOB, "bob's question")
    request = trail.events(EventType.INTENT)[0].members["request"]
    body = {"case": "c", "binding": "b", "reason": "why"}
    await trail.log.append(
        EventDraft(type=EventType.BODY_READ, request=request, tenant="acme", principal=ALICE.subject, body=body)
    )
    assert traces_of(trail.files.log, "acme", ALICE.subject).ids == ()
    assert len(traces_of(trail.files.log, "acme", BOB.subject).ids) == 3


async def test_key_events_are_found_by_the_users_name(trail: Trail) -> None:
    for user in ("alice", "bob"):
        body = {"key": user, "user": Commitment(text=user), "label": Commitment(text="laptop")}
        await trail.log.append(EventDraft(type=EventType.KEY_CREATED, tenant="acme", app="desk", body=body))
    await trail.eraser().erase(ALICE, by="os:1", reason=WHY, user="alice")
    created = trail.events(EventType.KEY_CREATED)
    with AuditReader(trail.files.log) as reader:
        left = [(event.members["key"], reader.salt(event.members["id"], "/user")) for event in created]
    assert [(key, salt is None) for key, salt in left] == [("alice", True), ("bob", False)]


async def test_the_index_forgets_what_was_erased(trail: Trail) -> None:
    await trail.exchange(ALICE, "find me")
    with SearchIndex(trail.files.log) as index:
        index.take_in(100)
        assert index._db.execute("SELECT count(*) FROM texts").fetchone()[0] > 0
    await trail.eraser().erase(ALICE, by="os:1", reason=WHY)
    with SearchIndex(trail.files.log) as index:
        assert index._db.execute("SELECT count(*) FROM texts").fetchone()[0] == 0
        index.begin_anew()
        index.take_in(100)
        assert index._db.execute("SELECT count(*) FROM texts").fetchone()[0] == 0


async def test_proofs_under_a_checkpoint_hold_after_erasure(trail: Trail, sign: Callable[..., Any]) -> None:
    await trail.exchange(ALICE, "x")
    signed = sign(trail.files.log)
    before = prove(trail.files.log, signed, [2, 3])
    await trail.eraser().erase(ALICE, by="os:1", reason=WHY)
    assert [str(one) for one in prove(trail.files.log, signed, [2, 3])] == [str(one) for one in before]


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.text(max_size=200), st.booleans()), max_size=12),
    st.sets(st.integers(0, 3)),
)
def test_whoever_is_erased_the_log_holds_and_the_others_open(
    exchanges: list[tuple[int, str, bool]], erased: set[int]
) -> None:
    async def run(folder: Path) -> None:
        trail = Trail(folder)
        owners = [KeyOwner("acme", f"app{n % 2}", f"p:{n}") for n in range(4)]
        ids = [(n, text, kept, await trail.exchange(owners[n], text, kept=kept)) for n, text, kept in exchanges]
        bytes_before = {event.seq: event.body for event in trail.events()}
        for number in sorted(erased):
            assert (await trail.eraser().erase(owners[number], by="os:1", reason=WHY)).stage == "done"
            assert trail.secrets(owners[number]) == []
        after = {event.seq: event.body for event in trail.events()}
        assert {seq: after[seq] for seq in bytes_before} == bytes_before, "not a byte of an event changed"
        assert verify_log(trail.files.log).bad is None
        for number, text, kept, event in ids:
            if not kept:
                continue
            found = await trail.reader.read_body(event, "query", "p:a", WHY)
            expected = (BodyVerdict.ERASED, "") if number in erased else (BodyVerdict.OPENED, text)
            assert (found.verdict, found.text) == expected
        trail.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@pytest.mark.parametrize("reason", ["", "short", "no\nlines", "x" * 200, "why? because!"])
async def test_without_a_reason_nothing_is_read_erased_or_held(trail: Trail, reason: str) -> None:
    event = await trail.exchange(ALICE, "x")
    holds = Holds.open(trail.files.holds)
    before = len(trail.events())
    for attempt in (
        trail.reader.read_body(event, "query", "p:a", reason),
        trail.eraser().erase(ALICE, by="os:1", reason=reason),
        holds.set(trail.log.append, hold_id="h", tenant="acme", subject="", by=ANN, reason=reason, now=START),
    ):
        with pytest.raises(RequestError) as caught:
            await attempt
        assert caught.value.code == "reason_required"
    holds.close()
    assert len(trail.events()) == before


class TestReading:
    async def test_a_reading_is_recorded_before_anything_is_opened(self, trail: Trail) -> None:
        event = await trail.exchange(ALICE, "the question")
        trail.files.keys.unlink()
        found = await trail.reader.read_body(event, "query", "p:auditor", WHY)
        assert (found.verdict, found.text) == (BodyVerdict.UNREADABLE, "")
        (read,) = (one.members for one in trail.events(EventType.BODY_READ))
        assert (read["event"], read["field"], read["reason"]) == (event, "query", WHY)
        assert (read["principal"], read["tenant"]) == ("p:auditor", "acme")

    async def test_what_cannot_be_recorded_is_not_shown(self, trail: Trail) -> None:
        class Broken:
            async def append(self, draft: EventDraft) -> Any:
                raise AuditUnavailable("no")

        event = await trail.exchange(ALICE, "the question")
        reader = BodyReader(trail.files.log, trail.files.bodies, trail.files.keys, wrappers=WRAPPERS, audit=Broken())
        with pytest.raises(AuditUnavailable):
            await reader.read_body(event, "query", "p:auditor", WHY)

    async def test_a_place_names_an_event_as_its_id_does(self, trail: Trail) -> None:
        await trail.exchange(ALICE, "the question")
        assert await trail.reader.fields("2") == ("query",)
        assert (await trail.reader.read_body("2", "query", "p:a", WHY)).text == "the question"

    @pytest.mark.parametrize(
        ("event", "field", "tenants", "code"),
        [
            ("nothing", "query", None, "event_not_found"),
            ("2", "answer", None, "body_not_kept"),
            ("3", "query", None, "body_not_kept"),
            ("2", "query", frozenset({"other"}), "event_not_found"),
        ],
    )
    async def test_what_is_not_there_for_a_reader_is_404(
        self, trail: Trail, event: str, field: str, tenants: frozenset[str] | None, code: str
    ) -> None:
        await trail.exchange(ALICE, "the question")
        with pytest.raises(RequestError) as caught:
            await trail.reader.read_body(event, field, "p:a", WHY, tenants=tenants)
        assert (caught.value.status, caught.value.code) == (404, code)
        assert trail.events(EventType.BODY_READ) == []

    @pytest.mark.parametrize(
        ("damage", "verdict"),
        [
            ("UPDATE bodies SET sealed = zeroblob(60)", BodyVerdict.UNREADABLE),
            ("UPDATE bodies SET sealed = x'01'", BodyVerdict.UNREADABLE),
            ("DELETE FROM bodies", BodyVerdict.MISSING),
        ],
    )
    async def test_damage_is_told(self, trail: Trail, damage: str, verdict: BodyVerdict) -> None:
        event = await trail.exchange(ALICE, "the question")
        store = BodyStore.open(trail.files.bodies)
        store._db.execute(damage)
        store.close()
        found = await trail.reader.read_body(event, "query", "p:a", WHY)
        assert (found.verdict, found.text) == (verdict, "")
        assert found.what

    async def test_another_master_key_is_told(self, trail: Trail) -> None:
        event = await trail.exchange(ALICE, "the question")
        other = Wrappers(MasterWrapper(bytes(32)))
        reader = BodyReader(trail.files.log, trail.files.bodies, trail.files.keys, wrappers=other, audit=trail.log)
        found = await reader.read_body(event, "query", "p:a", WHY)
        assert found.verdict is BodyVerdict.UNREADABLE
        assert "previous_keys" in found.what

    async def test_a_text_that_was_replaced_by_whoever_has_the_keys_is_different(self, trail: Trail) -> None:
        event = await trail.exchange(ALICE, "the question")
        request = trail.events(EventType.INTENT)[0].members["request"]
        await trail.writer.keep(request, ALICE, [BodyText(field="query", text="another question")])
        found = await trail.reader.read_body(event, "query", "p:a", WHY)
        assert (found.verdict, found.text) == (BodyVerdict.DIFFERENT, "")


class TestHolds:
    async def hold(self, trail: Trail, subject: str = "p:alice") -> str:
        holds = Holds.open(trail.files.holds)
        made = await holds.set(
            trail.log.append, hold_id=trail.id(), tenant="acme", subject=subject, by=ANN, reason=WHY, now=trail.now
        )
        holds.close()
        return made.id

    @pytest.mark.parametrize(("subject", "held"), [("p:alice", True), ("", True), ("p:bob", False)])
    async def test_a_hold_keeps_its_caller_or_its_tenant(self, trail: Trail, subject: str, held: bool) -> None:
        event = await trail.exchange(ALICE, "the question")
        hold = await self.hold(trail, subject)
        if not held:
            assert (await trail.eraser().erase(ALICE, by="os:1", reason=WHY)).stage == "done"
            return
        with pytest.raises(HeldError, match=hold) as caught:
            await trail.eraser().erase(ALICE, by="os:1", reason=WHY)
        assert caught.value.code == "legal_hold"
        assert trail.events(EventType.ERASURE) == []
        assert (await trail.reader.read_body(event, "query", "p:a", WHY)).text == "the question"

    async def test_another_person_clears_it(self, trail: Trail) -> None:
        hold_id = await self.hold(trail)
        holds = Holds.open(trail.files.holds)
        for person, code in ((ANN, "second_person_required"), (Person("p:ann-2", "u:ann"), "second_person_required")):
            with pytest.raises(RequestError) as caught:
                await holds.clear(trail.log.append, hold_id, by=person, reason=WHY, now=START)
            assert caught.value.code == code
        await holds.clear(trail.log.append, hold_id, by=BEN, reason=WHY, now=START)
        with pytest.raises(RequestError, match="over already"):
            await holds.clear(trail.log.append, hold_id, by=BEN, reason=WHY, now=START)
        with pytest.raises(RequestError, match="no hold"):
            await holds.clear(trail.log.append, "nothing", by=BEN, reason=WHY, now=START)
        holds.close()
        kinds = [event.members["type"] for event in trail.events(EventType.HOLD_SET, EventType.HOLD_CLEAR)]
        assert kinds == ["hold.set", "hold.clear"]
        assert (await trail.eraser().erase(ALICE, by="os:1", reason=WHY)).stage == "done"

    async def test_a_hold_is_in_force_even_if_it_could_not_be_recorded(self, trail: Trail) -> None:
        async def broken(draft: EventDraft) -> Any:
            raise AuditUnavailable("no")

        holds = Holds.open(trail.files.holds)
        with pytest.raises(AuditUnavailable):
            await holds.set(broken, hold_id="h", tenant="acme", subject="", by=ANN, reason=WHY, now=START)
        with pytest.raises(AuditUnavailable):
            await holds.clear(broken, "h", by=BEN, reason=WHY, now=START)
        assert [hold.id for hold in holds.covering("acme", "p:x")] == ["h"]
        holds.close()


class TestRetention:
    async def test_what_is_due_goes_and_the_event_proves_which_keys(self, trail: Trail) -> None:
        old = await trail.exchange(ALICE, "an old question")
        held = await trail.exchange(BOB, "a held question")
        key = trail.events(EventType.INTENT)[0].members["bodies"][0]["key"]
        secrets = trail.secrets(ALICE)
        await TestHolds().hold(trail, "p:bob")
        assert all(due.empty for due in trail.retention().due())
        trail.now = START + timedelta(days=380)
        new = await trail.exchange(ALICE, "a new question")
        (due,) = trail.retention().due()
        assert (due.app, due.before, len(due.keys), len(due.held)) == ("desk", "2026-12", 1, 1)
        (purge,) = await trail.retention().purge(by="os:1")
        assert (purge.stage, purge.keys, purge.held, purge.texts, purge.salts) == ("done", 1, 1, 1, 2)
        left = trail.raw()
        assert not any(one in left for one in secrets)
        begun, done = (event.members for event in trail.events(EventType.RETENTION_PURGE))
        assert (begun["stage"], done["stage"]) == ("begun", "done")
        assert done["keys_digest"] == begun["keys_digest"] == digest_of([key])
        verdicts = [(await trail.reader.read_body(one, "query", "p:a", WHY)).verdict for one in (old, held, new)]
        assert verdicts == [BodyVerdict.ERASED, BodyVerdict.OPENED, BodyVerdict.OPENED]
        assert verify_log(trail.files.log).bad is None
        assert await trail.retention().purge(by="os:1") == [], "nothing is due twice"

    async def test_a_month_is_due_when_its_days_have_passed_since_its_end(self, trail: Trail) -> None:
        await trail.exchange(ALICE, "x")
        for moment, due in (
            (datetime(2027, 11, 30, tzinfo=UTC), False),
            (datetime(2027, 12, 1, tzinfo=UTC), True),
        ):
            trail.now = moment
            assert [not one.empty for one in trail.retention().due()] == [due], moment

    async def test_an_app_without_texts_loses_its_salts(self, trail: Trail) -> None:
        await trail.exchange(ALICE, "x", kept=False)
        trail.now = START + timedelta(days=200)
        (purge,) = await trail.retention(days=184).purge(by="os:1") or [None]
        assert purge is not None
        assert (purge.keys, purge.salts) == (0, 1)
        assert trail.secrets(ALICE) == []
