"""Interrupted runs, the lock, lineage, deletions for good, empty folders, formats in one run."""

import asyncio
import subprocess
import sys

import pytest
from retrieval.corpora import FakeEmbedder, front, only, visible, write
from retrieval.parsing.pdf_files import lines, pdf

from gateway.domain.errors import ConfigurationError, StoreUnavailable
from gateway.retrieval.document import Reading
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.ingest import Ingest, embedder_identity
from gateway.retrieval.journal import Deletion, IngestJournal, ingest_lock


@pytest.fixture
def embedder():
    return FakeEmbedder()


@pytest.fixture
async def store(tmp_path, embedder):
    opened = EmbeddedStore(tmp_path / "index", embedder=embedder_identity(embedder))
    yield opened
    await opened.close()


@pytest.fixture
def journal(tmp_path):
    with IngestJournal(tmp_path / "ingest.db") as opened:
        yield opened


class Interrupted(FakeEmbedder):
    """Fails when it is asked for the second time, as a process that is killed between two batches."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def embed(self, texts):
        self.calls += 1
        if self.calls == 2:
            raise KeyboardInterrupt
        return super().embed(texts)


def fill(folder, count):
    """Documents of more passages than are embedded at once."""
    for number in range(count):
        write(folder, f"d{number:02}.md", "\n\n".join(f"# Part {n}\n\n{'word ' * 90}{number}" for n in range(10)))


async def test_an_interrupted_run_goes_on_where_it_was(tmp_path, store, journal):
    fill(tmp_path / "c", 12)
    broken = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        await Ingest(store, broken, journal=journal).run([tmp_path / "c"], tenant="acme")
    assert await store.tenants() == frozenset()
    embedder = FakeEmbedder()
    report = only(await Ingest(store, embedder, journal=journal).run([tmp_path / "c"], tenant="acme"))
    assert report.added == 12
    assert report.resumed == 7
    assert len(embedder.texts) == 50
    assert len((await store.catalogue("acme")).documents) == 12
    again = only(await Ingest(store, embedder, journal=journal).run([tmp_path / "c"], tenant="acme"))
    assert (again.unchanged, again.resumed) == (12, 0)


async def test_prepared_work_is_used_for_exactly_its_document_only(tmp_path, store, journal):
    fill(tmp_path / "c", 12)
    with pytest.raises(KeyboardInterrupt):
        await Ingest(store, Interrupted(), journal=journal).run([tmp_path / "c"], tenant="acme")
    write(tmp_path / "c", "d00.md", "Other words.")
    report = only(await Ingest(store, FakeEmbedder(), journal=journal).run([tmp_path / "c"], tenant="acme"))
    assert report.resumed == 6
    found = await visible(store, FakeEmbedder())
    assert found["d00.md"].text == "Other words."
    newer = FakeEmbedder("2")
    other = EmbeddedStore(tmp_path / "other", embedder=embedder_identity(newer))
    with pytest.raises(KeyboardInterrupt):
        await Ingest(store, Interrupted(), journal=journal).run([tmp_path / "c"], tenant="beta")
    assert only(await Ingest(other, newer, journal=journal).run([tmp_path / "c"], tenant="beta")).resumed == 0
    await other.close()


async def test_only_changed_passages_of_a_changed_document_are_embedded(tmp_path, store, embedder):
    parts = [f"# Part {n}\n\n{'word ' * 90}{n}" for n in range(5)]
    write(tmp_path / "c", "a.md", "\n\n".join(parts))
    await Ingest(store, embedder).run([tmp_path / "c"], tenant="acme")
    parts[2] = "# Part 2\n\n" + "other " * 90
    write(tmp_path / "c", "a.md", "\n\n".join(parts))
    embedder.texts.clear()
    report = only(await Ingest(store, embedder).run([tmp_path / "c"], tenant="acme"))
    assert (report.changed, report.passages, len(embedder.texts)) == (1, 5, 1)


async def test_records_and_journal_name_the_run_that_brought_a_revision(tmp_path, store, embedder, journal):
    write(tmp_path / "c", "a.md")
    for run, body in (("r1", "One."), ("r2", "Two.")):
        write(tmp_path / "c", "a.md", body)
        ingest = Ingest(store, embedder, journal=journal, run=run, at=f"2026-11-24T10:00:0{run[1]}Z")
        report = await ingest.run([tmp_path / "c"], tenant="acme")
        assert report.run == run
        [event] = report.events()
        assert event.body["run"] == run
        assert len(event.body["manifest"]) == 64
    record = (await store.records("acme", ["a.md"]))["a.md"]
    assert (record.run, record.file, record.title) == ("r2", "a.md", "Card fees")
    first, second = journal.origins("acme", "a.md")
    assert (first.run, second.run, second.revision) == ("r1", "r2", record.revision)
    assert (second.root, second.file) == (str(tmp_path / "c"), "a.md")


async def test_a_deleted_document_stays_out_until_it_is_allowed(tmp_path, store, embedder, journal):
    write(tmp_path / "c", "a.md")
    write(tmp_path / "c", "b.md")
    journal.delete(Deletion(tenant="acme", doc="a.md", at="2026-11-24", who="ann", reason="REQ-1"))
    report = await Ingest(store, embedder, journal=journal).run([tmp_path / "c"], tenant="acme")
    assert [(fault.code, fault.file) for fault in report.faults] == [("DOC011", str(tmp_path / "c" / "a.md"))]
    assert set((await store.catalogue("acme")).documents) == {"b.md"}
    assert [one.who for one in journal.deletions("acme").values()] == ["ann"]
    assert journal.allow("acme", "a.md")
    assert not journal.allow("acme", "a.md")
    report = await Ingest(store, embedder, journal=journal).run([tmp_path / "c"], tenant="acme")
    assert (report.faults, only(report).added) == ((), 1)


async def test_an_empty_folder_is_taken_for_a_mistake(tmp_path, store, embedder):
    file = write(tmp_path / "c", "a.md")
    ingest = Ingest(store, embedder)
    await ingest.run([tmp_path / "c"], tenant="acme")
    file.unlink()
    with pytest.raises(ConfigurationError, match="holds no document, but the index has 1 from it"):
        await ingest.run([tmp_path / "c"], tenant="acme")
    assert set((await store.catalogue("acme")).documents) == {"a.md"}
    report = only(await ingest.run([tmp_path / "c"], tenant="acme", allow_empty=True))
    assert report.removed == 1


async def test_formats_mix_and_bad_ones_are_told(tmp_path, store, embedder):
    folder = tmp_path / "c"
    write(folder, "a.md")
    (folder / "_meta.yaml").write_text("owner: o\nclassification: public\naccess: [public]\n")
    (folder / "b.pdf").write_bytes(pdf(lines("The rate is four percent."), title="Rates"))
    (folder / "c.pdf").write_bytes(b"%PDF-1.4 broken")
    (folder / "d.html").write_text("<h1>Loans</h1><p>Loans need a form. <span hidden>obey</span></p>")
    (folder / "e.csv").write_text("Branch,Phone\nLeeds,0113\n")
    (folder / "f.html").write_text("<p hidden>nothing seen</p>")
    report = await Ingest(store, embedder).run([folder], tenant="acme")
    assert [(fault.file.rpartition("/")[2], fault.code) for fault in report.faults] == [
        ("c.pdf", "DOC001"),
        ("f.html", "DOC006"),
    ]
    found = await visible(store, embedder)
    assert {doc: (passage.title, passage.place) for doc, passage in found.items()} == {
        "a.md": ("Card fees", ""),
        "b.pdf": ("Rates", "page 1"),
        "d.html": ("Loans", ""),
        "e.csv": ("e", "row 2"),
    }
    assert only(report).hidden == 4
    assert {passage.chunker for passage in found.values()} == {Reading().chunking.identity}


async def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, store, embedder):
    write(tmp_path / "c", "a.md")
    file = write(tmp_path / "c", "b.md")

    def change(_):
        file.write_text(front() + "Changed.")

    report = await Ingest(store, embedder).run([tmp_path / "c"], tenant="acme", progress=change)
    assert [fault.message for fault in report.faults] == ["the file changed while it was read: ingest again"]
    assert set(await visible(store, embedder)) == {"a.md"}


def test_one_ingest_at_a_time_across_processes(tmp_path):
    lock = tmp_path / "data" / "ingest.lock"
    imports = "from pathlib import Path\nfrom gateway.retrieval.journal import ingest_lock\n"
    code = f"{imports}with ingest_lock(Path({str(lock)!r})): print('got it')"
    with ingest_lock(lock):
        with pytest.raises(StoreUnavailable, match="another ingest is running") as raised, ingest_lock(lock):
            pass
        assert raised.value.code == "store_locked"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "another ingest is running" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "got it\n"


def test_a_journal_that_cannot_be_opened_says_what_to_check(tmp_path):
    (tmp_path / "ingest.db").mkdir()
    with pytest.raises(StoreUnavailable, match="check the data folder") as raised:
        IngestJournal(tmp_path / "ingest.db")
    assert raised.value.code == "journal_failed"
    (tmp_path / "other.db").write_bytes(b"no database " * 100)
    with pytest.raises(StoreUnavailable):
        IngestJournal(tmp_path / "other.db")


async def test_a_title_that_is_a_book_is_cut_and_shows_nothing_invisible(tmp_path, store, embedder):
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "_meta.yaml").write_text("owner: o\nclassification: public\naccess: [public]\n")
    order = "".join(chr(0xE0000 + ord(char)) for char in "obey")
    (folder / "a.html").write_text(f"<title>Fees {order}{'x' * 5000}</title><p>The fee is three pounds.")
    await Ingest(store, embedder).run([folder], tenant="acme")
    passage = (await visible(store, embedder))["a.html"]
    assert passage.title == "Fees " + "x" * 195
    assert passage.text == "The fee is three pounds."


KILLED = """
import asyncio, os, sys
from pathlib import Path
from tests.retrieval.corpora import FakeEmbedder
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.ingest import Ingest, embedder_identity
from gateway.retrieval.journal import IngestJournal

class Dying(FakeEmbedder):
    calls = 0
    def embed(self, texts):
        self.calls += 1
        if self.calls == 2:
            os.kill(os.getpid(), 9)
        return super().embed(texts)

folder = Path(sys.argv[1])
embedder = Dying()
store = EmbeddedStore(folder / "index", embedder=embedder_identity(embedder))
asyncio.run(Ingest(store, embedder, journal=IngestJournal(folder / "ingest.db")).run([folder / "c"], tenant="acme"))
"""


async def test_a_killed_process_leaves_its_work_and_nothing_visible(tmp_path, store, embedder, journal):
    fill(tmp_path / "c", 12)
    died = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(tmp_path))
    assert await died.wait() == -9
    assert await store.tenants() == frozenset()
    report = only(await Ingest(store, embedder, journal=journal).run([tmp_path / "c"], tenant="acme"))
    assert (report.added, report.resumed) == (12, 7)
    fresh = EmbeddedStore(tmp_path / "fresh", embedder=embedder_identity(embedder))
    assert only(await Ingest(fresh, embedder).run([tmp_path / "c"], tenant="acme")).after == report.after
    await fresh.close()
