"""Files to searchable passages: faults, increments, tenants, the command."""

import datetime as dt
from contextlib import asynccontextmanager

import click
import pytest
from click.testing import CliRunner
from retrieval.corpora import FakeEmbedder, front, only, visible, write

from gateway.commands.ingest import ingest as command
from gateway.domain.errors import ConfigurationError, FaultsFound, StoreUnavailable
from gateway.domain.event import EventType
from gateway.retrieval.chunk import ChunkingParameters
from gateway.retrieval.discovery import find_documents
from gateway.retrieval.document import MAX_FILE_BYTES, Reading, parse_document
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.ingest import Ingest, Progress, embedder_identity
from gateway.retrieval.parsing.parser import Parser


def read_documents(paths, *, tenant):
    """All documents, or the faults of all files together."""
    found = find_documents(paths, Reading(tenant=tenant))
    if found.faults:
        raise FaultsFound(found.faults)
    return found.documents


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    write(folder, "cards/fees.md")
    write(folder, "loans/rates.md", "# Rates\n\nThe rate is four percent.\n", title="Rates")
    write(folder, "staff.md", "Only for colleagues.\n", title="Staff", classification="internal", access="[staff]")
    return folder


@pytest.fixture
def embedder():
    return FakeEmbedder()


@pytest.fixture
async def store(tmp_path, embedder):
    opened = EmbeddedStore(tmp_path / "index", embedder=embedder_identity(embedder))
    yield opened
    await opened.close()


async def test_documents_become_passages_with_their_front_matter(tmp_path, store, embedder):
    write(
        tmp_path / "c",
        "cards/fees.md",
        source="handbook/cards",
        effective="2026-09-01",
        review_by="2027-09-01",
        language="en",
    )
    report = only(await Ingest(store, embedder).run([tmp_path / "c"], tenant="acme"))
    assert (report.added, report.changed, report.unchanged, report.removed, report.passages) == (1, 0, 0, 0, 1)
    [passage] = (await visible(store, embedder)).values()
    assert (passage.doc, passage.title, passage.section, passage.text) == (
        "cards/fees.md",
        "Card fees",
        "",
        "The fee is three pounds.",
    )
    assert (passage.source, passage.owner, passage.classification, passage.effective) == (
        "handbook/cards",
        "team:cards",
        "public",
        "2026-09-01",
    )
    assert passage.access == {"public"}
    record = (await store.catalogue("acme")).documents["cards/fees.md"]
    assert (record.review_by, record.language, record.passages) == ("2027-09-01", "en", 1)
    assert record.content.startswith(passage.revision)
    assert embedder.texts[0] == "Card fees\nThe fee is three pounds."


async def test_access_groups_decide_what_is_seen(corpus, store, embedder):
    await Ingest(store, embedder).run([corpus], tenant="acme")
    assert set(await visible(store, embedder)) == {"cards/fees.md", "loans/rates.md"}
    assert set(await visible(store, embedder, ["staff"])) == {"staff.md"}


async def test_unchanged_documents_are_not_embedded_again(corpus, store, embedder):
    ingest = Ingest(store, embedder)
    first = only(await ingest.run([corpus], tenant="acme"))
    embedder.texts.clear()
    second = only(await ingest.run([corpus], tenant="acme"))
    assert embedder.texts == []
    assert (second.added, second.changed, second.unchanged, second.removed) == (0, 0, 3, 0)
    assert second.before == second.after == first.after


async def test_only_what_changed_is_embedded_and_what_vanished_goes(corpus, store, embedder):
    ingest = Ingest(store, embedder)
    await ingest.run([corpus], tenant="acme")
    write(corpus, "cards/fees.md", "The fee is four pounds.\n")
    write(corpus, "new.md", "New.\n")
    (corpus / "loans" / "rates.md").unlink()
    embedder.texts.clear()
    report = only(await ingest.run([corpus], tenant="acme"))
    assert (report.added, report.changed, report.unchanged, report.removed) == (1, 1, 1, 1)
    assert sorted(embedder.texts) == ["Card fees\nNew.", "Card fees\nThe fee is four pounds."]
    found = await visible(store, embedder)
    assert set(found) == {"cards/fees.md", "new.md"}
    assert found["cards/fees.md"].text == "The fee is four pounds."


@pytest.mark.parametrize("change", [{"access": "[hr]", "classification": "restricted"}, {"owner": "team:other"}])
async def test_a_change_of_front_matter_alone_is_a_change(corpus, store, embedder, change):
    ingest = Ingest(store, embedder)
    await ingest.run([corpus], tenant="acme")
    write(corpus, "cards/fees.md", **change)
    assert only(await ingest.run([corpus], tenant="acme")).changed == 1
    assert ("cards/fees.md" in await visible(store, embedder)) == ("owner" in change)


async def test_another_embedder_or_chunker_prepares_everything_again(corpus, tmp_path, store, embedder):
    await Ingest(store, embedder).run([corpus], tenant="acme")
    smaller = Reading(chunking=ChunkingParameters(target_chars=300, overlap_chars=50))
    report = only(await Ingest(store, embedder, reading=smaller).run([corpus], tenant="acme"))
    assert (report.added, report.changed, report.unchanged) == (0, 3, 0)
    newer = FakeEmbedder("2")
    other = EmbeddedStore(tmp_path / "index", embedder=embedder_identity(newer))
    assert only(await Ingest(other, newer).run([corpus], tenant="acme")).changed == 3
    assert len(await visible(other, newer)) == 2
    await other.close()


async def test_folders_do_not_remove_each_others_documents(corpus, tmp_path, store, embedder):
    write(tmp_path / "more", "extra.md")
    ingest = Ingest(store, embedder)
    await ingest.run([corpus], tenant="acme")
    report = only(await ingest.run([tmp_path / "more"], tenant="acme"))
    assert (report.added, report.removed) == (1, 0)
    await ingest.run([tmp_path / "more" / "extra.md"], tenant="acme")
    assert set(await visible(store, embedder)) == {"cards/fees.md", "loans/rates.md", "extra.md"}


async def test_front_matter_names_the_tenant_and_a_document_can_move(tmp_path, store, embedder):
    folder = tmp_path / "c"
    write(folder, "a.md", tenant="one")
    write(folder, "b.md")
    ingest = Ingest(store, embedder)
    report = await ingest.run([folder], tenant="acme")
    assert [(tenant.tenant, tenant.added) for tenant in report.tenants] == [("acme", 1), ("one", 1)]
    write(folder, "a.md", tenant="two")
    report = await ingest.run([folder], tenant="acme")
    assert [(tenant.tenant, tenant.added, tenant.removed) for tenant in report.tenants] == [
        ("acme", 0, 0),
        ("one", 0, 1),
        ("two", 1, 0),
    ]
    assert set(await visible(store, embedder, tenant="one")) == set()
    assert set(await visible(store, embedder, tenant="two")) == {"a.md"}


async def test_rebuild_prepares_everything_and_repairs(corpus, store, embedder):
    ingest = Ingest(store, embedder)
    first = only(await ingest.run([corpus], tenant="acme"))
    (store._home("acme") / "current").write_text("broken")
    with pytest.raises(StoreUnavailable):
        await ingest.run([corpus], tenant="acme")
    report = only(await ingest.run([corpus], tenant="acme", rebuild=True))
    assert (report.added, report.after) == (3, first.after)
    assert len(await visible(store, embedder)) == 2


async def test_progress_is_told(corpus, store, embedder):
    told = []
    await Ingest(store, embedder).run([corpus], tenant="acme", progress=told.append)
    assert told[0] == Progress(done=0, total=3, passages=0)
    assert told[-1] == Progress(done=3, total=3, passages=3)


async def test_a_changed_index_is_an_audit_event_without_content(corpus, store, embedder):
    ingest = Ingest(store, embedder)
    report = await ingest.run([corpus], tenant="acme")
    [event] = report.events()
    assert (event.type, event.tenant) == (EventType.INGEST, "acme")
    assert event.body["added"] == 3
    assert event.body["index_rev"] == only(report).after
    assert (await ingest.run([corpus], tenant="acme")).events() == []


async def test_a_bad_file_is_told_and_left_out_and_its_earlier_revision_stays(corpus, store, embedder):
    ingest = Ingest(store, embedder)
    await ingest.run([corpus], tenant="acme")
    write(corpus, "cards/fees.md", "Changed.\n", access=None)
    write(corpus, "loans/rates.md", "The rate is five percent.\n", title="Rates")
    write(corpus, "bad.md", owner=None)
    report = await ingest.run([corpus], tenant="acme")
    assert [(fault.code, fault.file) for fault in report.faults] == [
        ("DOC009", str(corpus / "bad.md")),
        ("DOC003", str(corpus / "cards" / "fees.md")),
    ]
    assert (only(report).changed, only(report).removed, only(report).unchanged) == (1, 0, 1)
    found = await visible(store, embedder)
    assert found["cards/fees.md"].text == "The fee is three pounds."
    assert found["loans/rates.md"].text == "The rate is five percent."
    with pytest.raises(FaultsFound):
        report.sound()


async def test_a_failing_embedder_changes_nothing(corpus, store, embedder):
    class Failing(FakeEmbedder):
        def embed(self, texts):
            raise RuntimeError("model")

    with pytest.raises(RuntimeError):
        await Ingest(store, Failing()).run([corpus], tenant="acme")
    assert await store.tenants() == frozenset()


FAULTS = [
    ({"access": None}, "", "DOC003", "`access` is missing, so nobody could see the document"),
    ({"access": "[]"}, "", "DOC003", "or `[public]`"),
    ({"access": "['*']"}, "", "DOC005", "group `*` is not a group name"),
    ({"access": '["a\\nb"]'}, "", "DOC005", "is not a group name"),
    ({"access": str([f"g{n}" for n in range(40)])}, "", "DOC005", "more than 32 groups"),
    ({"classification": "internal"}, "", "DOC007", "the document is `internal` but everyone may see it"),
    ({"id": "has space"}, "", "DOC005", "set another `id`"),
    ({"id": "a#1"}, "", "DOC005", "set another `id`"),
    ({"clasification": "public"}, "", "YAML020", "unknown key `clasification`"),
    ({"owner": None}, "", "DOC009", "the document has no `owner`: add it"),
    ({"classification": None}, "", "DOC009", "the document has no `classification`: add it"),
    ({"language": "German!"}, "", "YAML024", "has the wrong form"),
    ({"valid_from": "2026-05-01", "valid_to": "2026-04-30"}, "", "DOC007", "`valid_to` is before `valid_from`"),
    ({"chunking": "{method: windows}"}, "", "YAML023", "did you mean `window`?"),
    ({"chunking": "{target_chars: 200, overlap_chars: 150}"}, "", "YAML024", "less than half"),
    ({"classification": "secret"}, "", "YAML", "secret"),
    ({"effective": "soon"}, "", "YAML", "soon"),
]


@pytest.mark.parametrize(("keys", "body", "code", "message"), FAULTS)
def test_faults_of_front_matter_name_place_and_remedy(tmp_path, keys, body, code, message):
    file = write(tmp_path, "a.md", **keys)
    with pytest.raises(FaultsFound) as raised:
        read_documents([tmp_path], tenant="acme")
    [fault] = raised.value.faults
    assert (fault.file, fault.code[: len(code)]) == (str(file), code)
    assert message in fault.message
    assert fault.line > 1


def raw(tmp_path, content, name="a.md"):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FaultsFound) as raised:
        read_documents([tmp_path], tenant="acme")
    return raised.value.faults


@pytest.mark.parametrize("content", [b"# Title\n\ntext", b"", b"---\ntitle: a\n", b" ---\na: b\n---\n"])
def test_a_file_without_front_matter_is_a_fault(tmp_path, content):
    [fault] = raw(tmp_path, content)
    assert fault.code == "DOC002"


async def test_unreadable_files_are_faults(tmp_path, store, embedder):
    assert [fault.code for fault in raw(tmp_path, b"\xff\xfe\x00")] == ["DOC001"]
    assert [fault.code for fault in raw(tmp_path, b"x" * (MAX_FILE_BYTES + 1))] == ["DOC001"]
    (tmp_path / "a.md").write_bytes(front().encode() + b" \n\n")
    report = await Ingest(store, embedder).run([tmp_path / "a.md"], tenant="acme")
    assert [fault.code for fault in report.faults] == ["DOC006"]


def test_a_document_without_a_tenant_is_a_fault(tmp_path):
    write(tmp_path, "a.md")
    with pytest.raises(FaultsFound) as raised:
        read_documents([tmp_path], tenant="")
    assert [fault.code for fault in raised.value.faults] == ["DOC004"]


def test_two_files_with_one_id_are_a_fault_within_a_tenant(tmp_path):
    write(tmp_path, "a.md", id="same")
    write(tmp_path, "b.md", id="same")
    write(tmp_path, "c.md", id="same", tenant="other")
    with pytest.raises(FaultsFound) as raised:
        read_documents([tmp_path], tenant="acme")
    assert [(fault.code, fault.file) for fault in raised.value.faults] == [
        ("DOC008", str(tmp_path / "a.md")),
        ("DOC008", str(tmp_path / "b.md")),
    ]


def test_all_faults_of_all_files_are_reported_together(tmp_path):
    write(tmp_path, "a.md", access=None, classification="wrong")
    write(tmp_path, "b.md", owner=None)
    (tmp_path / "c.md").write_text("nothing")
    with pytest.raises(FaultsFound) as raised:
        read_documents([tmp_path], tenant="acme")
    files = [fault.file for fault in raised.value.faults]
    assert files == sorted(files)
    assert set(files) == {str(tmp_path / name) for name in ("a.md", "b.md", "c.md")}


def test_faults_show_no_text_of_the_document(tmp_path):
    write(tmp_path, "a.md", "confidential words\n", access=None)
    with pytest.raises(FaultsFound) as raised:
        read_documents([tmp_path], tenant="acme")
    assert "confidential" not in str(raised.value)
    write(tmp_path, "a.md", "confidential words\n")
    [document] = read_documents([tmp_path], tenant="acme")
    assert "confidential" not in repr(document)


def test_only_documents_inside_the_folder_are_read(tmp_path):
    folder = tmp_path / "c"
    write(folder, "a.md")
    write(folder, "b.TXT", "plain\n", title="Plain")
    write(folder, ".hidden/x.md")
    write(folder, ".y.md")
    (folder / "image.png").write_bytes(b"\x89PNG")
    outside = write(tmp_path, "outside.md")
    (folder / "link.md").symlink_to(outside)
    (folder / "again.md").symlink_to(folder / "a.md")
    assert [document.id for document in read_documents([folder, folder / "a.md"], tenant="t")] == ["a.md", "b.TXT"]


def test_ids_of_odd_file_names_are_escaped(tmp_path):
    write(tmp_path, "a b/Gebühren #1.md")
    assert [document.id for document in read_documents([tmp_path], tenant="t")] == ["a%20b/Geb%C3%BChren%20%231.md"]


def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path):
    file = write(tmp_path, "a.md")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    [document] = read_documents([tmp_path], tenant="t")
    assert document.meta.title == "Card fees"
    with Parser() as parser:
        [section] = parse_document(document, parser).sections
    assert [block.text for block in section.blocks] == ["The fee is three pounds."]


def test_dates_are_dates(tmp_path):
    write(tmp_path, "a.md", effective="2026-09-01")
    [document] = read_documents([tmp_path], tenant="t")
    assert document.meta.effective == dt.date(2026, 9, 1)


@pytest.mark.parametrize("name", ["missing", "a.xlsx"])
def test_a_path_that_is_no_corpus_is_refused(tmp_path, name):
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="name a f"):
        read_documents([tmp_path / name], tenant="t")


def run(tmp_path, *arguments):
    reports = []
    embedder = FakeEmbedder()

    @asynccontextmanager
    async def opened():
        store = EmbeddedStore(tmp_path / "index", embedder=embedder_identity(embedder))
        yield Ingest(store, embedder)
        await store.close()

    composition = {"ingest": opened, "reading": Reading(), "parser": Parser, "on_ingested": reports.append}
    cli = click.Group("gateway", commands={"ingest": command})
    return CliRunner().invoke(cli, ["ingest", *map(str, arguments)], obj=composition), reports


def test_the_command_indexes_and_reports(corpus, tmp_path):
    result, [report] = run(tmp_path, corpus, "--tenant", "acme")
    assert result.exit_code == 0
    assert "acme: 3 added, 0 changed, 0 unchanged, 0 removed; 3 passages prepared; index" in result.output
    assert only(report).added == 3
    again, _ = run(tmp_path, corpus, "--tenant", "acme")
    assert "0 added, 0 changed, 3 unchanged" in again.output
    rebuilt, _ = run(tmp_path, corpus, "--tenant", "acme", "--rebuild")
    assert "3 passages prepared" in rebuilt.output


def test_the_command_prints_all_faults_and_fails(corpus, tmp_path):
    write(corpus, "x.md", access=None)
    write(corpus, "y.md", owner=None)
    result, reports = run(tmp_path, corpus, "--tenant", "acme")
    assert result.exit_code == 1
    assert "x.md" in result.output
    assert "DOC003" in result.output
    assert "y.md" in result.output
    assert "acme: 3 added" in result.output
    assert [only(report).added for report in reports] == [3]


def test_the_command_says_when_there_is_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    result, _ = run(tmp_path, tmp_path / "empty", "--tenant", "acme")
    assert (result.exit_code, result.output.strip()) == (0, "nothing to index: no documents found")
