from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from gateway.cases.case import REVIEWER
from gateway.commands.keys import keys
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import Commitment, EventType
from gateway.domain.text import Secret
from gateway.edge.audit import AUDITOR
from gateway.edge.metrics import ROLES as METRICS_ROLES
from gateway.identity.authenticator import KeyAuthenticator
from gateway.identity.key_store import KeyStore
from gateway.settings import Settings

OWNER = ["--tenant", "bank", "--app", "chat", "--user", "ann"]


class World:
    def __init__(self, folder):
        self.folder = folder
        self.events = []
        self.broken = False

    def record(self, draft):
        if self.broken:
            raise AuditUnavailable("the audit log cannot be written")
        self.events.append(draft)

    def run(self, *arguments):
        obj = {"settings": Settings(data_dir=self.folder), "record": self.record}
        return CliRunner().invoke(keys, list(arguments), obj=obj)

    def records(self):
        store = KeyStore.open(self.folder / "identity.db")
        try:
            return store.list()
        finally:
            store.close()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize("role", sorted({REVIEWER, AUDITOR, *METRICS_ROLES}))
def test_every_role_that_a_route_asks_for_can_be_given(world, role: str):
    assert world.run("create", *OWNER, "--role", role).exit_code == 0


async def test_create_prints_a_key_that_works_and_records_it(world):
    result = world.run("create", *OWNER, "--group", "staff", "--group", "public", "--role", "auditor", "--label", "x")
    assert result.exit_code == 0
    key = result.stdout.strip()
    store = KeyStore.open(world.folder / "identity.db")
    authenticator = KeyAuthenticator(store, b"k" * 32, lambda: datetime.now(UTC))
    principal = await authenticator.authenticate(Secret(key))
    store.close()
    assert principal.groups == {"staff", "public"}
    assert principal.models == ("*",)
    (event,) = world.events
    assert (event.type, event.tenant, event.app) == (EventType.KEY_CREATED, "bank", "chat")
    assert event.body["key"] == principal.key_id
    assert event.body["groups"] == ["public", "staff"]
    assert event.body["user"] == Commitment(text="ann")
    assert key not in repr(event)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2090-12-31", "2090-12-31T00:00:00+00:00"), ("2090-12-31T18:00+02:00", "2090-12-31T16:00:00+00:00")],
)
def test_create_with_an_end(world, text, expected):
    assert world.run("create", *OWNER, "--expires", text).exit_code == 0
    assert world.records()[0].expires.isoformat() == expected
    assert world.events[0].body["expires"] == expected


def test_create_with_a_number_of_days(world):
    assert world.run("create", *OWNER, "--expires", "90d").exit_code == 0
    record = world.records()[0]
    assert record.expires - record.created == timedelta(days=90)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--expires", "soon"], "is no date"),
        (["--expires", "2001-01-01"], "would expire before"),
        (["--role", "king"], "king"),
        (["--group", " "], "group must be"),
    ],
)
def test_create_refuses(world, arguments, words):
    result = world.run("create", *OWNER, *arguments)
    assert result.exit_code != 0
    assert words in result.stderr
    assert world.events == []


def test_a_key_that_cannot_be_recorded_is_never_shown_and_never_works(world):
    world.broken = True
    result = world.run("create", *OWNER)
    assert result.exit_code != 0
    assert "audit log cannot be written" in result.stderr
    assert result.stdout == ""
    (record,) = world.records()
    assert record.revoked is not None


def test_revoke_records_and_list_says_so(world):
    world.run("create", *OWNER, "--label", "first one")
    world.run("create", *OWNER, "--expires", "1d")
    key_id = world.records()[0].id
    assert world.run("revoke", key_id).exit_code == 0
    assert [event.type for event in world.events][-1] is EventType.KEY_REVOKED
    lines = world.run("list").stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["revoked", "active"]
    assert "first one" in lines[0]


def test_a_revocation_that_cannot_be_recorded_still_stands(world):
    world.run("create", *OWNER)
    world.broken = True
    key_id = world.records()[0].id
    result = world.run("revoke", key_id)
    assert result.exit_code != 0
    assert "is revoked, but the audit log has no record" in result.stderr
    assert world.records()[0].revoked is not None


def test_revoke_of_an_unknown_key(world):
    result = world.run("revoke", "nosuchkey0")
    assert result.exit_code != 0
    assert "gateway keys list" in result.stderr
    assert world.events == []


def test_a_store_that_cannot_be_opened(tmp_path):
    (tmp_path / "file").write_text("")
    result = World(tmp_path / "file").run("list")
    assert result.exit_code == 1
    assert "cannot be opened" in result.stderr
