"""Commands that read, erase, hold, purge and rotate, over what a real gateway kept; and canaries in all its files."""

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fault.canaries import disguises, written_below
from support.declared import check_log
from support.server import completion, model_server, running_gateway
from support.wire import Caller, wire_settings

from gateway.__main__ import cli
from gateway.audit.read import AuditReader, Event, Filter
from gateway.audit.verify import Outcome, verify_log
from gateway.identity.key_store import KeyStore
from gateway.settings import AppSettings, BodySettings, CaptureLevel, Settings
from gateway.settings.folder import AUDIT_FILE, IDENTITY_FILE

WHY = ("--reason", "ticket GDPR-17")
WORDS = {name: f"zq{name}{os.urandom(6).hex()}" for name in ("question", "system", "candidate", "bob")}
APPS = {"loans": AppSettings(capture=CaptureLevel.ENCRYPTED_BODY), "chat": AppSettings()}


class Ran:
    """A data folder after a gateway has answered, and its settings file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "gateway.yaml"
        self.answers: dict[str, str] = {}

    def run(self, *arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(cli, ["--config", str(self.config), "audit", *arguments], input=typed)

    def events(self, *kinds: str, app: str = "") -> list[Event]:
        with AuditReader(self.folder / AUDIT_FILE) as reader:
            return list(reader.search(Filter(types=frozenset(kinds), app=app)))

    def admin_key(self, user: str, tenant: str = "acme") -> str:
        store = KeyStore.open(self.folder / IDENTITY_FILE)
        made = store.create(tenant=tenant, app="ops", user=user, groups=(), roles=("admin",), now=datetime.now(UTC))
        store.close()
        return made.key.reveal()


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    made = Ran(tmp_path)
    with model_server() as model:
        settings = wire_settings(tmp_path, model, apps=APPS)
        write(made.config, settings)
        model.answer = lambda body: completion(f"It says {WORDS['candidate']} here.")
        with running_gateway(settings) as gateway:
            for app in APPS:
                made.answers[app] = asyncio.run(ask(Caller(gateway, app=app), Caller(gateway, app=app, user="bob")))
    return made


async def ask(alice: Caller, bob: Caller) -> str:
    """Two answers to Alice, the second a stream, and one to Bob."""
    messages = [
        {"role": "system", "content": WORDS["system"]},
        {"role": "user", "content": f"What is {WORDS['question']}?"},
    ]
    await alice.chat(messages)
    streamed = await alice.chat(messages, stream=True)
    await bob.chat(f"And {WORDS['bob']}?")
    return streamed.text


def write(file: Path, settings: Settings, **more: Any) -> None:
    apps = {name: {"capture": app.capture.value} for name, app in settings.apps.items()}
    values = {"data_dir": str(settings.data_dir), "apps": apps, **more}
    file.write_text(json.dumps(values), "utf-8")


@pytest.fixture(autouse=True)
def all_events_are_declared(tmp_path: Path) -> Iterator[None]:
    yield
    check_log(tmp_path / AUDIT_FILE)


def test_planted_words_are_nowhere_in_plain(ran: Ran) -> None:
    assert WORDS["candidate"] in ran.answers["loans"]
    assert {"audit.db", "bodies.db", "keys.db"} <= {path.name for path in ran.folder.iterdir()}
    for name, content in written_below(ran.folder):
        for place, word in WORDS.items():
            found = [form for form in disguises(word.encode()) if form in content]
            assert not found, f"{place} is in {name}"


def test_kept_texts_are_listed_and_shown_with_a_reason(ran: Ran) -> None:
    intent = ran.events("intent", app="loans")[0].members
    outcome = ran.events("outcome", app="loans")[0].members
    assert ran.run("body", intent["id"]).output.split() == ["query", "request"]
    assert ran.run("body", intent["id"], "query", *WHY).stdout == f"What is {WORDS['question']}?\n"
    asked = json.loads(ran.run("body", str(intent["seq"]), "request", *WHY).stdout)
    assert asked["messages"][0]["content"] == WORDS["system"]
    assert ran.run("body", outcome["id"], "candidate", *WHY).stdout == f"It says {WORDS['candidate']} here.\n"
    shown = ran.run("body", outcome["id"], "answer", *WHY).stdout
    assert shown == f"It says {WORDS['candidate']} here.\n"
    reads = [event.members for event in ran.events("body.read")]
    assert [read["field"] for read in reads] == ["query", "request", "candidate", "answer"]
    assert all(read["principal"] == f"os:{os.getuid()}" and read["reason"] == WHY[1] for read in reads)


def test_what_is_not_asked_for_properly_is_refused_and_shows_nothing(ran: Ran) -> None:
    event = ran.events("intent", app="loans")[0].members["id"]
    chat = ran.events("intent", app="chat")[0].members["id"]
    for arguments, words in (
        ((event, "query"), "reason"),
        ((event, "query", "--reason", "x"), "reason"),
        ((event, "answer", *WHY), "keeps no text"),
        ((chat, "query", *WHY), "it keeps none"),
        (("nothing", "query", *WHY), "no event"),
    ):
        result = ran.run("body", *arguments)
        assert (result.exit_code, result.stdout) == (1, ""), arguments
        assert words in result.stderr
    assert ran.events("body.read") == []


def test_a_user_is_erased_in_every_app_and_nobody_else_is(ran: Ran) -> None:
    mine = ran.events("intent", app="loans")[0].members["id"]
    theirs = ran.events("intent", app="loans")[-1].members["id"]
    before = [event.body for event in ran.events()]
    result = ran.run("erase", "--tenant", "acme", "--user", "alice", *WHY)
    assert result.exit_code == 0, result.output
    assert result.output.count("done: acme/") == 2
    assert "data_keys          erased            1" in result.output
    assert "cases              erased            0" in result.output
    shown = ran.run("body", mine, "query", *WHY)
    assert (shown.exit_code, shown.stdout) == (3, "")
    assert shown.stderr == f"erased: the text was erased on {datetime.now(UTC):%Y-%m-%d}\n"
    assert ran.run("body", theirs, "query", *WHY).stdout == f"And {WORDS['bob']}?\n"
    assert [event.body for event in ran.events()][: len(before)] == before
    assert verify_log(ran.folder / AUDIT_FILE).outcome is Outcome.VERIFIED_UNANCHORED
    stages = [(event.members["app"], event.members["stage"]) for event in ran.events("erasure")]
    assert stages == [("chat", "begun"), ("chat", "done"), ("loans", "begun"), ("loans", "done")]


def test_a_caller_is_erased_by_reference(ran: Ran) -> None:
    ref = ran.events("intent", app="loans")[0].members["principal"]
    listed = ran.run("keys", "list", "acme", ref)
    assert "in use" in listed.output
    assert ran.run("erase", "--tenant", "acme", "--subject", ref, *WHY).exit_code == 0
    assert "destroyed" in ran.run("keys", "list", "acme", ref).output
    assert ran.run("erase", "--tenant", "acme", *WHY).exit_code == 2
    assert ran.run("erase", "--tenant", "acme", "--subject", ref, "--reason", "x").exit_code == 1


def test_a_hold_takes_two_people(ran: Ran) -> None:
    ann, ben = ran.admin_key("ann"), ran.admin_key("ben")
    refused = ran.run("hold", "set", "--tenant", "acme", "--as", "ann", *WHY, typed=ben)
    assert refused.exit_code == 1
    made = ran.run("hold", "set", "--tenant", "acme", "--as", "ann", *WHY, typed=ann)
    assert made.exit_code == 0, made.output
    hold = made.stdout.strip()
    held = ran.run("erase", "--tenant", "acme", "--user", "alice", *WHY)
    assert held.exit_code == 1
    assert f"legal hold covers this caller: `{hold}`" in held.stderr
    assert "in force" in ran.run("hold", "list").output
    alone = ran.run("hold", "clear", hold, "--as", "ann", *WHY, typed=ann)
    assert alone.exit_code == 1
    assert "another person" in alone.stderr
    assert ran.run("hold", "clear", hold, "--as", "ben", *WHY, typed=ben).exit_code == 0
    assert ran.run("hold", "list").output == ""
    assert "over since" in ran.run("hold", "list", "--all").output
    assert ran.run("erase", "--tenant", "acme", "--user", "alice", *WHY).exit_code == 0


def test_retention_shows_and_purges_nothing_that_is_not_due(ran: Ran) -> None:
    shown = ran.run("retention")
    assert shown.exit_code == 0
    assert "loans: 365 days" in shown.output
    assert "0 data keys and 0 events with salts are due" in shown.output
    assert ran.run("retention", "--purge").output == ""
    assert ran.events("retention.purge") == []


def test_rotation_moves_to_a_key_from_a_file_and_back_needs_it(ran: Ran, tmp_path: Path) -> None:
    event = ran.events("intent", app="loans")[0].members["id"]
    secret = tmp_path / "wrapping.key"
    secret.write_text(os.urandom(32).hex())
    settings = Settings(data_dir=tmp_path, apps=APPS)
    write(ran.config, settings, audit={"bodies": {"master_key": f"file:{secret}"}})
    done = ran.run("keys", "rotate")
    assert done.exit_code == 0, done.output
    assert "2 data keys are wrapped by m:" in done.output
    assert ran.events("admin.body_keys_rotated")[0].members["rotated"] == 2
    assert ran.run("body", event, "query", *WHY).exit_code == 0
    write(ran.config, settings)
    lost = ran.run("body", event, "query", *WHY)
    assert lost.exit_code == 3
    assert "unreadable: the wrapping key" in lost.stderr
    assert ran.run("keys", "rotate").exit_code == 3


@pytest.mark.parametrize("text", ["", "00" * 31, "zz" * 32])
def test_a_master_key_that_is_none_is_told(ran: Ran, tmp_path: Path, text: str) -> None:
    secret = tmp_path / "wrapping.key"
    secret.write_text(text)
    settings = Settings(data_dir=tmp_path, apps=APPS)
    write(ran.config, settings, audit={"bodies": {"master_key": f"file:{secret}"}})
    result = ran.run("keys", "rotate")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert BodySettings().master_key == ""
