"""The behaviour that every passage store has: subclass `PassageStoreContract` and provide the fixture `make_store`.

`make_store(embedder=...)` is an async callable that opens a store on the same place each time, as another process
would.
"""

import asyncio
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.domain.errors import StoreUnavailable
from gateway.domain.passage import Passage
from gateway.retrieval.store import (
    DocumentRecord,
    IndexedDocument,
    IndexIdentity,
    IndexUpdate,
    Released,
    SearchRequest,
    Withheld,
)

DIMENSIONS = 8
IDENTITY = IndexIdentity(embedder="fake@1", dimensions=DIMENSIONS, chunker="test/1")
WORDS = ["loan", "card", "fee", "branch", "limit", "transfer", "interest", "claim"]
GROUPS = ["public", "staff", "hr", "lending", "group with space", "Staff", "staff-2"]


def vector(text):
    """A bag of the words above, of unit length: near texts share words."""
    counts = np.array([text.lower().split().count(word) for word in WORDS], np.float32) + np.float32(0.01)
    return counts / np.linalg.norm(counts)


class StoreEmbedder:
    """The vectors above as an embedder."""

    name, version, dimensions = "fake", "1", DIMENSIONS

    def embed(self, texts):
        return np.array([vector(text) for text in texts], np.float32)


def document(doc, *texts, access=("public",), content=None, identity=IDENTITY, valid=("", ""), **known):
    passages = tuple(
        Passage(
            doc=doc,
            number=number,
            revision="0" * 16,
            title=doc,
            text=text,
            access=frozenset(access),
            valid_from=valid[0],
            valid_to=valid[1],
        )
        for number, text in enumerate(texts)
    )
    record = DocumentRecord(
        doc=doc,
        content=content or repr((texts, sorted(access), valid)),
        root="corpus",
        passages=len(passages),
        access=tuple(sorted(access)),
        **known,
    )
    vectors = np.array([vector(text) for text in texts], np.float32).reshape(len(texts), identity.dimensions)
    return IndexedDocument(record=record, passages=passages, vectors=vectors)


def update(*documents, tenant="acme", removed=(), identity=IDENTITY, complete=False):
    return IndexUpdate(
        tenant=tenant, identity=identity, documents=documents, removed=frozenset(removed), complete=complete
    )


def request(text, groups=("public",), *, tenant="acme", limit=10, day=""):
    return SearchRequest(tenant=tenant, groups=frozenset(groups), text=text, vector=vector(text), limit=limit, day=day)


async def found(store, *args, **kwargs):
    return [passage.id for passage in (await store.search(request(*args, **kwargs))).passages]


class PassageStoreContract:
    property_examples = 40

    @pytest.fixture
    async def store(self, make_store):
        return await make_store()

    async def test_a_passage_comes_back_as_it_was_indexed(self, store):
        passage = Passage(
            doc="a/b.md",
            number=0,
            revision="0123456789abcdef",
            title="Title é",
            section="One > Two",
            text="loan\n| a | b |\n\u00a0😀 'x' \"y\"",
            source="handbook/a",
            owner="team:a",
            classification="internal",
            effective="2026-01-02",
            valid_from="2026-01-01",
            valid_to="2027-01-01",
            place="pages 2 to 3",
            chunker="window-1/900/120/240",
            access=frozenset({"staff", "group with space"}),
            released=frozenset({"R-1"}),
        )
        record = DocumentRecord(
            doc="a/b.md",
            content="c",
            root="corpus",
            passages=1,
            effective="2026-01-02",
            review_by="2027-01-02",
            language="en",
            file="b.md",
            access=("group with space", "staff"),
            run="r1",
            policy="p1",
            withheld=(Withheld(number=3, text="t", effect="refuse", rules=("A", "B")),),
            released=(Released(text="u", rules=("C",), by="ann", at="2026-11-24T10:00:00Z"),),
        )
        rev = await store.apply(
            update(IndexedDocument(record=record, passages=(passage,), vectors=vector("loan")[None, :]))
        )
        result = await store.search(request("loan", ["staff"]))
        [back] = result.passages
        assert 0 < back.score <= 1
        assert Passage(**{**{f: getattr(back, f) for f in Passage.__struct_fields__}, "score": 0.0}) == passage
        assert (result.tenant, result.index_rev) == ("acme", rev)
        catalogue = await store.catalogue("acme")
        assert dict(catalogue.documents) == {"a/b.md": record}
        assert (catalogue.identity, catalogue.index_rev) == (IDENTITY, rev)

    async def test_a_tenant_without_an_index_is_empty_and_no_failure(self, store):
        result = await store.search(request("loan", tenant="nobody"))
        assert (result.passages, result.index_rev) == ((), "")
        catalogue = await store.catalogue("nobody")
        assert (catalogue.identity, dict(catalogue.documents), catalogue.index_rev) == (None, {}, "")

    async def test_better_matches_come_first(self, store):
        await store.apply(update(document("d", "card card limit", "loan loan interest", "branch claim")))
        assert (await found(store, "loan interest"))[0] == "d#1"
        scores = [passage.score for passage in (await store.search(request("loan interest"))).passages]
        assert scores == sorted(scores, reverse=True)

    async def test_no_groups_find_nothing(self, store):
        await store.apply(update(document("d", "loan"), document("n", "loan", access=())))
        assert await found(store, "loan", []) == []

    async def test_a_passage_labelled_with_nobody_is_invisible(self, store):
        await store.apply(update(document("n", "loan", access=()), document("d", "loan")))
        assert await found(store, "loan", GROUPS) == ["d#0"]

    @pytest.mark.parametrize("groups", [["Staff"], ["staff-2"], ["group"], ["space"], ["STAFF"], ["staf"], ["*"], [""]])
    async def test_labels_match_whole_and_case_sensitively(self, store, groups):
        await store.apply(
            update(document("s", "loan", access=["staff"]), document("g", "loan", access=["group with space"]))
        )
        assert await found(store, "loan", groups) == []
        assert await found(store, "loan", ["staff"]) == ["s#0"]
        assert await found(store, "loan", ["group with space"]) == ["g#0"]

    async def test_forbidden_passages_do_not_crowd_out_permitted_ones(self, store):
        forbidden = [document(f"f{n}", "loan interest loan", access=["hr"]) for n in range(120)]
        await store.apply(update(*forbidden, document("p", "card fee")))
        assert await found(store, "loan interest", limit=3) == ["p#0"]

    async def test_tenants_do_not_see_each_other(self, store):
        await store.apply(update(document("d", "loan acme"), tenant="acme"))
        await store.apply(update(document("d", "loan other"), tenant="Acme"))
        for tenant, word in (("acme", "acme"), ("Acme", "other")):
            result = await store.search(request("loan", tenant=tenant))
            assert [passage.text for passage in result.passages] == [f"loan {word}"]
        assert await store.tenants() == {"acme", "Acme"}

    async def test_another_tenants_passages_do_not_change_the_ranking(self, store):
        mine = [document("d", "loan fee", "loan branch", "card fee fee", "loan loan card claim")]
        await store.apply(update(*mine, tenant="acme"))
        before = [(p.id, p.score) for p in (await store.search(request("loan fee"))).passages]
        await store.apply(update(*(document(f"o{n}", "loan loan loan") for n in range(60)), tenant="other"))
        assert [(p.id, p.score) for p in (await store.search(request("loan fee"))).passages] == before

    async def test_an_update_replaces_and_removes_whole_documents(self, store):
        await store.apply(update(document("a", "loan", "loan card"), document("b", "loan"), document("c", "fee")))
        await store.apply(update(document("a", "branch"), removed=["b", "never-there"]))
        assert sorted(await found(store, "loan branch")) == ["a#0", "c#0"]
        assert set((await store.catalogue("acme")).documents) == {"a", "c"}

    async def test_a_complete_update_replaces_everything(self, store):
        await store.apply(update(document("a", "loan"), document("b", "loan")))
        await store.apply(update(document("c", "fee"), complete=True))
        assert await found(store, "loan fee") == ["c#0"]
        assert set((await store.catalogue("acme")).documents) == {"c"}

    async def test_removing_the_last_document_leaves_an_empty_index(self, store):
        first = await store.apply(update(document("a", "loan")))
        second = await store.apply(update(removed=["a"]))
        assert first != second
        assert await found(store, "loan") == []
        assert (await store.catalogue("acme")).index_rev == second

    async def test_tightened_labels_count_at_once(self, store):
        await store.apply(update(document("a", "loan")))
        await store.apply(update(document("a", "loan", access=["hr"])))
        assert await found(store, "loan") == []
        assert await found(store, "loan", ["hr"]) == ["a#0"]

    async def test_the_revision_follows_from_the_content(self, store, make_store):
        a, b = document("a", "loan"), document("b", "fee")
        one = await store.apply(update(a))
        two = await store.apply(update(b))
        assert one != two
        assert await store.apply(update(a, b)) == two
        assert await store.apply(update(removed=["b"])) == one
        assert await store.apply(update(b, a, complete=True)) == two

    async def test_an_index_of_another_identity_is_replaced_whole(self, store, make_store):
        await store.apply(update(document("a", "loan")))
        other = IndexIdentity(embedder="fake@2", dimensions=DIMENSIONS, chunker="test/1")
        await store.apply(update(document("b", "loan"), identity=other))
        assert set((await store.catalogue("acme")).documents) == {"b"}

    async def test_an_index_of_another_embedder_is_not_searched(self, store, make_store):
        await store.apply(update(document("a", "loan")))
        other = await make_store(embedder="fake@2")
        with pytest.raises(StoreUnavailable) as raised:
            await other.search(request("loan"))
        assert raised.value.code == "embedder_mismatch"

    async def test_another_process_sees_an_update_with_its_next_search(self, store, make_store):
        other = await make_store()
        assert await found(other, "loan") == []
        await store.apply(update(document("a", "loan")))
        assert await found(other, "loan") == ["a#0"]
        await store.apply(update(document("b", "loan"), removed=["a"]))
        assert await found(other, "loan") == ["b#0"]

    async def test_searches_during_updates_see_one_index_or_the_other(self, store, make_store):
        """Every document of one state says the same word, so a mixture would show."""
        reader = await make_store()
        await store.apply(update(*(document(f"d{n}", "loan") for n in range(6))))
        done = asyncio.Event()
        seen = set()

        async def read():
            while not done.is_set():
                result = await reader.search(request("loan"))
                seen.add((result.index_rev, *sorted(passage.text for passage in result.passages)))

        task = asyncio.create_task(read())
        for word in ("fee", "card", "loan"):
            await store.apply(update(*(document(f"d{n}", word) for n in range(6))))
        done.set()
        await task
        assert {len(texts) for _, *texts in seen} == {6}
        assert all(len(set(texts)) == 1 for _, *texts in seen)
        assert len({rev for rev, *_ in seen}) == len(seen)

    @pytest.mark.parametrize(
        ("day", "expected"),
        [
            ("", ["always", "from", "ended", "within"]),
            ("2026-01-01", ["always", "ended"]),
            ("2026-02-01", ["always", "from", "ended", "within"]),
            ("2026-03-31", ["always", "from", "within"]),
            ("2026-04-01", ["always", "from"]),
        ],
    )
    async def test_only_what_is_valid_on_the_day_is_found(self, store, day, expected):
        await store.apply(
            update(
                document("always", "loan"),
                document("from", "loan", valid=("2026-02-01", "")),
                document("ended", "loan", valid=("", "2026-02-01")),
                document("within", "loan", valid=("2026-02-01", "2026-03-31")),
            )
        )
        found_ids = await found(store, "loan", day=day)
        assert sorted(found_ids) == sorted(f"{doc}#0" for doc in expected)

    async def test_passages_that_are_not_valid_do_not_crowd_out_others(self, store):
        over = [document(f"o{n}", "loan interest loan", valid=("", "2026-01-01")) for n in range(60)]
        await store.apply(update(*over, document("p", "card fee")))
        assert await found(store, "loan interest", limit=3, day="2026-01-02") == ["p#0"]

    async def test_documents_are_read_back_whole_with_what_is_withheld(self, store):
        made = document("d", "loan", "fee", "card", access=["staff"])
        hidden = Passage(**{**{f: getattr(made.passages[1], f) for f in Passage.__struct_fields__}, "access": set()})
        withheld = IndexedDocument(
            record=made.record, passages=(made.passages[0], hidden, made.passages[2]), vectors=made.vectors
        )
        await store.apply(update(withheld, document("e", "branch")))
        assert sorted(await found(store, "loan fee card", ["staff"])) == ["d#0", "d#2"]
        [back] = await store.read("acme", ["d", "never-there"])
        assert back.record == made.record
        assert [(one.number, one.text, one.access) for one in back.passages] == [
            (0, "loan", {"staff"}),
            (1, "fee", frozenset()),
            (2, "card", {"staff"}),
        ]
        assert np.allclose(back.vectors, made.vectors, atol=1e-6)
        assert await store.read("nobody", ["d"]) == ()

    async def test_a_document_longer_than_a_portion_is_read_back_whole(self, store):
        made = document("d", *(f"loan {number}" for number in range(1_203)))
        await store.apply(update(made))
        [back] = await store.read("acme", ["d"])
        assert [passage.text for passage in back.passages] == [f"loan {number}" for number in range(1_203)]

    async def test_records_are_found_by_document(self, store):
        a, b = document("a", "loan", run="r1"), document("b", "fee", run="r2")
        await store.apply(update(a, b))
        assert dict(await store.records("acme", ["b", "c"])) == {"b": b.record}
        assert dict(await store.records("nobody", ["b"])) == {}

    async def test_the_revision_is_that_of_the_next_search(self, store, make_store):
        other = await make_store()
        assert await other.revision("acme") == ""
        for change in (update(document("a", "loan")), update(document("b", "fee")), update(removed=["a"])):
            rev = await store.apply(change)
            assert await other.revision("acme") == await store.revision("acme") == rev
            assert (await other.search(request("loan"))).index_rev == rev

    async def test_what_policies_and_people_decided_moves_the_revision(self, store):
        plain = document("a", "loan")
        first = await store.apply(update(plain))
        judged = document("a", "loan", policy="p1")
        second = await store.apply(update(judged))
        assert second != first
        assert (await store.records("acme", ["a"]))["a"].policy == "p1"
        assert await store.apply(update(judged)) == second

    async def test_query_text_is_never_syntax(self, store):
        await store.apply(update(document("a", "loan fee"), document("h", "loan", access=["hr"])))
        for text in (
            'loan" OR "fee',
            "loan AND NOT",
            "heading:loan",
            "loan*",
            "NEAR(loan fee)",
            "^loan",
            "'; --",
            "(",
            '"',
        ):
            assert await found(store, text) == ["a#0"]
        for text in ("", " ", "the of and", "\x00", "\ud800", "🙂", "_ __", "x" * 30_000, "loan " * 5_000, "ß ſ İ ǆ"):
            assert await found(store, text) == ["a#0"]

    async def test_access_decides_for_random_labels_and_groups(self, make_store):
        """No leak and nothing permitted lost, compared with a filter of all passages by hand."""
        store = await make_store()
        labels = st.lists(st.sampled_from(GROUPS), max_size=3, unique=True)
        texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
        corpus = st.lists(st.tuples(labels, texts), max_size=12)
        counter = itertools.count()

        @settings(
            max_examples=self.property_examples, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(corpus, st.lists(st.sampled_from(GROUPS), max_size=3), texts, st.integers(1, 14))
        def check(made, groups, query, limit):
            tenant = f"tenant-{next(counter)}"
            documents = [document(f"d{n}", text, access=access) for n, (access, text) in enumerate(made)]
            permitted = {f"d{n}#0" for n, (access, _) in enumerate(made) if set(access) & set(groups)}
            coroutine = self._apply_and_find(store, tenant, documents, query, groups, limit)
            ids = asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)
            assert len(ids) == len(set(ids)) == min(limit, len(permitted))
            assert set(ids) <= permitted

        loop = asyncio.get_running_loop()
        await asyncio.to_thread(check)

    @staticmethod
    async def _apply_and_find(store, tenant, documents, query, groups, limit):
        await store.apply(update(*documents, tenant=tenant))
        return await found(store, query, groups, tenant=tenant, limit=limit)
