"""The embedded store: the contract, and what is its own: files, crashes, processes."""

import asyncio
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from gateway.domain.errors import StoreUnavailable
from gateway.retrieval import embedded, generation
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.generation import Generation
from tests.retrieval.store_contract import (
    IDENTITY,
    PassageStoreContract,
    document,
    found,
    request,
    update,
    vector,
)


@pytest.fixture
async def make_store(tmp_path):
    opened = []

    async def make(*, embedder=IDENTITY.embedder, directory=tmp_path / "passages"):
        opened.append(EmbeddedStore(directory, embedder=embedder))
        return opened[-1]

    yield make
    for store in opened:
        await store.close()


class TestEmbeddedStore(PassageStoreContract):
    pass


def generations(directory):
    return sorted(path.name for path in directory.glob("passages/*/*") if path.is_dir())


async def test_deleted_text_leaves_the_disk(make_store, tmp_path):
    store = await make_store()
    await store.apply(update(document("a", "zanzibar secret"), document("b", "loan")))
    await store.apply(update(removed=["a"]))
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"zanzibar" not in content
    assert b"loan" in content
    assert len(generations(tmp_path)) == 1


async def test_a_search_ends_on_the_files_it_began_with(make_store, tmp_path):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    with store._using("acme") as held:
        await store.apply(update(document("b", "loan"), removed=["a"]))
        assert [passage.doc for passage in held.read(held.nearest(vector("loan"), held.view({"public"}, ""), 5))] == [
            "a"
        ]
    assert await found(store, "loan") == ["b#0"]


async def test_superseded_generations_are_closed(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    await found(store, "loan")
    before = store._open["acme"].generation
    await store.apply(update(document("a", "fee")))
    await found(store, "loan")
    assert before._opened == 0
    assert store._open["acme"].generation._opened == 2


async def test_the_least_used_tenants_are_closed(make_store):
    store = await make_store()
    for number in range(embedded._OPEN_TENANTS + 3):
        await store.apply(update(document("a", "loan"), tenant=str(number)))
        assert await found(store, "loan", tenant=str(number)) == ["a#0"]
    assert len(store._open) == embedded._OPEN_TENANTS
    assert await found(store, "loan", tenant="0") == ["a#0"]


async def test_what_a_killed_writer_left_is_ignored_and_cleared(make_store, tmp_path):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    [current] = generations(tmp_path)
    home = store._home("acme")
    (home / "building").mkdir()
    (home / "building" / "passages.db").write_bytes(b"half")
    shutil.copytree(home / current, home / "0123456789abcdef")
    assert await found(store, "loan") == ["a#0"]
    rev = await store.apply(update(document("b", "loan")))
    assert generations(tmp_path) == [rev]


async def test_a_second_writer_fails_at_once(make_store, tmp_path):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    with embedded._writer_lock(tmp_path / "passages" / "writer.lock"):
        with pytest.raises(StoreUnavailable, match="another ingest is running") as raised:
            await store.apply(update(document("b", "loan")))
        assert await found(store, "loan") == ["a#0"]
    assert raised.value.code == "store_locked"
    await store.apply(update(document("b", "loan")))


def _truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: min(100, len(content) // 2)])


@pytest.mark.parametrize(
    "damage",
    [
        lambda home: _truncate(next(home.glob("*/passages.db"))),
        lambda home: _truncate(next(home.glob("*/vectors.f32"))),
        lambda home: next(home.glob("*/vectors.f32")).unlink(),
        lambda home: next(home.glob("*/passages.db")).write_bytes(b"not a database at all, only some bytes"),
        lambda home: (home / "current").write_text("../../elsewhere"),
        lambda home: (home / "current").write_text("0123456789abcdef"),
        lambda home: (home / "current").write_bytes(b"\xff\xfe"),
        lambda home: [shutil.rmtree(path) for path in home.iterdir() if path.is_dir()],
    ],
)
async def test_a_damaged_index_is_unavailable_and_can_be_replaced(make_store, damage):
    writer = await make_store()
    await writer.apply(update(document("a", "loan confidential words")))
    damage(writer._home("acme"))
    reader = await make_store()
    with pytest.raises(StoreUnavailable, match="ingest the corpus again") as raised:
        await reader.search(request("loan"))
    assert raised.value.code == "store_failed"
    assert "confidential" not in str(raised.value)
    with pytest.raises(StoreUnavailable):
        await reader.catalogue("acme")
    await reader.apply(update(document("a", "loan"), complete=True))
    assert await found(reader, "loan") == ["a#0"]


async def test_an_index_copied_to_another_tenant_is_not_served(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan"), tenant="acme"))
    shutil.copytree(store._home("acme"), store._home("other"))
    with pytest.raises(StoreUnavailable):
        await store.search(request("loan", tenant="other"))


async def test_a_directory_that_cannot_be_written_is_unavailable(make_store, tmp_path):
    (tmp_path / "file").write_text("x")
    store = await make_store(directory=tmp_path / "file" / "passages")
    with pytest.raises(StoreUnavailable) as raised:
        await store.apply(update(document("a", "loan")))
    assert raised.value.code == "store_failed"


async def test_an_equal_update_writes_nothing(make_store, tmp_path):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("passages.db")}
    await store.apply(update(document("a", "loan")))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("passages.db")} == before


async def test_files_are_for_the_owner_only(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    assert store._home("acme").stat().st_mode & 0o077 == 0


READER = """
import asyncio, sys
from gateway.retrieval.embedded import EmbeddedStore
from tests.retrieval.store_contract import IDENTITY, found
from pathlib import Path

async def main():
    store = EmbeddedStore(Path(sys.argv[1]), embedder=IDENTITY.embedder)
    for line in sys.stdin:
        print(await found(store, line.strip()), flush=True)
    await store.close()

asyncio.run(main())
"""


async def test_a_real_second_process_follows_the_writer(make_store, tmp_path):
    root = Path(embedded.__file__).parents[2]
    reader = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        READER,
        str(tmp_path / "passages"),
        cwd=root,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )

    async def ask(word):
        reader.stdin.write(f"{word}\n".encode())
        return (await reader.stdout.readline()).decode().strip()

    store = await make_store()
    try:
        assert await ask("loan") == "[]"
        await store.apply(update(document("a", "loan")))
        assert await ask("loan") == "['a#0']"
        await store.apply(update(document("b", "loan"), removed=["a"]))
        assert await ask("loan") == "['b#0']"
    finally:
        reader.stdin.close()
        await reader.wait()


async def test_many_searches_at_once_share_the_readers(make_store):
    store = await make_store()
    await store.apply(update(*(document(f"d{n}", "loan fee") for n in range(20))))
    results = await asyncio.gather(*(found(store, "loan", limit=5) for _ in range(200)))
    assert {tuple(ids) for ids in results} == {("d0#0", "d1#0", "d10#0", "d11#0", "d12#0")}


async def test_words_in_every_passage_leave_the_rarer_words_to_decide(make_store):
    """Only in an index with more passages than one search may score."""
    store = await make_store()
    size = generation._POSTINGS + 5
    many = document("d", *(["common words"] * size), "common zanzibar")
    await store.apply(update(many))
    with store._using("acme") as held, held._connection() as connection:
        assert held._selective(connection, ["common", "zanzibar", "absent"]) == ["zanzibar"]
        assert held._selective(connection, ["common", "words"]) == []
        assert held._selective(connection, ["absent"]) == []
        assert held.matching(["common", "zanzibar"], held.view({"public"}, ""), 5) == [size]
        assert held.matching(["common", "words"], held.view({"public"}, ""), 5) == []
    assert len(await found(store, "common words", limit=5)) == 5  # by their vectors


async def test_stems_and_accents_match(make_store):
    store = await make_store()
    await store.apply(update(document("d", "transferring money abroad", "das Café in Zürich", "nothing here")))
    with store._using("acme") as held:
        view = held.view({"public"}, "")
        assert held.matching(["transfers"], view, 5) == [0]
        assert held.matching(["zurich", "cafe"], view, 5) == [1]


def test_a_generation_of_another_format_is_refused(tmp_path):
    generation.write_generation(tmp_path / "g", update(document("a", "loan")), (), "0" * 16)
    with sqlite3.connect(tmp_path / "g" / "passages.db") as connection:
        connection.execute("UPDATE meta SET value = 'other' WHERE key = 'format'")
    connection.close()
    with pytest.raises(ValueError, match="another format"):
        Generation(tmp_path / "g", readers=1)


def test_the_nearest_rows_are_the_exact_ones(tmp_path):
    rng = np.random.default_rng(7)
    access = [["a"], ["b"], ["a", "b"], ["c"]]
    documents = [document(f"d{n:03}", "loan", access=access[n % 4]) for n in range(200)]
    vectors = rng.normal(size=(200, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = [
        generation.IndexedDocument(record=d.record, passages=d.passages, vectors=vectors[n : n + 1])
        for n, d in enumerate(documents)
    ]
    generation.write_generation(tmp_path / "g", update(*made), (), "0" * 16)
    opened = Generation(tmp_path / "g", readers=1)
    query = vectors[0]
    for groups in ({"a"}, {"b"}, {"c"}, {"a", "c"}, {"a", "b", "c"}, {"x"}):
        got = opened.read(opened.nearest(query, opened.view(groups, ""), 15))
        expected = sorted(
            (n for n in range(200) if set(access[n % 4]) & groups), key=lambda n: -float(vectors[n] @ query)
        )[:15]
        assert [passage.doc for passage in got] == [f"d{n:03}" for n in expected]
    opened.close()


async def test_an_index_of_the_format_before_validity_is_searched_and_replaced_by_the_next_change(make_store):
    store = await make_store()
    rev = await store.apply(update(document("a", "loan"), document("h", "loan", access=["hr"])))
    await store.close()
    database = store._home("acme") / rev / "passages.db"
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("ALTER TABLE label DROP COLUMN opens")
        db.execute("ALTER TABLE label DROP COLUMN closes")
        db.execute("UPDATE meta SET value = 'embedded-1' WHERE key = 'format'")
    old = await make_store()
    assert await found(old, "loan", day="2026-11-24") == ["a#0"]
    assert set((await old.catalogue("acme")).documents) == {"a", "h"}
    await old.apply(update(document("b", "loan", valid=("2027-01-01", ""))))
    assert sorted(await found(old, "loan", day="2026-11-24")) == ["a#0"]
    assert sorted(await found(old, "loan", day="2027-11-24")) == ["a#0", "b#0"]
