"""Ingests under policies: what is withheld, redacted and kept, releases, deletions, what serving need not repeat."""

import json

import click
import pytest
from click.testing import CliRunner
from retrieval.corpora import FakeEmbedder, only, visible, write
from support.fakes import NOW

from gateway.assembly.ingest import kept_scans, opened_ingest
from gateway.assembly.sources import opened_desk
from gateway.commands.sources import sources
from gateway.domain.errors import ConfigurationError, StoreUnavailable
from gateway.domain.event import Commitment, EventType
from gateway.domain.sealing import MasterKey
from gateway.identity.key_store import KeyStore
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.ingest import embedder_identity
from gateway.retrieval.journal import ingest_lock
from gateway.settings import AppSettings, IngestSettings, Settings
from gateway.settings.folder import IDENTITY_FILE, INGEST_LOCK, MASTER_KEY_FILE

POLICIES = """
apiVersion: gateway/v1
kind: PolicySet
metadata: {{id: {id}, version: "1", owner: "team:tests", purpose: Passages, review_by: 2030-01-01}}
{more}
"""
FOR_ALL = """
needs:
  pii_patterns: {detector: pii_patterns, required: true}
lists:
  order: {values: [obey], match: word}
  check: {values: [doubtful], match: word}
  pay: {values: [salary], match: word}
  odd: {values: [odd], match: word}
  strict: {values: [strict], match: word}
rules:
  - id: P-ORDER
    title: A passage that gives orders is withheld
    severity: high
    phase: passage
    when: {all: [{signal: list.order, is: true}]}
    then: {effect: refuse}
  - id: P-CHECK
    title: A doubtful passage is withheld
    severity: high
    phase: passage
    when: {all: [{signal: list.check, is: true}]}
    then: {effect: escalate, queue: q, sla: 1h}
  - id: P-CARD
    title: Cards are hidden
    severity: high
    phase: passage
    when: {all: [{signal: pii_patterns.entities, any_of: [CREDIT_CARD, EMAIL_ADDRESS]}]}
    then: {effect: redact, with: pseudonym}
  - id: P-PAY
    title: Salaries are for hr
    severity: high
    phase: passage
    when:
      all: [{signal: list.pay, is: true}]
      none: [{field: principal.groups, any_of: [hr]}]
    then: {effect: refuse}
  - id: P-SHADOW
    title: Odd passages are only watched
    severity: high
    phase: passage
    mode: shadow
    when: {all: [{signal: list.odd, is: true}]}
    then: {effect: refuse}
  - id: P-STRICT
    title: Of a level that an app does not enforce
    severity: high
    level: 3
    phase: passage
    when: {all: [{signal: list.strict, is: true}]}
    then: {effect: refuse}
"""
FOR_ONE = """
applies_to: {apps: [desk]}
lists:
  desk: {values: [counter], match: word}
rules:
  - id: P-DESK
    title: Only for one app
    severity: high
    phase: passage
    when: {all: [{signal: list.desk, is: true}]}
    then: {effect: refuse}
"""
CARD = "4111 1111 1111 1111"


class Office:
    """A data folder with policies and a corpus, and what was recorded in the audit log."""

    def __init__(self, folder):
        self.corpus, self.policies = folder / "corpus", folder / "policies"
        self.policies.mkdir()
        self.settings = Settings(data_dir=folder / "var", policies=(self.policies,))
        self.embedder = FakeEmbedder()
        self.recorded = []
        self.rules(FOR_ALL, FOR_ONE)

    def rules(self, *sets):
        for number, more in enumerate(sets):
            (self.policies / f"s{number}.yaml").write_text(POLICIES.format(id=f"s{number}", more=more))

    def store(self):
        return EmbeddedStore(self.settings.data_dir / "index", embedder=embedder_identity(self.embedder))

    async def ingest(self, **options):
        self.embedder.texts.clear()
        async with opened_ingest(self.settings, self.store, self.embedder, run="r1") as opened:
            return await opened.run([self.corpus], tenant="acme", **options)

    async def seen(self, *groups):
        store = self.store()
        try:
            return await visible(store, FakeEmbedder(), groups or ("public",))
        finally:
            await store.close()

    async def record(self, doc):
        store = self.store()
        try:
            return (await store.records("acme", [doc]))[doc]
        finally:
            await store.close()

    def desk(self):
        return opened_desk(self.settings, self.store, self.recorded.append)

    def command(self, *arguments):
        obj = {"sources": self.desk, "settings": self.settings}
        return CliRunner().invoke(
            click.Group("gateway", commands={"sources": sources}), ["sources", *arguments], obj=obj
        )


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path)


VERDICTS = [
    ("Please obey me.", [("refuse", ("P-ORDER",))], None),
    ("A doubtful claim.", [("escalate", ("P-CHECK",))], None),
    ("obey the doubtful", [("refuse", ("P-CHECK", "P-ORDER"))], None),
    ("The fee is three pounds.", [], "The fee is three pounds."),
    (f"Card {CARD} was lost.", [], "Card [CREDIT_CARD] was lost."),
    ("Write to zoe@bank.example soon.", [], "Write to [EMAIL_ADDRESS] soon."),
    ("The salary is high.", [], "The salary is high."),  # depends on who asks
    ("An odd one.", [], "An odd one."),  # shadow
    ("At the counter.", [], "At the counter."),  # one app alone
    ("A strict one.", [("refuse", ("P-STRICT",))], None),
]


@pytest.mark.parametrize(("text", "withheld", "kept"), VERDICTS)
async def test_rules_that_hold_for_everyone_decide_what_is_indexed(office, text, withheld, kept):
    write(office.corpus, "a.md", text)
    report = only(await office.ingest())
    record = await office.record("a.md")
    assert [(one.effect, one.rules) for one in record.withheld] == withheld
    assert (report.withheld, report.redacted) == (len(withheld), int(kept is not None and kept != text))
    found = await office.seen()
    assert [passage.text for passage in found.values()] == ([kept] if kept is not None else [])
    assert all(text != embedded.rpartition("\n")[2] for embedded in office.embedder.texts) == (
        kept != text and not withheld
    )


async def test_a_level_that_some_app_does_not_enforce_is_left_to_serving(office):
    office.settings = Settings(
        data_dir=office.settings.data_dir, policies=(office.policies,), apps={"lax": AppSettings(enforce_level=2)}
    )
    write(office.corpus, "a.md", "A strict one.")
    assert only(await office.ingest()).withheld == 0


async def test_titles_and_sections_are_judged_with_the_text(office):
    write(office.corpus, "a.md", "Fine.", title="obey")
    write(office.corpus, "b.md", "# obey\n\n" + "word " * 80 + "\n\n# other\n\n" + "word " * 80)
    assert only(await office.ingest()).withheld == 2
    assert {doc: passage.section for doc, passage in (await office.seen()).items()} == {"b.md": "other"}


async def test_inspection_can_be_turned_off(office):
    office.settings = Settings(data_dir=office.settings.data_dir, ingest=IngestSettings(inspect=False))
    write(office.corpus, "a.md", "Please obey me.")
    report = await office.ingest()
    assert (report.policy, only(report).withheld) == ("", 0)
    assert set(await office.seen()) == {"a.md"}


async def test_other_policies_judge_again_without_embedding_again(office):
    write(office.corpus, "a.md", "Please obey me.")
    write(office.corpus, "b.md", "The fee is three pounds.")
    first = await office.ingest()
    assert set(await office.seen()) == {"b.md"}
    assert only(await office.ingest()).unchanged == 2
    office.rules(FOR_ALL.replace("values: [obey]", "values: [fee]"), FOR_ONE)
    second = await office.ingest()
    assert second.policy != first.policy
    assert (only(second).changed, only(second).unchanged, office.embedder.texts) == (2, 0, [])
    assert set(await office.seen()) == {"a.md"}


async def test_redaction_is_undone_from_the_source_when_policies_allow(office):
    write(office.corpus, "a.md", f"Card {CARD} was lost.")
    await office.ingest()
    office.rules(FOR_ALL.replace("any_of: [CREDIT_CARD, EMAIL_ADDRESS]", "any_of: [EMAIL_ADDRESS]"), FOR_ONE)
    await office.ingest()
    assert (await office.seen())["a.md"].text == f"Card {CARD} was lost."


async def test_policies_that_do_not_load_stop_the_ingest_and_leave_the_index(office):
    write(office.corpus, "a.md", "The fee is three pounds.")
    await office.ingest()
    (office.policies / "s0.yaml").write_text("nonsense: true")
    with pytest.raises(ConfigurationError, match="nonsense"):
        await office.ingest()
    assert set(await office.seen()) == {"a.md"}


async def test_a_released_passage_is_found_and_stays_released_while_its_text_does(office):
    write(office.corpus, "a.md", "Please obey me.")
    await office.ingest()
    async with office.desk() as desk:
        record = await desk.release("acme", "a.md#0", by="ann", reason="REQ-1")
    assert (record.withheld, [one.by for one in record.released]) == ((), ["ann"])
    [event] = office.recorded
    assert event.type is EventType.PASSAGE_RELEASED
    assert event.body | {"rev": ""} == {
        "passage": "a.md#0",
        "rev": "",
        "effect": "refuse",
        "rules": ["P-ORDER"],
        "by": Commitment(text="ann"),
        "reason": "REQ-1",
    }
    found = await office.seen()
    assert found["a.md"].released == {"P-ORDER"}
    office.rules(FOR_ALL.replace("values: [odd]", "values: [strange]"), FOR_ONE)
    await office.ingest()
    assert (await office.seen())["a.md"].released == {"P-ORDER"}
    office.rules(FOR_ALL.replace("values: [doubtful]", "values: [me]"), FOR_ONE)  # a rule that nobody has lifted
    await office.ingest()
    assert await office.seen() == {}
    assert [one.rules for one in (await office.record("a.md")).withheld] == [("P-CHECK", "P-ORDER")]
    write(office.corpus, "a.md", "Do obey me.")
    office.rules(FOR_ALL, FOR_ONE)
    await office.ingest()
    assert await office.seen() == {}


async def test_what_is_not_withheld_cannot_be_released(office):
    write(office.corpus, "a.md", "Fine.")
    await office.ingest()
    async with office.desk() as desk:
        for name, message in (("a.md#0", "is not withheld"), ("b.md#0", "no document `b.md`"), ("a.md", "no passage")):
            with pytest.raises(ConfigurationError, match=message):
                await desk.release("acme", name, by="ann", reason="REQ-1")
    assert office.recorded == []


async def test_a_withheld_passage_is_shown_once_that_is_recorded(office):
    write(office.corpus, "a.md", "Please obey me.")
    await office.ingest()
    async with office.desk() as desk:
        assert (await desk.open_withheld("acme", "a.md#0", by="ann", reason="REQ-1")).text == "Please obey me."
    [event] = office.recorded
    assert (event.type, event.body["rules"]) == (EventType.BODY_READ, ["P-ORDER"])

    def refuse(_draft):
        raise StoreUnavailable("the log cannot be written")

    async with opened_desk(office.settings, office.store, refuse) as desk:
        with pytest.raises(StoreUnavailable):
            await desk.open_withheld("acme", "a.md#0", by="ann", reason="REQ-1")


async def test_a_deleted_document_leaves_index_journal_and_scans_and_stays_out(office):
    write(office.corpus, "a.md", "The fee is three pounds.")
    write(office.corpus, "b.md", "Another one.")
    await office.ingest()
    async with office.desk() as desk:
        record = await desk.delete("acme", "a.md", by="ann", reason="REQ-1")
    assert (record.doc, record.run) == ("a.md", "r1")
    [event] = office.recorded
    assert (event.type, event.body["doc"], event.body["passages"]) == (EventType.SOURCE_DELETED, "a.md", 1)
    assert set(await office.seen()) == {"b.md"}
    for file in office.settings.data_dir.rglob("*"):
        if file.is_file():
            assert b"three pounds" not in file.read_bytes()
    report = await office.ingest()
    assert [fault.code for fault in report.faults] == ["DOC011"]
    async with office.desk() as desk:
        await desk.allow("acme", "a.md", by="ann", reason="REQ-2")
        with pytest.raises(ConfigurationError, match="was not deleted"):
            await desk.allow("acme", "a.md", by="ann", reason="REQ-2")
    assert office.recorded[-1].type is EventType.SOURCE_ALLOWED
    await office.ingest()
    assert set(await office.seen()) == {"a.md", "b.md"}


async def test_a_deletion_that_cannot_be_recorded_does_not_happen(office):
    write(office.corpus, "a.md", "The fee is three pounds.")
    await office.ingest()

    def refuse(_draft):
        raise StoreUnavailable("the log cannot be written")

    async with opened_desk(office.settings, office.store, refuse) as desk:
        with pytest.raises(StoreUnavailable):
            await desk.delete("acme", "a.md", by="ann", reason="REQ-1")
    assert set(await office.seen()) == {"a.md"}
    assert (await office.ingest()).faults == ()


async def test_nothing_changes_while_another_ingest_runs(office):
    write(office.corpus, "a.md", "Please obey me.")
    await office.ingest()
    with ingest_lock(office.settings.data_dir / INGEST_LOCK):
        async with office.desk() as desk:
            for change in (desk.delete, desk.allow, desk.release):
                with pytest.raises(StoreUnavailable, match="another ingest is running"):
                    await change("acme", "a.md#0", by="ann", reason="REQ-1")
        with pytest.raises(StoreUnavailable, match="another ingest is running"):
            await office.ingest()
    assert office.recorded == []


async def test_serving_finds_the_scans_of_an_ingest(office):
    write(office.corpus, "a.md", f"Card {CARD} was lost.")
    await office.ingest()
    master = MasterKey.load_or_create(office.settings.data_dir / MASTER_KEY_FILE)
    kept = kept_scans(office.settings.data_dir, master)
    async with opened_ingest(office.settings, office.store, office.embedder, run="r2") as opened:
        inspector = opened._judge._inspector
        passage = (await office.seen())["a.md"]
        texts = [passage.title, passage.section, passage.text]
        assert inspector.cached(texts, frozenset(inspector.detectors)) == {}
        await opened._judge.judge("acme", [passage])
        keys = list(inspector.cached(texts, frozenset(inspector.detectors)))
        assert len(keys) == 2 * 3
        assert len(kept.find(keys)) == len(keys)
    kept.close()


def run(office, *arguments):
    result = office.command(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def filled(office):
    import asyncio

    write(office.corpus, "a.md", "The fee is three pounds.")
    write(office.corpus, "staff.md", "For colleagues.", access="[staff]", classification="internal")
    write(office.corpus, "old.md", "Over.", valid_to="2026-01-01")
    write(office.corpus, "bad.md", "Please obey me.")
    asyncio.run(office.ingest())
    return office


def docs(output):
    return [one["doc"] for one in json.loads(output)]


def test_the_command_lists_what_a_principal_can_find(filled):
    assert docs(run(filled, "list", "--format", "json")) == ["a.md", "bad.md", "old.md", "staff.md"]
    assert docs(run(filled, "list", "--group", "public", "--format", "json")) == ["a.md"]
    assert docs(run(filled, "list", "--group", "staff", "--format", "json")) == ["a.md", "staff.md"]
    keys = KeyStore.open(filled.settings.data_dir / IDENTITY_FILE)
    try:
        keys.create(tenant="acme", app="desk", user="zoe", groups=["staff"], now=NOW)
        keys.create(tenant="acme", app="kiosk", user="bram", groups=[], now=NOW)
        keys.create(tenant="acme", app="desk", user="bram", groups=["staff"], now=NOW)
    finally:
        keys.close()
    assert docs(run(filled, "list", "--as", "zoe", "--format", "json")) == ["a.md", "staff.md"]
    assert docs(run(filled, "list", "--as", "bram", "--app", "kiosk", "--format", "json")) == ["a.md"]
    for arguments, message in (
        (("--as", "bram"), "name the app with `--app`"),
        (("--as", "nobody"), "no usable key"),
        (("--as", "zoe", "--group", "x"), "not both"),
    ):
        result = filled.command("list", *arguments)
        assert result.exit_code != 0
        assert message in result.output
    assert "staff.md" in run(filled, "list")


def test_the_command_shows_and_releases_what_is_withheld(filled):
    listed = json.loads(run(filled, "quarantine", "list", "--format", "json"))
    assert [(one["passage"], one["effect"], one["rules"]) for one in listed] == [("bad.md#0", "refuse", ["P-ORDER"])]
    assert "obey" not in run(filled, "quarantine", "list")
    why = ("--by", "ann", "--reason", "REQ-1")
    assert "Please obey me." in run(filled, "quarantine", "show", "bad.md#0", *why)
    assert "0 more are withheld" in run(filled, "quarantine", "release", "bad.md#0", *why)
    assert json.loads(run(filled, "quarantine", "list", "--format", "json")) == []
    assert filled.command("quarantine", "show", "bad.md#0").exit_code == 2
    assert filled.command("quarantine", "show", "bad.md#0", "--by", "a b", "--reason", "x" * 90).exit_code == 2


def test_the_command_deletes_and_allows(filled):
    why = ("--by", "ann", "--reason", "REQ-1")
    assert "a.md is gone with 1 passages" in run(filled, "delete", "a.md", *why)
    assert docs(run(filled, "list", "--deleted", "--format", "json")) == ["a.md"]
    assert "ann" in run(filled, "list", "--deleted")
    assert filled.command("delete", "a.md", *why).exit_code == 1
    assert "may be ingested again" in run(filled, "allow", "a.md", *why)
    assert docs(run(filled, "list", "--deleted", "--format", "json")) == []
