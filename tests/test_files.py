"""Documents that come as files: accepted at once, read and embedded behind, followed on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.knowledge.documents.text_vectors import BATCH
from gigachat_server.models.base import Matrix
from gigachat_server.store import made_embeddings
from gigachat_server.store.database import Tx
from tests import formats, stores
from tests.harness import Api, Reply, gigachat, until
from tests.test_documents import CountingEmbedder
from tests.turns import rows

EVERYTHING = {"results": {"match_threshold": 0.0, "match_count": 5}}
_BOUNDARY = "----a-boundary"


def form(*parts: tuple[str, bytes], name: str = "file") -> bytes:
    """Parts as they are given: their Content-Disposition (and more headers), and their content."""
    body = b"".join(
        f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode("utf-8", "surrogateescape") + content + b"\r\n" for head, content in parts
    )
    return body + f"--{_BOUNDARY}--\r\n".encode()


def file_part(filename: str, content: bytes, media_type: str = "") -> tuple[str, bytes]:
    quoted = filename.replace('"', "%22")
    head = f'Content-Disposition: form-data; name="file"; filename="{quoted}"'
    return (f"{head}\r\nContent-Type: {media_type}" if media_type else head), content


def field(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


async def send(api: Api, path: str, *parts: tuple[str, bytes], method: str = "POST", **headers: str) -> Reply:
    sent = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return await api.call(method, path, raw=form(*parts), headers=sent)


async def upload(api: Api, chatbot: str, filename: str, content: bytes, **headers: str) -> dict[str, Any]:
    """The document, as it was accepted."""
    reply = await send(api, f"{chatbot}/documents", file_part(filename, content), **headers)
    assert reply.status == 202, reply.text
    assert reply.headers["Location"] == f"{chatbot}/documents/{reply.body['id']}"
    accepted: dict[str, Any] = reply.body
    return accepted


async def ended(api: Api, chatbot: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document once nobody works on it any more."""
    path = f"{chatbot}/documents/{document['id']}"
    assert (await api.get(path, headers={"Accept": "text/event-stream"})).events[-1][0] == "done"
    found: dict[str, Any] = (await api.get(path)).body
    assert found["state"] in ("ready", "failed")
    return found


async def uploaded(api: Api, chatbot: str, filename: str, content: bytes) -> dict[str, Any]:
    return await ended(api, chatbot, await upload(api, chatbot, filename, content))


async def test_a_file_is_accepted_read_and_found(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents=EVERYTHING)
        accepted = await upload(api, chatbot, "shop/returns.html", formats.page())
        assert (accepted["name"], accepted["state"], accepted["progress"]) == ("shop/returns.html", "pending", 0)
        document = await ended(api, chatbot, accepted)
        assert (document["state"], document["progress"], document["error"], document["reason"]) == ("ready", 100, None, None)
        assert document["title"] == "Returns - Shop"
        assert document["content"].startswith("# Returns\n\nYou can return a parcel")
        assert document["content_sha256"] == hashlib.sha256(document["content"].encode()).hexdigest()
        (reply,) = await api.say(chatbot, "When can I return a parcel?")
        assert reply["sources"][0]["metadata"]["loc"] == {"lines": {"from": 1, "to": 15}, "heading": "Returns"}
    assert stores.current().query(tmp_path, "SELECT id FROM uploads") == [], "the bytes are gone once there is a text"


async def test_the_place_of_a_source_is_stored_with_the_reply(tmp_path: Path) -> None:
    pages = [[f"Chapter {word}", f"The colour of {word} is number {n}."] for n, word in enumerate(("alpha", "beta"), 1)]
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents=EVERYTHING | {"text_splitter": {"chunk_size": 60, "chunk_overlap": 0}})
        document = await uploaded(api, chatbot, "book.pdf", formats.pdf(pages, outline=True))
        assert document["state"] == "ready", document
        await api.say(chatbot, "What is the colour of beta?")
        await api.call("DELETE", f"{chatbot}/documents/{document['id']}")
        source = (await api.messages(chatbot))[1]["sources"][0]
        assert source["metadata"]["loc"] == {"lines": {"from": 5, "to": 7}, "page": 2, "heading": "Chapter beta"}
        (chunk,) = await api.push(chatbot, "plain", "Nothing is known of where this stands.")
        assert chunk["metadata"] == {"loc": {"lines": {"from": 1, "to": 1}}}


async def test_the_same_file_again_changes_nothing_and_another_with_the_same_text_keeps_the_chunks(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot(documents=EVERYTHING)
        first = await uploaded(api, chatbot, "returns.html", formats.page())
        (reply,) = await api.say(chatbot, "Returns?")
        again = await upload(api, chatbot, "returns.html", formats.page())
        assert (again["state"], again["updated_at"]) == ("ready", first["updated_at"])
        other = await uploaded(api, chatbot, "returns.html", formats.page().replace(b"tracking = 1", b"tracking = 2"))
        assert (other["id"], other["state"]) == (first["id"], "ready")
        (same,) = await api.say(chatbot, "Returns?")
        assert [source["id"] for source in same["sources"]] == [source["id"] for source in reply["sources"]]
        assert len(embedder.passages) == 2, "its two sections, once each"
        await api.push(chatbot, "returns.html", "Something else.")
        assert (await uploaded(api, chatbot, "returns.html", formats.page()))["content"] == first["content"]


async def test_a_file_that_cannot_be_read_fails_and_the_earlier_version_answers(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents=EVERYTHING)
        await uploaded(api, chatbot, "a.txt", b"Parcels are sent on Monday.")
        failed = await uploaded(api, chatbot, "a.txt", b"\x89PNG\r\n")
        assert (failed["state"], failed["error"]) == ("failed", "file_unknown")
        assert failed["reason"].startswith("It is a picture: push text, Markdown")
        (reply,) = await api.say(chatbot, "When are parcels sent?")
        assert reply["sources"][0]["content"].endswith("Parcels are sent on Monday.")
        listed = await api.get(f"{chatbot}/documents?state=failed")
        assert [document["id"] for document in listed.body] == [failed["id"]]
        assert (await api.get(f"{chatbot}/documents?state=ready")).body == []
        assert (await api.get(f"{chatbot}/documents?state=lost")).status == 422
        assert (await uploaded(api, chatbot, "a.txt", b"Parcels are sent on Friday."))["state"] == "ready"
        (reply,) = await api.say(chatbot, "When are parcels sent?")
        assert reply["sources"][0]["content"].endswith("on Friday.")


async def test_what_was_not_read_is_told_with_the_document(tmp_path: Path) -> None:
    garbled = "Die Rückgabe ist für Kunden möglich.\nGröße: ".encode() + b"\xff\nEnde"
    guessed = "Grüße – für 9 €".encode("cp1252")
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents=EVERYTHING)
        document = await uploaded(api, chatbot, "a.txt", garbled)
        warnings = [{"code": "characters_replaced", "count": 1, "where": "line 2"}]
        assert (document["state"], document["warnings"]) == ("ready", warnings)
        followed = await api.get(f"{chatbot}/documents/{document['id']}", headers={"Accept": "text/event-stream"})
        assert followed.events[0][1]["warnings"] == warnings
        whole = await uploaded(api, chatbot, "b.txt", b"Parcels are sent on Monday.")
        other = await uploaded(api, chatbot, "c.txt", guessed)
        assert whole["warnings"] == []
        assert other["warnings"] == [{"code": "encoding_guessed", "count": 1, "where": "cp1252"}]
        warned = (await api.get(f"{chatbot}/documents?warned=true")).body
        assert [(each["name"], each["warnings"]) for each in warned] == [("c.txt", other["warnings"]), ("a.txt", warnings)]
        assert [each["name"] for each in (await api.get(f"{chatbot}/documents?warned=false")).body] == ["b.txt"]
        assert (await api.get(f"{chatbot}/documents?warned=perhaps")).fields == {"warned"}


async def test_warnings_are_of_the_text_that_is_there(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents=EVERYTHING)
        guessed = await uploaded(api, chatbot, "a.txt", "Grüße".encode("cp1252"))
        failed = await uploaded(api, chatbot, "a.txt", b"\x89PNG\r\n")
        assert (failed["state"], failed["warnings"]) == ("failed", guessed["warnings"]), "the earlier text answers"
        same = await uploaded(api, chatbot, "a.txt", "Grüße".encode())
        assert (same["id"], same["warnings"]) == (guessed["id"], []), "the text is the same, and was read for certain"
        await uploaded(api, chatbot, "a.txt", "Grüße".encode("cp1252"))
        await api.call("PATCH", chatbot, {"documents": SHORT})
        assert (await ended(api, chatbot, guessed))["warnings"] == guessed["warnings"], "cut anew, not read anew"
        await api.push(chatbot, "a.txt", "Grüße aus Wien.")
        assert (await api.get(f"{chatbot}/documents/{guessed['id']}")).body["warnings"] == []


async def test_put_takes_a_file_too(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        (chunk,) = await api.push(chatbot, "old", "Old text.")
        path = f"{chatbot}/documents/{chunk['document_id']}"
        reply = await send(api, path, file_part("new.md", b"# New\n\ntext"), field("name", "renamed"), method="PUT")
        assert (reply.status, reply.body["name"], reply.body["state"]) == (202, "renamed", "pending")
        document = await ended(api, chatbot, reply.body)
        assert (document["id"], document["content"]) == (chunk["document_id"], "# New\n\ntext")
        missing = await send(api, path[:-4] + "0000", file_part("a.md", b"text"), method="PUT")
        assert missing.status == 404


async def test_a_document_can_be_followed_to_its_end(tmp_path: Path) -> None:
    class Held(CountingEmbedder):
        def __init__(self) -> None:
            super().__init__()
            self.go = asyncio.Event()

        async def embed_passages(self, texts: Any) -> Matrix:
            await self.go.wait()
            return await super().embed_passages(texts)

    embedder = Held()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot()
        accepted = await upload(api, chatbot, "a.md", b"# Head\n\ntext")
        path = f"{chatbot}/documents/{accepted['id']}"

        async def is_embedding() -> bool:
            return bool((await api.get(path)).body["state"] == "embedding")

        await until(is_embedding)
        following = asyncio.create_task(api.get(path, headers={"Accept": "text/event-stream"}))
        embedder.go.set()
        followed = (await following).events
        assert [name for name, _ in followed] == ["document"] * (len(followed) - 1) + ["done"]
        assert [data["state"] for _, data in followed][-2:] == ["ready", "ready"]
        assert followed[-1][1] == {"id": accepted["id"], "state": "ready"}
        again = (await api.get(path, headers={"Accept": "text/event-stream"})).events
        assert [(name, data["state"]) for name, data in again] == [("document", "ready"), ("done", "ready")]


async def test_an_upload_under_one_key_is_done_once(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        first = await upload(api, chatbot, "a.txt", b"Parcels are sent on Monday.", Idempotency_Key="k")
        await ended(api, chatbot, first)
        await api.push(chatbot, "a.txt", "Parcels are sent on Friday.")
        again = await send(api, f"{chatbot}/documents", file_part("a.txt", b"Parcels are sent on Monday."), Idempotency_Key="k")
        assert (again.status, again.body["id"], again.headers["Idempotent-Replayed"]) == (202, first["id"], "true")
        content = (await api.get(f"{chatbot}/documents/{first['id']}")).body["content"]
        assert content == "Parcels are sent on Friday.", "it was not stored again over what came later"
        other = await send(api, f"{chatbot}/documents", file_part("a.txt", b"Another."), Idempotency_Key="k")
        assert (other.status, other.code) == (422, "idempotency_key_reused")


BAD: dict[str, tuple[bytes, str, int, str]] = {
    "no file": (form(field("name", "x")), "", 422, "invalid_request"),
    "two files": (form(file_part("a", b"1"), file_part("b", b"2")), "", 422, "invalid_request"),
    "another field": (form(file_part("a", b"1"), field("colour", "red")), "", 422, "invalid_request"),
    "a name twice": (form(field("name", "x"), field("name", "y"), file_part("a", b"1")), "", 422, "invalid_request"),
    "a nameless file": (form(file_part("", b"1")), "", 422, "invalid_request"),
    "a long name": (form(file_part("x" * 1025, b"1")), "", 422, "invalid_request"),
    "a name with NUL": (form(field("name", "a\0b"), file_part("a", b"1")), "", 422, "invalid_request"),
    "a name of two lines": (form(file_part("a", b"1"), field("name", "a\nb")), "", 422, "invalid_request"),
    "a name that turns around": (form(file_part("a\u202etxt.exe", b"1")), "", 422, "invalid_request"),
    "a name in Latin-1": (form(file_part("caf\udce9", b"1")), "", 422, "invalid_request"),
    "cut off": (form(file_part("a", b"1" * 100))[:-40], "", 400, "malformed_form"),
    "no end": (form(file_part("a", b"1"))[:-4], "", 400, "malformed_form"),
    "no form": (b"just text", "", 400, "malformed_form"),
    "nothing": (b"", "", 400, "malformed_form"),
    "no boundary": (form(file_part("a", b"1")), "multipart/form-data", 400, "malformed_form"),
    "many fields": (form(*[field(f"n{i}", "x") for i in range(20)]), "", 422, "invalid_request"),
    "endless headers": (form(("X: " + "y" * 20_000, b"1")), "", 400, "malformed_form"),
    "too large": (form(file_part("a.txt", b"x" * 5000)), "", 413, "payload_too_large"),
    "another type": (b"\x89PNG", "image/png", 415, "unsupported_media_type"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_form_that_is_not_as_it_should_be_is_refused_and_stores_nothing(case: str, tmp_path: Path) -> None:
    body, content_type, status, code = BAD[case]
    async with gigachat(tmp_path, max_upload_bytes=4096) as api:
        chatbot = await api.chatbot()
        headers = {"Content-Type": content_type or f"multipart/form-data; boundary={_BOUNDARY}"}
        reply = await api.post(f"{chatbot}/documents", raw=body, headers=headers)
        assert (reply.status, reply.code) == (status, code), reply.text
        assert (await api.get(f"{chatbot}/documents")).body == []
    assert stores.current().query(tmp_path, "SELECT id FROM uploads") == []


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("filename=\"x.txt\"; filename*=UTF-8''R%C3%BCckgabe%20%E2%82%AC.txt", "Rückgabe €.txt"),
        ("filename*=utf-8'de'a%3Bb.txt; filename=\"x.txt\"", "a;b.txt"),
        ("filename*=ISO-8859-1''caf%E9.txt", "café.txt"),
        ("filename=\"x.txt\"; filename*=nothing''y.txt", "x.txt"),
        ('filename="👩\u200d👧.txt"', "👩\u200d👧.txt"),
    ],
)
async def test_a_name_may_be_in_another_form(given: str, name: str, tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        reply = await send(api, f"{chatbot}/documents", (f'Content-Disposition: form-data; name="file"; {given}', b"text"))
        assert (reply.status, reply.body["name"]) == (202, name)


async def test_a_pushed_text_has_a_name_of_one_line(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for name in ("a\nb", "a\u2028b", "invoice\u202efdp.exe", "a\u2066b", "a\x7f"):
            reply = await api.post(f"{chatbot}/documents", {"name": name, "content": "text"})
            assert (reply.status, reply.fields) == (422, {"name"})
        assert await api.push(chatbot, "फ़ाइल 👨\u200d👩\u200d👧 ملف", "text")


# --- whose turn it is ---


class Gate(CountingEmbedder):
    """Lets nothing of the texts with a word in them through until it is opened."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word
        self.go = asyncio.Event()

    async def embed_passages(self, texts: Any) -> Matrix:
        if any(self.word in text for text in texts):
            await self.go.wait()
        return await super().embed_passages(texts)


@pytest.mark.slow
async def test_the_files_of_one_chatbot_do_not_keep_those_of_another_waiting(tmp_path: Path) -> None:
    embedder = Gate("boulder")
    async with gigachat(tmp_path, embedder=embedder) as api:
        one, other = await api.chatbot(), await api.chatbot(name="Other")
        large = [await upload(api, one, f"{n}.txt", f"boulder {n} ".encode() * 30_000) for n in range(9)]
        assert (await uploaded(api, other, "small.txt", b"A pebble."))["state"] == "ready"
        assert (await uploaded(api, one, "small.txt", b"A pebble, too."))["state"] == "ready"
        (queue,) = (await api.get("/queue")).body
        assert (queue["chatbot_id"], queue["waiting"], queue["working"]) == (one.removeprefix("/chatbots/"), 5, 4)
        assert queue["bytes"] == 9 * 300_000
        embedder.go.set()
        for document in large:
            assert (await ended(api, one, document))["state"] == "ready"
        assert (await api.get("/queue")).body == []


# --- embedded once, seen whole ---


class Stopping(CountingEmbedder):
    """Embeds so many calls, and then no more."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls
        self.stopped = asyncio.Event()

    async def embed_passages(self, texts: Any) -> Matrix:
        if not self.left:
            self.stopped.set()
            await asyncio.Event().wait()
        self.left -= 1
        return await super().embed_passages(texts)


def long_text(chunks: int, word: str = "parcel") -> str:
    return "\n\n".join(f"{word} {n} is sent to place {n}. " + "It goes on. " * 6 for n in range(chunks))


SHORT = {"text_splitter": {"chunk_size": 120, "chunk_overlap": 0}}


async def test_what_was_embedded_before_a_stop_is_not_embedded_again(tmp_path: Path) -> None:
    text = long_text(4 * BATCH)
    first, second = Stopping(2), CountingEmbedder()
    async with gigachat(tmp_path, embedder=first) as api:
        chatbot = await api.chatbot(documents=EVERYTHING | SHORT)
        accepted = await upload(api, chatbot, "long.txt", text.encode())
        await first.stopped.wait()

        async def is_half_done() -> bool:
            document = (await api.get(f"{chatbot}/documents/{accepted['id']}")).body
            return bool(document["state"] == "embedding" and 40 <= document["progress"] <= 60)

        await until(is_half_done)
        (reply,) = await api.say(chatbot, "Where is parcel 3 sent to?")
        assert reply["sources"] == [], "nothing is found before everything is"
    async with gigachat(tmp_path, embedder=second) as api:
        document = await ended(api, chatbot, accepted)
        assert (document["state"], document["chunk_count"], document["progress"]) == ("ready", 4 * BATCH, 100)
        (reply,) = await api.say(chatbot, "Where is parcel 3 sent to?", conversation="c2")
        assert reply["sources"][0]["content"].split("\n")[-1].startswith("parcel 3 is sent")
    assert len(first.passages) + len(second.passages) == 4 * BATCH
    assert set(first.passages).isdisjoint(second.passages)
    assert stores.current().query(tmp_path, "SELECT document_id FROM made_embeddings") == []


@pytest.mark.postgres_only
async def test_nothing_made_outlives_a_document_that_is_deleted_meanwhile(tmp_path: Path) -> None:
    """A worker is about to store embeddings, and holds the document's row, as somebody deletes it."""
    is_holding, may_go_on = asyncio.Event(), asyncio.Event()
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "d", "Parcels ship on Monday.")
        document, of = (await api.get(f"{chatbot}/documents")).body[0]["id"], chatbot.removeprefix("/chatbots/")

        async def storing(tx: Tx) -> None:
            is_holding.clear()
            await tx.run("UPDATE documents SET progress = 50 WHERE chatbot_id = :of AND id = :id", of=of, id=document)
            is_holding.set()
            await may_go_on.wait()
            await made_embeddings.insert(tx, of, document, [("0" * 64, bytes(4 * 384))], embedding_model="hashing")

        stored = asyncio.create_task(api.services.database.transaction("test", storing))
        await is_holding.wait()
        deleting = asyncio.create_task(api.call("DELETE", f"{chatbot}/documents/{document}"))

        async def waits() -> bool:
            return await rows(api, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != []

        await until(waits)
        may_go_on.set()
        await stored
        assert (await deleting).status == 204
        assert await rows(api, "SELECT document_id FROM made_embeddings") == []


async def test_a_text_that_the_chatbot_has_is_not_embedded_again(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot, other = await api.chatbot(documents=SHORT), await api.chatbot(documents=SHORT)
        await api.push(chatbot, "one", long_text(5))
        assert len(await api.push(chatbot, "two", long_text(6))) == 6
        assert (await uploaded(api, chatbot, "three.txt", long_text(7).encode()))["chunk_count"] == 7
        assert len(embedder.passages) == 7
        await api.push(other, "one", long_text(5))
        assert len(embedder.passages) == 12, "what another chatbot has is its own"


async def test_ten_thousand_equal_chunks_are_one_embedding(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot(documents={"text_splitter": {"chunk_size": 50, "chunk_overlap": 0}})
        document = await uploaded(api, chatbot, "equal.txt", b"The same thirty-eight letters each time\n\n" * 9_999)
        assert (document["state"], document["chunk_count"]) == ("ready", 9_999), document["reason"]
        assert len(embedder.passages) == 1
        too_many = await uploaded(api, chatbot, "many.txt", b"The same thirty-eight letters each time\n\n" * 10_001)
        assert (too_many["state"], too_many["error"]) == ("failed", "too_many_chunks")
        assert "10001 chunks, and may make 10000" in too_many["reason"]


async def replace_under_load(api: Api, rounds: int, *, every_file: int) -> int:
    """Replace a document time and again while prompts are answered; how many prompts that were. No reply mixes versions."""
    chatbot = await api.chatbot(documents=EVERYTHING | SHORT)
    (first, *_) = await api.push(chatbot, "doc", long_text(4, "version0"))
    path = f"{chatbot}/documents/{first['document_id']}"
    is_over = False

    async def replace() -> None:
        for number in range(1, rounds + 1):
            text = long_text(4, f"version{number}")
            if number % every_file:
                assert (await api.call("PUT", path, {"name": "doc", "content": text})).status == 200
            else:
                reply = await send(api, path, file_part("doc.txt", text.encode()), field("name", "doc"), method="PUT")
                assert (await ended(api, chatbot, reply.body))["state"] == "ready"

    async def ask(name: str) -> int:
        asked = 0
        while not is_over:
            (reply,) = await api.say(chatbot, "Where is place 1 and place 2?", conversation=f"{name} {asked}")
            versions = {source["content"].split("\n")[-1].split()[0] for source in reply["sources"]}
            assert len(versions) == 1, versions
            assert len(reply["sources"]) == 4
            asked += 1
        return asked

    asking = [asyncio.create_task(ask(f"client {n}")) for n in range(3)]
    try:
        await replace()
    finally:
        is_over = True
    return sum(await asyncio.gather(*asking))


async def test_nobody_sees_a_mix_of_two_versions(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        assert await replace_under_load(api, 30, every_file=10) > 0


@pytest.mark.faults
async def test_nobody_sees_a_mix_in_a_thousand_replaces(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    async with gigachat(tmp_path) as api:
        asked = await replace_under_load(api, 1_000, every_file=5)
    record_property("figures", {"replaces": 1_000, "prompts": asked, "mixed": 0})
