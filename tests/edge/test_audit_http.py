"""The audit trail over HTTP: what auditors see, and that nobody sees what is not theirs."""

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote

import pytest
from pyarrow import parquet
from support.server import RunningGateway, running_gateway
from support.wire import Answered, Caller, error_of, events, rewind, wire_settings

from gateway.audit.apart import Apart
from gateway.audit.standalone.verify_bundle import verify_path
from gateway.domain.event import EventType
from gateway.settings import TrailSettings

BASE = "/v1/gateway/audit"
OTHER_SECRET = "a question of another tenant"


@pytest.fixture(scope="module")
def trail(_model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    settings = wire_settings(
        tmp_path_factory.mktemp("trail"),
        rewind(_model),
        trail=TrailSettings(operators=("operator",), export_max_events=500),
    )
    with running_gateway(settings) as running:
        yield running


class Trail:
    """Auditors of two tenants and of the operator, and an exchange of each tenant."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.asker = Caller(gateway)
        self.other = Caller(gateway, tenant="other", app="desk", user="olga")
        self.auditor = Caller(gateway, app="audit", user="ada", roles=("auditor",))
        self.of_other = Caller(gateway, tenant="other", app="audit", user="odo", roles=("auditor",))
        self.operator = Caller(gateway, tenant="operator", app="audit", user="oz", roles=("auditor",))

    async def get(self, who: Caller, path: str, **query: str) -> Answered:
        return await who.send(f"{BASE}/{path}" + ("?" + "&".join(f"{k}={quote(v)}" for k, v in query.items())))

    async def list(self, who: Caller, **query: str) -> list[dict]:
        answered = await self.get(who, "events", **query)
        assert answered.status == 200, answered.raw
        return answered.body["data"]


@pytest.fixture(scope="module")
def room(trail: RunningGateway) -> Trail:
    return Trail(trail)


@pytest.fixture(scope="module")
def asked(room: Trail) -> tuple[str, str]:
    """Ids of exchanges: one of the auditor's tenant, one of the other."""

    async def ask() -> tuple[str, str]:
        own = await room.asker.chat("what does a card cost?")
        foreign = await room.other.chat(OTHER_SECRET)
        await room.asker.chat("a forbidden-word")
        return own.exchange, foreign.exchange

    return asyncio.run(ask())


async def test_events_of_the_own_tenant_and_no_other(room: Trail, asked) -> None:
    own, foreign = asked
    seen = await room.list(room.auditor, limit="1000")
    assert {event["tenant"] for event in seen} == {"acme"}
    assert own in {event["request"] for event in seen}
    assert [event["seq"] for event in seen] == sorted((event["seq"] for event in seen), reverse=True)
    stored = {event["seq"]: event for event in events(room.gateway)}
    assert all(
        event["hash"] == "sha256:" + stored[event["seq"]]["hash"].hex()
        for event in seen
        if "hash" in stored[event["seq"]]
    )
    for query in ({"tenant": "other"}, {"request": foreign}, {"tenant": "other", "type": "intent"}):
        assert await room.list(room.auditor, **query) == []
    assert {event["tenant"] for event in await room.list(room.of_other)} == {"other"}


async def test_the_operators_auditor_sees_all_tenants_and_the_node(room: Trail, asked) -> None:
    seen = await room.list(room.operator, limit="1000")
    assert {"acme", "other", "operator", ""} <= {event["tenant"] for event in seen}
    assert {event["tenant"] for event in await room.list(room.operator, tenant="other")} == {"other"}


async def test_filters_and_pages(room: Trail, asked) -> None:
    own, _ = asked
    assert {event["type"] for event in await room.list(room.auditor, request=own)} == {"intent", "outcome"}
    refused = await room.list(room.auditor, effect="refuse")
    assert refused
    assert {event["effect"] for event in refused} == {"refuse"}
    rule = refused[0]["reasons"][0]
    assert {event["request"] for event in await room.list(room.auditor, rule=rule)} >= {refused[0]["request"]}
    assert await room.list(room.auditor, since="2999-01-01T00:00:00Z") == []
    assert await room.list(room.auditor, until="2000-01-01T00:00:00%2B02:00".replace("%2B", "+")) == []
    seqs, cursor = [], ""
    while True:
        page = (
            await room.get(
                room.auditor,
                "events",
                type="intent,outcome",
                app="desk",
                limit="2",
                **({"cursor": cursor} if cursor else {}),
            )
        ).body
        seqs += [event["seq"] for event in page["data"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seqs == [
        event["seq"] for event in await room.list(room.auditor, type="intent,outcome", app="desk", limit="1000")
    ]


async def test_one_exchange_is_told_in_order(room: Trail, asked) -> None:
    own, foreign = asked
    answered = await room.get(room.auditor, f"exchanges/{own}")
    assert answered.status == 200
    told = answered.body
    assert (told["exchange"], told["tenant"], told["effect"]) == (own, "acme", "allow")
    assert [moment["type"] for moment in told["moments"]] == ["intent", "outcome"]
    assert told["moments"][0]["title"].startswith("asked `real`")
    assert len(told["events"]) == 2
    assert "what does a card cost" not in answered.raw.decode()
    missing = await room.get(room.auditor, f"exchanges/{'0' * 32}")
    hidden = await room.get(room.auditor, f"exchanges/{foreign}")
    assert (missing.status, hidden.status) == (404, 404)
    assert error_of(missing) == error_of(hidden), "what another has is not told from what nobody has"
    assert (await room.get(room.of_other, f"exchanges/{foreign}")).status == 200
    assert (await room.get(room.operator, f"exchanges/{foreign}")).status == 200


async def test_a_text_is_found_by_who_may_see_it(room: Trail, asked) -> None:
    async def find(who: Caller, text: object) -> Answered:
        return await who.send(f"{BASE}/texts", json.dumps({"text": text}).encode())

    for text, path in (("what does a card cost?", "/query"), ("Hello there.", "/release/content")):
        found = (await find(room.auditor, text)).body["data"]
        assert found
        assert {place["path"] for place in found} == {path}
        assert {place["event"]["tenant"] for place in found} == {"acme"}
    assert (await find(room.auditor, OTHER_SECRET)).body["data"] == []
    assert len((await find(room.of_other, OTHER_SECRET)).body["data"]) == 1
    assert (await find(room.auditor, "never said")).body["data"] == []
    for wrong in ("", 1, None, ["x"]):
        assert error_of(await find(room.auditor, wrong))["param"] == "text"
    log = (room.gateway.settings.data_dir / "audit.db").read_bytes()
    assert b"never said" not in log


async def test_counts_are_of_the_own_tenant(room: Trail, asked) -> None:
    groups = (await room.get(room.auditor, "stats", by="app")).body["data"]
    assert {group["tenant"] for group in groups} == {"acme"}
    desk = next(group for group in groups if group["app"] == "desk")
    assert desk["effects"]["refuse"] >= 1
    assert desk["latency"]["exchanges"] >= 2
    everything = (await room.get(room.operator, "stats", by="tenant")).body["data"]
    assert {"acme", "other", ""} <= {group["tenant"] for group in everything}
    assert (await room.get(room.auditor, "stats", tenant="other")).body["data"] == []


async def test_the_log_is_verified_apart(room: Trail, asked) -> None:
    body = (await room.get(room.auditor, "verify")).body
    assert (body["outcome"], body["bad"], body["unfinished"]) == ("verified-unanchored", None, 0)
    assert body["events"] > 5
    again = await asyncio.gather(*(room.get(room.operator, "verify") for _ in range(3)))
    assert [answer.body["events"] for answer in again] == [body["events"]] * 3, "told again for a while"
    assert again[0].body["unfinished"] == []


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "ocsf"])
async def test_an_export_is_a_bundle_of_the_own_events_and_recorded_first(
    room: Trail, asked, tmp_path, form: str
) -> None:
    answered = await room.get(room.auditor, "export", form=form, type="intent,outcome", app="desk")
    assert answered.status == 200
    assert answered.headers["content-type"] == "application/zip"
    bundle = tmp_path / "evidence.zip"
    bundle.write_bytes(answered.raw)
    assert verify_path(bundle, [], []).outcome == "verified-unanchored"
    with zipfile.ZipFile(io.BytesIO(answered.raw)) as archive:
        lines = [json.loads(line) for line in archive.read("events.jsonl").splitlines()]
        assert {event["tenant"] for event in lines} == {"acme"}
        if form == "parquet":
            table = parquet.read_table(io.BytesIO(archive.read("events.parquet")))
            assert table.column("seq").to_pylist() == [event["seq"] for event in lines]
        assert hashlib.sha256(archive.read("events.jsonl")).hexdigest() in archive.read("manifest.json").decode()
    last = [event for event in events(room.gateway) if event["type"] == "export"][-1]
    body = json.loads(last["body"]) if "body" in last else last
    assert (body["form"], body["tenant"], body["filter"]["tenants"]) == (form, "acme", "acme")


async def test_an_export_of_too_many_events_is_refused(room: Trail, asked) -> None:
    flood = Caller(room.gateway, app="flood")
    for _ in range(260):
        await flood.chat("hi")
    answered = await room.get(room.auditor, "export")
    assert answered.status == 413
    assert error_of(answered)["code"] == "export_too_large"
    assert (await room.get(room.auditor, "export", effect="refuse")).status == 200


@pytest.mark.parametrize("roles", [(), ("reviewer",), ("admin",)])
async def test_nobody_else_reads_the_trail(room: Trail, asked, roles) -> None:
    who = Caller(room.gateway, app="desk", user="eve", roles=roles)
    own, _ = asked
    for path in ("events", f"exchanges/{own}", "stats", "verify", "export"):
        answered = await room.get(who, path)
        assert (answered.status, error_of(answered)["code"]) == (403, "auditor_required")
    answered = await who.send(f"{BASE}/texts", b'{"text": "x"}')
    assert answered.status == 403
    who.key = "gw_nobody"
    assert (await room.get(who, "events")).status == 401


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("events", {"tennant": "acme"}, "unknown_parameter"),
        ("events", {"limit": "0"}, "invalid_limit"),
        ("events", {"limit": "1001"}, "invalid_limit"),
        ("events", {"limit": "x"}, "invalid_limit"),
        ("events", {"cursor": "x"}, "invalid_cursor"),
        ("events", {"type": "nothing"}, "invalid_value"),
        ("events", {"effect": "deny"}, "invalid_value"),
        ("events", {"since": "yesterday"}, "invalid_value"),
        ("events", {"since": "2026-11-24"}, "invalid_value"),
        ("events", {"until": "0001-01-01T00:00:00+14:00"}, "invalid_value"),
        ("stats", {"until": "0001-01-01T00:00:00Z"}, "invalid_value"),
        ("stats", {"by": "hour"}, "invalid_value"),
        ("stats", {"rule": "X"}, "unknown_parameter"),
        ("verify", {"x": "1"}, "unknown_parameter"),
        ("export", {"form": "xls"}, "invalid_value"),
        ("exchanges/abc", {"x": "1"}, "unknown_parameter"),
    ],
)
async def test_wrong_questions_are_refused_in_words(room: Trail, asked, path: str, query: dict, code: str) -> None:
    answered = await room.get(room.auditor, path, **query)
    assert answered.status == 400
    assert error_of(answered)["code"] == code


async def test_a_filter_given_twice_is_refused(room: Trail) -> None:
    answered = await room.auditor.send(f"{BASE}/events?tenant=acme&tenant=other")
    assert error_of(answered)["code"] == "invalid_value"


@pytest.mark.parametrize("path", ["", "/", "/event", "/exchanges", "/exchanges/", "/exchanges/a/b", "/events/1"])
async def test_other_routes_do_not_exist(room: Trail, path: str) -> None:
    answered = await room.auditor.send(BASE + path)
    assert (answered.status, error_of(answered)["code"]) == (404, "not_found")
    wrong = await room.auditor.send(f"{BASE}/events", b"{}")
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET")


async def test_every_reading_is_recorded_with_who_and_what(room: Trail, asked) -> None:
    await room.get(room.auditor, "events", rule="PII-1", effect="redact")
    recorded = [json.loads(event["body"]) if "body" in event else event for event in events(room.gateway)]
    last = [event for event in recorded if event["type"] == EventType.AUDIT_READ][-1]
    assert (last["what"], last["via"], last["tenant"]) == ("events", "http", "acme")
    assert last["filter"] == {"effect": "redact", "rule": "PII-1", "tenants": "acme"}
    assert last["principal"].startswith("p:")


async def test_work_apart_ends_when_nobody_waits(room: Trail, tmp_path) -> None:
    apart = Apart(
        room.gateway.settings.data_dir / "audit.db", trust=None, keys=(), most_events=1, monotonic=lambda: 0.0
    )
    task = asyncio.create_task(apart._run(_sleep_long))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, timedelta(seconds=5).total_seconds())


def _sleep_long() -> None:
    import time

    time.sleep(60)
