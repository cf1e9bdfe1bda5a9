"""Kill -9 under load: what a client received is recorded, and the next start settles the rest."""

import asyncio
import random
import signal
from pathlib import Path

import pytest
from load import Seen, keep_asking
from support.served import Served, served, verify
from support.server import ModelServer, completion

from gateway.audit.read import AuditReader
from gateway.audit.verify import Outcome

pytestmark = pytest.mark.slow

ENDS = {"outcome", "stream.close"}


def events(config_data: Path) -> list[dict]:
    with AuditReader(config_data / "audit.db") as reader:
        return [dict(event.members) for event in reader.search()]


async def kill_under_load(gateway: Served, key: str, seen: Seen, *, after_s: float) -> None:
    stop = asyncio.Event()
    clients = asyncio.create_task(keep_asking(gateway.url, key, seen, clients=12, stop=stop))
    before = len(seen.complete)
    while len(seen.complete) < before + 20:
        await asyncio.sleep(0.01)
    await asyncio.sleep(after_s)
    gateway.signal(signal.SIGKILL)
    stop.set()
    await clients


@pytest.mark.parametrize(
    ("seed", "workers"),
    [(1, 1), (2, 2), (3, 1)],
)
async def test_what_clients_received_is_recorded_and_the_rest_is_settled_at_the_next_start(
    make_config, model: ModelServer, tmp_path: Path, seed: int, workers: int
) -> None:
    config = make_config(server={"workers": workers})
    model.answer = lambda body: completion("The first sentence. The second one, a little longer. The end.")
    model.pause_s = 0.002
    chance = random.Random(seed)
    seen, key = Seen(), ""
    lost = 0
    for _ in range(3):
        with served(config) as gateway:
            key = key or await asyncio.to_thread(gateway.key)
            await kill_under_load(gateway, key, seen, after_s=chance.random() / 3)
        code, found = verify(config)
        assert found.bad is None, "a crash is no tampering"
        assert code == found.outcome.exit_code
        assert found.outcome in {Outcome.INCOMPLETE, Outcome.VERIFIED_UNANCHORED}
        lost += len(found.unfinished)
    with served(config):
        code, found = verify(config)
    assert (code, found.outcome, found.in_flight) == (0, Outcome.VERIFIED_UNANCHORED, 0)
    assert found.crashed == lost > 0, "each exchange that a crash cut off is settled once"
    log = events(tmp_path / "data")
    ended = {event["request"]: event for event in log if event["type"] in ENDS}
    recorded = {request for request, event in ended.items() if event.get("reason") != "unknown_after_crash"}
    assert len(seen.complete) >= 60
    assert seen.complete <= recorded, "an answer that arrived whole has its record"
    opened = {event["request"] for event in log if event["type"] == "stream.open"}
    assert seen.begun <= opened | recorded, "no byte left before its event"
    intents = sum(event["type"] == "intent" for event in log)
    assert len(model.received) <= intents, "the model was asked nothing that is not on record"
    assert sum(event["type"] == "log.recovered" for event in log) >= 1
