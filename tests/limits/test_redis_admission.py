import asyncio
import os
import uuid

import pytest
from admission_contract import LIMITS, AdmissionContract, principal, world_settles
from msgspec import structs
from redis.asyncio import Redis

from gateway.domain.errors import AdmissionDenied
from gateway.limits.shared import RedisAdmission
from gateway.settings import LimitSettings

URL = os.environ.get("GATEWAY_TEST_REDIS", "")
needs_redis = [pytest.mark.live, pytest.mark.skipif(not URL, reason="GATEWAY_TEST_REDIS names no Redis")]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class World:
    """Nodes on one Redis. Callers get a name of their own in each test, so that nothing has to be deleted."""

    def __init__(self):
        self.opened = []
        self.clock = Clock()

    def open(self, limits, **options):
        client = Redis.from_url(URL)
        node = uuid.uuid4().hex
        admission = Named(limits, client, self.clock, node=node, **options)
        admission.world = self
        self.opened.append(admission)
        return admission

    async def pass_time(self, seconds):
        await asyncio.sleep(seconds)


class Named(RedisAdmission):
    """Adds the test's own prefix to each key."""

    async def admit(self, caller):
        await super().admit(self.world.named(caller))

    def release(self, caller):
        super().release(self.world.named(caller))


@pytest.fixture
async def world():
    world = World()
    prefix = uuid.uuid4().hex

    def named(caller):
        own = prefix + (caller.key_id or caller.ref)
        return principal(own, requests_per_minute=caller.requests_per_minute)

    world.named = named
    yield world
    for admission in world.opened:
        await admission.close()


class TestRedisAdmission(AdmissionContract):
    pytestmark = needs_redis

    async def test_nodes_share_rate_and_slots(self, world):
        nodes = [world.open(LIMITS) for _ in range(3)]
        for node in nodes:
            await node.admit(principal())
        for node in nodes:
            with pytest.raises(AdmissionDenied, match="under way"):
                await node.admit(principal())
        nodes[0].release(principal())
        await world_settles()
        await nodes[1].admit(principal())

    async def test_a_dead_node_gives_its_slots_back(self, world):
        dead = world.open(LIMITS, lease_s=0.1)
        for _ in range(3):
            await dead.admit(principal())
        alive = world.open(LIMITS)
        with pytest.raises(AdmissionDenied, match="under way"):
            await alive.admit(principal())
        await asyncio.sleep(0.15)
        await alive.admit(principal())

    async def test_a_cancelled_request_gives_its_slot_back(self, world):
        admission = world.open(LimitSettings(requests_per_minute=6_000, burst=50, concurrent=1))
        await admission.admit(principal())
        admission.release(principal())
        await world_settles()
        task = asyncio.ensure_future(admission.admit(principal()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.05)
        await admission.admit(principal())

    async def test_health_says_that_limits_are_shared(self, world):
        admission = world.open(LIMITS)
        await admission.admit(principal())
        assert admission.health.shared
        assert admission.health.local_decisions == 0

    async def test_nothing_stays_behind(self, world):
        admission = world.open(LimitSettings(requests_per_minute=6_000, burst=5, concurrent=3))
        await admission.admit(principal())
        admission.release(principal())
        await asyncio.sleep(0.1)
        client = Redis.from_url(URL)
        assert await client.keys(f"*{world.named(principal()).key_id}*") == []
        await client.aclose()


# --- without a server ------------------------------------------------------------------------------------------


async def refused(connect):
    """An address where nobody listens."""
    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"redis://127.0.0.1:{port}"


async def test_without_redis_each_node_limits_alone_and_says_so():
    url = await refused(lambda reader, writer: None)
    clock = Clock()
    admission = RedisAdmission.connect(structs.replace(LIMITS, redis_url=url), clock, node="n")
    assert admission.health.shared
    for _ in range(3):
        await admission.admit(principal())
    with pytest.raises(AdmissionDenied, match="under way"):
        await admission.admit(principal())
    for _ in range(3):
        admission.release(principal())
    await admission.admit(principal())
    admission.release(principal())
    await admission.admit(principal())
    admission.release(principal())
    with pytest.raises(AdmissionDenied) as caught:
        await admission.admit(principal())
    assert caught.value.code == "rate_limit_exceeded"
    assert not admission.health.shared
    assert admission.health.local_decisions == 7
    await admission.close()


async def test_a_redis_that_hangs_costs_one_wait_a_pause():
    accepted = []

    async def hang(reader, writer):
        accepted.append(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    clock = Clock()
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    admission = RedisAdmission.connect(structs.replace(LIMITS, redis_url=url), clock, node="n")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await admission.admit(principal())
    assert loop.time() - began < 2.0
    tried = len(accepted)
    began = loop.time()
    await admission.admit(principal())
    assert loop.time() - began < 0.1, "not asked again within the pause"
    assert len(accepted) == tried
    clock.now = 1.5
    assert admission.health.shared, "worth another try"
    await admission.admit(principal())
    assert len(accepted) > tried
    await admission.close()
    server.close()
    for writer in accepted:
        writer.close()
