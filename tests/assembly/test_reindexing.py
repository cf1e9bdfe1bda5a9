"""Another edition beside the serving one: built, compared, switched to, rolled back; searched all the while."""

import asyncio
import datetime as dt

import pytest
from retrieval.corpora import FakeEmbedder, write

from gateway.assembly.index import editions_of
from gateway.assembly.ingest import opened_ingest
from gateway.assembly.reindexing import IndexDesk
from gateway.assembly.sources import SourceDesk
from gateway.domain.errors import ConfigurationError, StoreUnavailable
from gateway.domain.event import EventType
from gateway.domain.passage import RetrievalStatus
from gateway.domain.principal import Principal
from gateway.retrieval.chunk import ChunkingParameters, ChunkMethod
from gateway.retrieval.comparison import KnownItem
from gateway.retrieval.editions import BASE, ServingStore, remove
from gateway.retrieval.embedded_shelf import EmbeddedShelf
from gateway.retrieval.embedding import embedder_identity
from gateway.retrieval.retriever import PassageRetriever
from gateway.settings import Settings
from gateway.settings.folder import INDEX_DIR
from gateway.settings.retrieval import IngestSettings

PRINCIPAL = Principal(tenant="acme", app="x", user="u", groups=frozenset(["staff"]), auth="key", key_id="k", ref="p")
WINDOWS = ChunkingParameters(method=ChunkMethod.WINDOW, target_chars=200, overlap_chars=20)


class OtherEmbedder(FakeEmbedder):
    """Another model: none of its vectors means what those of the first mean."""

    name = "other"

    def embed(self, texts):
        return super().embed(texts)[:, ::-1].copy()


class Place:
    """A data folder with an index, and whatever works on it."""

    def __init__(self, folder):
        self.folder = folder
        self.settings = Settings(data_dir=folder / "data", ingest=IngestSettings(inspect=False))
        self.builtin, self.other = FakeEmbedder(), OtherEmbedder()
        self.others = {"big": self.other}
        self.events = []
        self.opened = []

    def store(self):
        known = [embedder_identity(one) for one in (self.builtin, self.other)]
        store = ServingStore(EmbeddedShelf(self.settings.data_dir / INDEX_DIR, embedders=known))
        self.opened.append(store)
        return store

    def desk(self, store=None):
        return IndexDesk(self.settings, store or self.store(), (self.builtin, self.others), self.events.append)

    async def ingest(self):
        opening = opened_ingest(self.settings, self.store, self.builtin, run="r", others=self.others)
        async with opening as ingest:
            return (await ingest.run([self.folder / "docs"], tenant="acme")).sound()

    def retriever(self, store=None):
        return PassageRetriever(
            store or self.store(), self.builtin, top_k=5, max_context_chars=9000, timeout_s=30, others=[self.other]
        )

    async def found(self, query, retriever=None):
        result = await (retriever or self.retriever()).retrieve(PRINCIPAL, query)
        assert result.status is RetrievalStatus.OK, result.reason
        return [passage.doc for passage in result.passages]


def fill(folder):
    for name, words in (("loan", "rates of a loan"), ("card", "limits of a card"), ("fee", "the fee of a branch")):
        text = f"# About {name}\n\n" + " ".join(f"Sentence {n} on {words}." for n in range(30))
        write(folder / "docs", f"{name}.md", text, access="[staff]", title=f"About {name}")


@pytest.fixture
async def place(tmp_path):
    fill(tmp_path)
    made = Place(tmp_path)
    await made.ingest()
    yield made
    for store in made.opened:
        await store.close()


async def build(place, store=None, **given):
    chosen = {"embedder": "big", "chunking": None, "items": [], "max_drop": 0.02, "force": False, "by": "ann"} | given
    return await place.desk(store).build(**chosen)


async def test_another_embedder_serves_in_every_process_with_its_next_search(place):
    running = place.retriever()
    assert (await place.found("loan", running))[0] == "loan.md"
    built = await build(place)
    assert (built.switched, built.documents) == (True, 3)
    assert built.edition.embedder == embedder_identity(place.other)
    asked = len(place.other.texts)
    assert (await place.found("loan", running))[0] == "loan.md"
    assert len(place.other.texts) > asked  # the query was embedded with the model of the new edition
    assert [one.role for one in await place.desk().standing()] == ["previous", "serving"]


async def test_the_switch_is_in_the_audit_with_what_it_was_decided_on(place):
    built = await build(place)
    [event] = place.events
    assert event.type is EventType.INDEX_SWITCHED
    assert {key: value for key, value in event.body.items() if key != "by"} == {
        "store": "embedded",
        "edition": built.edition.name,
        "previous": BASE,
        "cause": "build",
        "embedder": built.edition.embedder,
        "questions": 3,
        "recall_before_e6": 1_000_000,
        "recall_e6": 1_000_000,
        "overlap_e6": round(built.comparison.overlap * 1_000_000),
        "forced": False,
    }


async def test_an_audit_that_cannot_be_written_leaves_the_index_as_it_was(place):
    def fails(_):
        raise StoreUnavailable("no log")

    store = place.store()
    desk = IndexDesk(place.settings, store, (place.builtin, place.others), fails)
    with pytest.raises(StoreUnavailable):
        await desk.build(embedder="big", chunking=None, items=[], max_drop=0.02, force=False, by="ann")
    assert (await store.serving()).name == BASE


async def test_another_way_of_cutting_makes_other_passages_and_later_ingests_keep_to_it(place):
    store = place.store()
    before = sum(one.passages for one in (await store.catalogue("acme")).documents.values())
    built = await build(place, embedder="", chunking=WINDOWS)
    assert built.switched
    records = (await store.catalogue("acme")).documents.values()
    assert sum(one.passages for one in records) > before
    assert {one.chunker for one in records} == {WINDOWS.identity}
    report = await place.ingest()
    assert [(one.unchanged, one.changed) for one in report.tenants] == [(3, 0)]


@pytest.mark.parametrize(("force", "switched"), [(False, False), (True, True)])
async def test_an_edition_that_finds_less_is_switched_to_only_by_force(place, force, switched):
    groups = frozenset(["staff"])
    items = [KnownItem(tenant="acme", ask="loan rates", groups=groups, documents=frozenset(["loan.md"]))]
    store, wrong = place.store(), IndexDesk._fill

    async def lossy(desk, work):
        made = await wrong(desk, work)
        await remove(work.target, "acme", ["loan.md"])
        return made

    class Lossy(IndexDesk):
        _fill = lossy

    desk = Lossy(place.settings, store, (place.builtin, place.others), place.events.append)
    built = await desk.build(embedder="big", chunking=None, items=items, max_drop=0.5, force=force, by="ann")
    assert (built.comparison.before.recall, built.comparison.after.recall) == (1.0, 0.0)
    assert built.switched is switched
    assert (await place.store().serving()).name == (built.edition.name if switched else BASE)
    assert bool(place.events) is switched


async def test_a_refused_build_goes_on_where_it_was(place):
    first = await build(place, max_drop=-1.0)
    second = await build(place)
    assert (first.switched, second.switched) == (False, True)
    assert second.edition == first.edition
    assert second.documents == 0  # nothing was embedded again


async def test_what_changes_while_an_edition_is_built_is_in_it(place):
    first = await build(place, max_drop=-1.0)
    write(place.folder / "docs", "new.md", "transfer abroad", access="[staff]", title="New")
    (place.folder / "docs" / "fee.md").unlink()
    await place.ingest()
    built = await build(place)
    assert (built.edition, built.documents, built.switched) == (first.edition, 1, True)
    assert set((await place.store().catalogue("acme")).documents) == {"loan.md", "card.md", "new.md"}


async def test_searches_never_fail_while_an_index_is_built_and_switched(place):
    retrievers = [place.retriever(), place.retriever()]
    stopped = asyncio.Event()

    async def ask(retriever):
        asked = 0
        while not stopped.is_set():
            assert (await place.found("loan", retriever))[0] == "loan.md"
            asked += 1
        return asked

    asking = [asyncio.create_task(ask(retriever)) for retriever in retrievers for _ in range(2)]
    for _ in range(3):
        await build(place)
        await place.desk().rollback("", by="ann")
    stopped.set()
    assert min(await asyncio.gather(*asking)) > 3


async def test_a_rollback_brings_back_nothing_that_was_deleted_changed_or_closed(place):
    await build(place, embedder="", chunking=WINDOWS)
    await SourceDesk(place.settings, place.store(), place.events.append).delete(
        "acme", "fee.md", by="ann", reason="error"
    )
    write(place.folder / "docs", "card.md", "limits of a card", access="[hr]", title="About card")
    (place.folder / "docs" / "fee.md").unlink()
    await place.ingest()
    edition, left_out = await place.desk().rollback("", by="ann")
    assert (edition.name, left_out) == (BASE, 1)  # the deleted one went with its deletion
    assert set((await place.store().catalogue("acme")).documents) == {"loan.md"}
    await place.ingest()
    records = (await place.store().catalogue("acme")).documents
    assert {doc: record.access for doc, record in records.items()} == {"loan.md": ("staff",), "card.md": ("hr",)}
    assert place.events[-1].body["cause"] == "rollback"


async def test_a_deletion_leaves_no_edition_with_the_document(place):
    await build(place)
    store = place.store()
    await SourceDesk(place.settings, store, place.events.append).delete("acme", "fee.md", by="ann", reason="error")
    for one in await editions_of(store).shelf.editions():
        assert "fee.md" not in (await store.edition(one.name).catalogue("acme")).documents


async def test_pruning_keeps_what_serves_and_the_way_back(place):
    await build(place)
    await build(place, embedder="builtin", chunking=WINDOWS)
    names = [one.edition.name for one in await place.desk().standing()]
    assert await place.desk().prune(keep_previous=True) == [BASE]
    assert await place.desk().prune(keep_previous=False) == [names[1]]
    assert await place.found("loan") != []
    with pytest.raises(ConfigurationError, match="no such earlier edition"):
        await place.desk().rollback("", by="ann")


async def test_documents_whose_files_are_gone_are_not_lost_silently(place):
    (place.folder / "docs" / "fee.md").unlink()
    with pytest.raises(ConfigurationError, match="1 documents of `acme` cannot be read"):
        await build(place, embedder="", chunking=WINDOWS)
    assert "fee.md" in (await place.store().catalogue("acme")).documents


async def test_two_builds_at_once_are_refused(place):
    results = await asyncio.gather(build(place), build(place), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["Built", "StoreUnavailable"]


async def test_an_unknown_embedder_is_told_with_those_that_there_are(place):
    with pytest.raises(ConfigurationError, match="name one of `builtin`, `big`"):
        await build(place, embedder="huge")


async def test_an_edition_of_a_model_that_the_settings_lost_is_refused_and_never_searched(place):
    await build(place)
    known = [embedder_identity(place.builtin)]
    store = ServingStore(EmbeddedShelf(place.settings.data_dir / INDEX_DIR, embedders=known))
    place.opened.append(store)
    with pytest.raises(StoreUnavailable) as raised:
        await store.start()
    assert raised.value.code == "embedder_mismatch"
    found = await PassageRetriever(store, place.builtin, top_k=5, max_context_chars=900, timeout_s=5).retrieve(
        PRINCIPAL, "loan"
    )
    assert (found.status, found.reason) == (RetrievalStatus.ERROR, "embedder_mismatch")


@pytest.mark.parametrize("content", [b"{", b'{"serving": "../x"}', b""])
async def test_a_damaged_pointer_is_a_failure_and_no_other_index(place, content):
    await build(place)
    (place.settings.data_dir / INDEX_DIR / "editions" / "serving.json").write_bytes(content)
    with pytest.raises(StoreUnavailable, match="editions of the passage index"):
        await place.store().catalogue("acme")


async def test_a_drift_report_asks_its_canaries_and_is_in_the_audit(place):
    items = [
        KnownItem(tenant="acme", ask="loan rates", groups=frozenset(["staff"]), documents=frozenset([doc]))
        for doc in ("loan.md", "gone.md")
    ]
    [report] = await place.desk().drift(days=7, canaries=items, today=dt.date(2026, 11, 24))
    assert (report.tenant, report.canaries, report.missed) == ("acme", 2, ("loan rates",))
    assert place.events[-1].type is EventType.INDEX_DRIFT


async def test_damaged_counts_are_told_with_the_remedy(place):
    (place.settings.data_dir / "retrieval-counts.db").write_bytes(b"no database at all, only text" * 50)
    with pytest.raises(StoreUnavailable, match="remove it to begin anew"):
        await place.desk().drift(days=7, canaries=[], today=dt.date(2026, 11, 24))
