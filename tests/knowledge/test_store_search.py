"""Search by the store against search in memory over the same rows: the same passages, the same scores, at any size."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.harness import gigachat
from tests.libraries import Library, NewDatabase, new_library, opened, rows

from gigachat_server.knowledge.search.indexes import Indexes
from gigachat_server.knowledge.search.retrieve import Earlier
from gigachat_server.knowledge.search.searcher import Retrieval
from gigachat_server.knowledge.search.store_search import Limits, StoreSearch
from gigachat_server.models.base import Embedder, Matrix, Vector
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder, embed
from gigachat_server.store import chunk_indexes, chunk_search
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.engines.postgres import PostgresDatabase

pytestmark = pytest.mark.postgres

EMBEDDER = HashingEmbedder()
# Nothing that holds a word of the prompt is left out, but every way is gone.
CHOOSING = Limits(whole=3, indexed=1_000_000, nearest=50, gated=100_000)
WORDS = [f"{first}{second}" for first in ("lamp", "oak", "boat", "tax", "zorg") for second in ("", "ed", "er", "fix", "wick")]
PROMPTS = ("lamp oakwick", "Does the boatfix cost taxer?", "zorg zorged lamper oak tax", "unheard of", "It?", "o'clock \\ lamp's")


def indexes(database: Database) -> Indexes:
    return Indexes(database, EMBEDDER, memory_bytes=1 << 30)


def store_search(database: Database, embedder: Embedder = EMBEDDER, limits: Limits | None = None) -> StoreSearch:
    return StoreSearch(database, embedder, small=Indexes(database, embedder, memory_bytes=1 << 30), limits=limits)


def some_text(dice: random.Random) -> str:
    return " ".join(dice.choices(WORDS, weights=range(1, len(WORDS) + 1), k=dice.randint(1, 60)))


def same(one: Retrieval, other: Retrieval) -> None:
    def scores(retrieval: Retrieval) -> list[tuple[float, ...]]:
        return [(p.cosine, p.lexical, p.coverage, p.rank_score, p.score) for p in retrieval.passages]

    assert [passage.chunk_id for passage in one.passages] == [passage.chunk_id for passage in other.passages]
    for ours, theirs in zip(scores(one), scores(other), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)
    assert one.found.query.stem_weights == pytest.approx(other.found.query.stem_weights)
    assert one.chunks == other.chunks


async def recounted(database: PostgresDatabase, library: Library) -> None:
    """What is counted is what would be if it were counted now."""
    sql = "SELECT stem, chunks, occurrences FROM stem_counts WHERE chatbot_id = :id ORDER BY stem"
    held = await rows(database, sql, id=library.id)

    async def again(tx: Tx) -> None:
        await tx.run("DELETE FROM stem_counts WHERE chatbot_id = :id", id=library.id)
        await chunk_search.count(tx, library.id)

    await database.transaction("test", again)
    assert held == await rows(database, sql, id=library.id)


@pytest.mark.parametrize("seed", range(4))
async def test_the_same_passages_and_scores_as_in_memory_whatever_happened_before(seed: int, new_database: NewDatabase) -> None:
    dice = random.Random(seed)
    async with new_database() as url, opened(url) as database:
        whole, choosing = store_search(database), store_search(database, limits=CHOOSING)
        library, other = await new_library(database, whole), await new_library(database, whole)
        await other.push("foreign", " ".join(WORDS * 5))
        documents: dict[str, str] = {}
        for _ in range(12):
            for _ in range(dice.randint(1, 4)):
                name = f"document {dice.randint(0, 9)}"
                if name in documents and dice.random() < 0.4:
                    await library.delete(documents.pop(name))
                else:
                    documents[name] = await library.push(name, some_text(dice))
            chatbot, memory = await library.chatbot(), indexes(database)
            assert await whole.has_documents(chatbot) == await memory.has_documents(chatbot)
            for prompt in PROMPTS if await memory.has_documents(chatbot) else ():
                expected = await library.found(memory, prompt)
                same(await library.found(whole, prompt), expected)
                same(await library.found(choosing, prompt), expected)
        await recounted(database, library)


async def test_equal_chunks_come_in_the_order_of_their_ids(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        choosing = store_search(database, limits=CHOOSING)
        library = await new_library(database, choosing)
        for number in dict.fromkeys(random.Random(1).choices(range(20), k=60)):
            await library.push(f"{number}", "the same lamp")
        expected = await library.found(indexes(database), "lamp")
        assert [p.chunk_id for p in expected.passages] == sorted(p.chunk_id for p in expected.passages)
        same(await library.found(choosing, "lamp"), expected)
        same(await library.found(store_search(database), "lamp"), expected)


async def test_a_document_that_repeats_itself_crowds_nobody_out_as_in_memory(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        # Of 400 chunks that say the same, the 20 nearest and at most 40 by their words are looked at first.
        narrow = Limits(whole=3, indexed=1_000_000, nearest=20, gated=20)
        library = await new_library(database, store_search(database, limits=narrow), chunk_size=700)
        for number, text in enumerate(("lamp prices rise", "a lamp of oak", "prices of lamps", "boats leave", "oak grows")):
            await library.push(f"honest {number}", text)
        for way in range(2):
            lines = [f"lamp prices {' '.join(f'word{n}' for n in range(60))} {way * number}" for number in range(400)]
            flood = await library.push("flood", "\n\n".join(f"{line} {'.' * (690 - len(line))}" for line in lines))
            expected = await library.found(indexes(database), "lamp prices")
            assert [passage.document_id for passage in expected.passages].count(flood) == 2
            assert len(expected.passages) == 7
            same(await library.found(store_search(database, limits=narrow), "lamp prices"), expected)


async def test_documents_that_repeat_themselves_together_crowd_nobody_out_as_in_memory(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        # The 20 nearest and at most 40 by their words: no document is most of them, and there is room for two of the three.
        narrow = Limits(whole=3, indexed=1_000_000, nearest=20, gated=20)
        library = await new_library(database, store_search(database, limits=narrow), chunk_size=700)
        for number, text in enumerate(("lamp prices rise", "a lamp of oak", "prices of lamps", "boats leave", "oak grows")):
            await library.push(f"honest {number}", text)
        line = f"lamp prices {' '.join(f'word{n}' for n in range(60))}"
        for number in range(3):
            await library.push(f"flood {number}", "\n\n".join([f"{line} flood{number} {'.' * (680 - len(line))}"] * 30))
        expected = await library.found(indexes(database), "lamp prices")
        assert len(expected.passages) == 10
        same(await library.found(store_search(database, limits=narrow), "lamp prices"), expected)


async def test_a_follow_up_is_searched_with_what_was_said(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        choosing = store_search(database, limits=CHOOSING)
        library = await new_library(database, choosing)
        for number, text in enumerate(("lamps shine", "chairs are oak", "boats leave", "taxes rise", "lamps cost", "oak grows")):
            await library.push(str(number), text)
        history = [Earlier("user", "Do you sell lamps?", embed("Do you sell lamps?")), Earlier("assistant", "They shine.")]
        expected = await library.found(indexes(database), "And its price?", history)
        assert expected.passages[0].text == "lamps shine"
        for searcher in (choosing, store_search(database)):
            found = await library.found(searcher, "And its price?", history)
            same(found, expected)
            assert found.found.searched == expected.found.searched == 6


async def test_no_text_of_another_chatbot_moves_a_score(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        choosing = store_search(database, limits=CHOOSING)
        library, other = await new_library(database, choosing), await new_library(database, choosing)
        for number in range(10):
            await library.push(str(number), f"lamp number {number}")
        before = await library.found(choosing, "lamp number 3")
        for number in range(30):
            await other.push(str(number), "lamp lamp number 3")
        await other.found(choosing, "lamp")  # its stems are counted from now on
        same(await library.found(store_search(database, limits=CHOOSING), "lamp number 3"), before)


async def test_a_push_on_one_node_is_found_by_the_next_prompt_on_another(tmp_path: Path, new_database: NewDatabase) -> None:
    everything = {"results": {"match_threshold": 0, "match_count": 1}}
    async with (
        new_database() as url,
        gigachat(tmp_path / "a", database_url=url) as one,
        gigachat(tmp_path / "b", database_url=url) as two,
    ):
        chatbot = await one.chatbot(documents=everything)
        for number in range(5):
            await one.push(chatbot, "notice", f"Gate {number} is open.")
            reply = (await two.call("POST", f"{chatbot}/conversations", _prompt(number), key=one.key)).body[0]
            assert f"Gate {number} is open." in reply["sources"][0]["content"]
        document = (await one.get(f"{chatbot}/documents")).body[0]["id"]
        assert (await one.call("DELETE", f"{chatbot}/documents/{document}")).status == 204
        reply = (await two.call("POST", f"{chatbot}/conversations", _prompt(9), key=one.key)).body[0]
        assert reply["sources"] == []


def _prompt(number: int) -> dict[str, str]:
    return {"conversation_id": f"c{number}", "user_id": "ann@example.com", "prompt": "Which gate is open?"}


async def test_a_document_that_is_being_replaced_is_found_as_it_was_or_as_it_is(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database, opened(url) as another:
        searchers = [store_search(database), store_search(another, limits=CHOOSING)]
        library = await new_library(database, searchers[0], chunk_size=50)
        await library.push("it", _edition(0))
        is_over = asyncio.Event()

        async def read(searcher: StoreSearch) -> int:
            seen = set()
            while not is_over.is_set():
                found = await library.found(searcher, "edition of the book")
                marks = {passage.text.split()[0] for passage in found.passages}
                assert len(marks) <= 1
                seen |= marks
            return len(seen)

        reading = [asyncio.create_task(read(searcher)) for searcher in searchers]
        for number in range(1, 30):
            await library.push("it", _edition(number))
        is_over.set()
        assert min(await asyncio.gather(*reading)) > 1


def _edition(number: int) -> str:
    return "\n\n".join(f"mark{number} edition page {page} of a book" for page in range(8))


async def test_what_another_embedding_model_made_is_not_found(new_database: NewDatabase) -> None:
    class Longer(HashingEmbedder):
        name = "longer"
        dimension = 400

        async def embed_prompt(self, text: str) -> Vector:
            return np.concatenate([embed(text), np.zeros(16, np.float32)])

        async def embed_passages(self, texts: Sequence[str]) -> Matrix:
            return np.stack([await self.embed_prompt(text) for text in texts])

    async with new_database() as url, opened(url) as database:
        for limits in (Limits(), Limits(whole=1, indexed=2), CHOOSING):
            old, new = store_search(database, limits=limits), store_search(database, Longer(), limits=limits)
            library = await new_library(database, old)
            for number in range(6):
                await library.push(f"old {number}", f"a lamp of old, number {number}")
            assert not await new.has_documents(await library.chatbot())
            renewed = Library(database, new, Longer(), await library.chatbot())
            for number in range(5):
                await renewed.push(f"new {number}", f"a lamp of late, number {number}")
            for searcher, reader, word, count in ((old, library, "old", 6), (new, renewed, "late", 5)):
                passages = (await reader.found(searcher, "a lamp")).passages
                assert len(passages) == count
                assert all(word in passage.text for passage in passages)


# --- big chatbots ---

BIG = Limits(whole=50, indexed=600, nearest=100, gated=200)


async def fill(library: Library, chunks: int) -> None:
    """Documents about one of twenty subjects each, in words of their own."""
    dice = random.Random(chunks)
    for number in range(chunks // 50):
        subject = number % 20
        lines = [" ".join(f"s{subject}w{dice.randrange(60)}" for _ in range(8)) for _ in range(50)]
        await library.push(f"document {number}", "\n\n".join(f"{line} {'.' * (99 - len(line))}" for line in lines))


async def uses_index(database: PostgresDatabase, library: Library) -> bool:
    async def explain(reader: Reader) -> str:
        sql = chunk_search.near_sql(library.id, EMBEDDER.dimension)
        return str(await reader.all("EXPLAIN " + sql, vector=embed("s3w1").tobytes(), nearest=BIG.nearest))

    return "chunks_near_" in await database.read(explain)


async def existing(database: PostgresDatabase) -> dict[str, bool]:
    return await database.read(chunk_indexes.list_existing)


async def test_a_big_chatbot_gets_an_index_that_finds_nearly_what_exact_search_finds(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        searcher, memory = store_search(database, limits=BIG), indexes(database)
        library, small = await new_library(database, searcher), await new_library(database, searcher)
        await fill(library, 1_000)
        await fill(small, 100)
        before = await library.found(searcher, "s3w1 s3w2 s3w3")
        assert len(before.passages) == 10
        await searcher.builder.look()
        assert list((await existing(database)).values()) == [True]
        assert await uses_index(database, library)
        found = wanted = 0
        for number in range(20):
            prompt = " ".join(f"s{number}w{word}" for word in range(number, number + 4))
            exact = {p.chunk_id: p for p in (await library.found(memory, prompt)).passages}
            for passage in (await library.found(searcher, prompt)).passages:
                if passage.chunk_id in exact:
                    found += 1
                    assert passage.rank_score == pytest.approx(exact[passage.chunk_id].rank_score, abs=1e-6)
            wanted += len(exact)
        assert found / wanted >= 0.97
        await recounted(database, library)


async def test_an_index_brings_as_many_as_are_wanted_however_many_are_not(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        searcher = store_search(database, limits=BIG)
        library = await new_library(database, searcher)
        await fill(library, 1_000)
        await searcher.builder.look()
        assert await uses_index(database, library)
        vector = embed("s3w1 s3w2 s3w3").tobytes()

        async def nearest(reader: Reader, without: Sequence[str] = ()) -> set[str]:
            found = await chunk_search.list_candidates(
                reader, library.id, vector, (), models=None, is_indexed=True, nearest=BIG.nearest, most=0, without=without
            )
            assert len({chunk.id for chunk in found}) == BIG.nearest
            return {chunk.document_id for chunk in found}

        async def read(reader: Reader) -> None:
            unwanted = sorted(await nearest(reader))[::2]
            assert (await nearest(reader, unwanted)).isdisjoint(unwanted)
            row = await reader.one("SELECT CAST(current_setting('hnsw.ef_search') AS BIGINT)")
            assert row is not None
            assert row[0] > Limits().nearest, "few of those that are looked at are not the nearest"

        await database.read(read)


async def test_what_is_pushed_and_deleted_under_an_index_is_seen_at_once(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        searcher = store_search(database, limits=BIG)
        library = await new_library(database, searcher)
        await fill(library, 700)
        await searcher.builder.look()
        document = await library.push("late", "a xylophone in the harbour")
        assert (await library.found(searcher, "xylophone in the harbour")).passages[0].document_id == document
        await library.delete(document)
        assert document not in {p.document_id for p in (await library.found(searcher, "xylophone in the harbour")).passages}
        await recounted(database, library)


async def test_an_index_that_a_crash_left_half_made_is_made_anew(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        searcher = store_search(database, limits=BIG)
        library = await new_library(database, searcher)
        await fill(library, 600)
        await searcher.builder.look()

        async def spoil(tx: Tx) -> None:
            await tx.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST(:name AS regclass)", name=name)

        (name,) = await existing(database)
        await database.transaction("test", spoil)
        assert await existing(database) == {name: False}
        assert len((await library.found(searcher, "s1w1")).passages) == 10
        await searcher.builder.look()
        assert await existing(database) == {name: True}


async def test_nodes_that_look_at_once_make_one_index(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as one, opened(url) as two:
        searchers = [store_search(database, limits=BIG) for database in (one, two)]
        library = await new_library(one, searchers[0])
        await fill(library, 600)
        await asyncio.gather(*(searcher.builder.look() for searcher in searchers * 3))
        assert list((await existing(one)).values()) == [True]


async def test_a_chatbot_that_shrinks_or_goes_loses_its_index_and_its_counts(new_database: NewDatabase) -> None:
    async with new_database() as url, opened(url) as database:
        searcher = store_search(database, limits=BIG)
        library, other = await new_library(database, searcher), await new_library(database, searcher)
        for each in (library, other):
            await fill(each, 600)
            await each.found(searcher, "s1w1")
        await searcher.builder.look()
        assert len(await existing(database)) == 2
        documents = await rows(database, "SELECT id FROM documents WHERE chatbot_id = :id ORDER BY id", id=library.id)
        for (document,) in documents[:5]:
            await library.delete(document)
        await searcher.builder.look()
        assert len(await existing(database)) == 2
        for (document,) in documents[5:]:
            await library.delete(document)
        await searcher.builder.look()
        assert len(await existing(database)) == 1
        assert await rows(
            database, "SELECT stem, chunks, occurrences FROM stem_counts WHERE chatbot_id = :id", id=library.id
        ) == [("", 0, 0)]

        async def erase(tx: Tx) -> None:
            await tx.run("DELETE FROM chatbots WHERE id = :id", id=other.id)
            await tx.run("DELETE FROM documents WHERE chatbot_id = :id", id=other.id)

        await database.transaction("test", erase)
        await searcher.builder.look()
        assert await existing(database) == {}
        assert await rows(database, "SELECT 1 FROM stem_counts WHERE chatbot_id = :id", id=other.id) == []
