import sqlite3

import pytest

from gateway.audit.liveness import live_boots
from gateway.audit.read import AuditReader
from gateway.audit.verify import Outcome, verify_log
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType


def types(logs) -> list[str]:
    with AuditReader(logs.path) as reader:
        return [event.members["type"] for event in reader.search()]


async def test_a_boot_is_recorded_and_links_to_what_was_before(logs, exchange) -> None:
    first = logs.open()
    for draft in exchange("r1"):
        await first.append(draft)
    first.close()
    second = logs.open()
    assert types(logs) == ["log.boot", "intent", "outcome", "log.boot"]
    with AuditReader(logs.path) as reader:
        *_, boot = reader.search()
    assert (boot.members["boot"], boot.members["after_seq"], boot.members["checked"]) == (second.boot, 3, 3)
    assert verify_log(logs.path).outcome is Outcome.VERIFIED_UNANCHORED


async def test_exchanges_that_a_crash_cut_off_get_an_unknown_outcome(logs, exchange) -> None:
    log = logs.open()
    for draft in exchange("whole"):
        await log.append(draft)
    await log.append(exchange("lost-1")[0])
    await log.append(exchange("lost-2")[0])
    await log.append(EventDraft(type=EventType.STREAM_OPEN, request="lost-2"))
    logs.crash(log)
    assert verify_log(logs.path).outcome is Outcome.INCOMPLETE
    logs.open()
    assert types(logs)[-4:] == ["log.boot", "outcome", "outcome", "log.recovered"]
    with AuditReader(logs.path) as reader:
        last = reader.timeline("lost-1")[-1].members
        recovered = next(reader.search(newest=True)).members
    assert (last["effect"], last["reason"], last["intent_seq"]) == ("unknown", "unknown_after_crash", 4)
    assert (last["tenant"], last["app"], last["principal"]) == ("acme", "loans", "p:1")
    assert (recovered["exchanges"], recovered["first_seq"], recovered["last_seq"]) == (2, 4, 5)
    result = verify_log(logs.path)
    assert (result.outcome, result.crashed) == (Outcome.VERIFIED_UNANCHORED, 2)
    logs.open()
    assert types(logs)[-1] == "log.boot"  # settled once


async def test_exchanges_of_a_process_that_still_runs_are_left_alone(logs, exchange) -> None:
    running = logs.open()
    await running.append(exchange("slow")[0])
    other = logs.open()
    assert types(logs) == ["log.boot", "intent", "log.boot"]
    assert live_boots(logs.path) == {running.boot, other.boot}
    assert verify_log(logs.path).in_flight == 1
    await running.append(exchange("slow")[1])
    assert verify_log(logs.path).in_flight == 0


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'acme', 'evil') AS BLOB) WHERE seq = 3",
        "DELETE FROM events WHERE seq = 2",
        "UPDATE events SET hash = zeroblob(32) WHERE seq = 3",
    ],
)
async def test_a_damaged_tail_refuses_to_serve(logs, exchange, damage: str) -> None:
    log = logs.open()
    for draft in exchange("r1"):
        await log.append(draft)
    log.close()
    db = sqlite3.connect(logs.path)
    db.execute(damage)
    db.commit()
    db.close()
    with pytest.raises(AuditUnavailable, match=r"is damaged: event \d .*gateway audit verify") as caught:
        logs.open()
    assert caught.value.code == "audit_damaged"
    assert live_boots(logs.path) == frozenset()


def test_a_log_of_another_name_is_refused(logs) -> None:
    logs.open().close()
    with pytest.raises(AuditUnavailable, match=r"belongs to the log `gateway\.test/node-1`, not to `other`"):
        logs.open(log_name="other")


def test_space_is_reserved_while_a_boot_lives_and_given_back_by_the_next(logs) -> None:
    log = logs.open(reserve_bytes=100_000)
    (held,) = logs.path.with_name("audit.db.boots").iterdir()
    assert held.stat().st_blocks * 512 >= 100_000
    log.close()
    assert not held.exists()
    held.write_bytes(b"x" * 100_000)  # as a crash leaves it: the file without its lock
    logs.open()
    assert not held.exists()
