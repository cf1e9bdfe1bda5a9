"""Texts that must be kept: a crash leaves no event that names a text which is not there, and a store that fails lets
nothing out."""

import asyncio
import random
import signal
import sqlite3
from pathlib import Path

import aiohttp
import pytest
from load import Seen, ask, keep_asking
from support.declared import check_event
from support.served import served, verify
from support.server import ModelServer, completion, model_server, running_gateway
from support.wire import Caller, wire_settings
from troubles import full_disk

from gateway.assembly.bodies import wrappers_of
from gateway.audit.body_store import BodyStore, unseal
from gateway.audit.commitment import verify_commitment
from gateway.audit.data_keys import DataKeys
from gateway.audit.read import AuditReader
from gateway.audit.verify import Outcome, verify_log
from gateway.settings import AppSettings, CaptureLevel, Settings
from gateway.settings.folder import AUDIT_FILE, BODIES_FILE, BODY_KEYS_FILE

KEPT = AppSettings(capture=CaptureLevel.ENCRYPTED_BODY)


def named_texts(folder: Path) -> int:
    """How many texts the log names; each of them opens, and is what its event was written about."""
    keys = DataKeys.open(folder / BODY_KEYS_FILE, wrappers_of(Settings(data_dir=folder), {}))
    store, count = BodyStore.open(folder / BODIES_FILE), 0
    with AuditReader(folder / AUDIT_FILE) as reader:
        for event in reader.search():
            check_event(event.members)
            for place, named in enumerate(event.members.get("bodies", ())):
                body = store.get(event.members["request"], named["field"])
                assert body is not None, "an event names a text that is not on disk"
                salt = reader.salt(event.members["id"], f"/bodies/{place}")
                assert salt is not None
                text = unseal(body, keys.unwrap(named["key"]).key)
                assert verify_commitment(event.members, ("bodies", place), text, salt)
                count += 1
    store.close()
    keys.close()
    return count


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "workers"), [(1, 1), (2, 2)])
async def test_kill_at_any_moment_leaves_no_event_without_its_text(
    make_config, model: ModelServer, tmp_path: Path, seed: int, workers: int
) -> None:
    config = make_config(server={"workers": workers}, apps={"desk": {"capture": "encrypted_body"}})
    model.answer = lambda body: completion("The first sentence. The second one.")
    chance = random.Random(seed)
    seen = Seen()
    for _ in range(3):
        with served(config) as gateway:
            key = await asyncio.to_thread(gateway.key, app="desk")
            stop = asyncio.Event()
            clients = asyncio.create_task(keep_asking(gateway.url, key, seen, clients=12, stop=stop))
            before = len(seen.complete)
            while len(seen.complete) < before + 20:
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.random() / 3)
            gateway.signal(signal.SIGKILL)
            stop.set()
            await clients
        assert named_texts(tmp_path / "data") > 0
    with served(config):
        code, found = verify(config)
    assert (code, found.outcome) == (0, Outcome.VERIFIED_UNANCHORED)
    assert named_texts(tmp_path / "data") >= 3 * len(seen.complete) - 12


@pytest.mark.slow
async def test_a_full_disk_stops_everything_and_every_text_that_the_log_names_is_there(
    make_config, model: ModelServer, tmp_path: Path
) -> None:
    with full_disk(tmp_path) as disk:
        config = make_config(
            data_dir=disk.data_dir, apps={"desk": {"capture": "encrypted_body"}}, audit={"reserve_bytes": 64 * 1024}
        )
        model.answer = lambda body: completion("A sentence that leaks. " * 50)
        seen = Seen()
        with served(config) as gateway:
            key = await asyncio.to_thread(gateway.key, app="desk")
            async with aiohttp.ClientSession() as session:
                await ask(session, gateway.url, key, seen, content="before", stream=False)
                disk.strike(gateway.process.pid)
                while len(seen.unavailable) < 5:
                    assert len(seen.statuses) < 3_000, "the disk never filled"
                    await ask(session, gateway.url, key, seen, content="more", stream=len(seen.statuses) % 2 == 0)
            assert all(headers["x-should-retry"] == "false" for headers, _ in seen.unavailable)
            assert "leaks" not in str(seen.unavailable)
        disk.mend()
        with served(config) as gateway:
            async with aiohttp.ClientSession() as session:
                await ask(session, gateway.url, key, seen, content="after", stream=False)
            assert seen.statuses[-1] == 200
        code, found = verify(config)
        assert (code, found.outcome) == (0, Outcome.VERIFIED_UNANCHORED)
        assert named_texts(disk.data_dir) >= 3 * len(seen.complete)


@pytest.mark.parametrize("stream", [False, True])
def test_a_store_that_fails_lets_nothing_out_and_the_log_says_so(tmp_path: Path, *, stream: bool) -> None:
    async def drive(caller: Caller) -> tuple[int, int, int]:
        before = await caller.chat("first", stream=stream)
        db = sqlite3.connect(tmp_path / BODIES_FILE)
        db.execute("ALTER TABLE bodies RENAME TO elsewhere")
        during = await caller.chat("second", stream=stream)
        db.execute("ALTER TABLE elsewhere RENAME TO bodies")
        db.close()
        after = await caller.chat("third", stream=stream)
        assert "Hello" not in during.raw.decode()
        return before.status, during.status, after.status

    with model_server() as model, running_gateway(wire_settings(tmp_path, model, apps={"desk": KEPT})) as gateway:
        assert asyncio.run(drive(Caller(gateway))) == (200, 503, 200)
        assert len(model.received) == 2, "the model is not asked what could not be kept"
    assert verify_log(tmp_path / AUDIT_FILE).outcome is Outcome.VERIFIED_UNANCHORED
    with AuditReader(tmp_path / AUDIT_FILE) as reader:
        events = [event.members for event in reader.search()]
    (intent,) = [event for event in events if event.get("uncaptured")]
    assert (intent["type"], intent["uncaptured"]) == ("intent", ["query", "request"])
    (end,) = [event for event in events if event["request"] == intent["request"] and event["type"] == "outcome"]
    assert (end["effect"], end["release"]["kind"]) == ("error", "none")


def test_an_answer_that_cannot_be_kept_does_not_leave(tmp_path: Path) -> None:
    def answer(body: dict) -> dict:
        with sqlite3.connect(tmp_path / BODIES_FILE) as db:
            db.execute("ALTER TABLE bodies RENAME TO elsewhere")
        db.close()
        return completion("It leaks.")

    with model_server() as model, running_gateway(wire_settings(tmp_path, model, apps={"desk": KEPT})) as gateway:
        model.answer = answer
        answered = asyncio.run(Caller(gateway).chat("first"))
    assert answered.status == 503
    assert answered.headers["x-should-retry"] == "false"
    assert "leaks" not in answered.raw.decode()
    with AuditReader(tmp_path / AUDIT_FILE) as reader:
        (end,) = [event.members for event in reader.search() if event.members["type"] == "outcome"]
    assert end["uncaptured"] == ["candidate", "answer"]
    assert (end["effect"], end["error"], end["release"]["bytes"]) == ("error", "bodies_unavailable", 0)
    assert verify_log(tmp_path / AUDIT_FILE).outcome is Outcome.VERIFIED_UNANCHORED
