"""Stores full of everything that is hard to copy: odd texts, odd floats, NULLs, and ids that locales sort their own way."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gigachat_server.clock import system_clock
from gigachat_server.store.database import Database, Tx
from gigachat_server.store.engines.migrate import migrate
from gigachat_server.store.engines.sqlite import open_sqlite

AT = 1_800_000_000_000_000
_TEXTS = ("", "plain", "Ä ö ß", "日本語", "emoji 👩‍👩‍👧", "a\tb\nc\\d", "'; DROP TABLE messages; --", "\u2028\ufeff", "x" * 5000)
_IDS = ("a", "B", "ä", "Z", "z", "a b", "A-1", "a_1", "é", "日", "👩")
_FLOATS = (0.0, -0.0, 1e-45, -1e-38, 3.4028235e38, 0.1)
_BATCH = 5_000


async def fill_folder(folder: Path, *, messages: int, chunks: int, seed: int = 1) -> None:
    """A store in that folder, closed."""
    database = open_sqlite(folder)
    await fill(database, messages=messages, chunks=chunks, seed=seed)
    await database.aclose()


async def fill(database: Database, *, messages: int, chunks: int, seed: int = 1) -> None:
    await migrate(database, system_clock)
    chance = random.Random(seed)
    for table, rows in _rows(chance, messages, chunks):
        for first in range(0, len(rows), _BATCH):
            await _insert(database, table, rows[first : first + _BATCH])


async def _insert(database: Database, table: str, rows: list[dict[str, Any]]) -> None:
    async def body(tx: Tx) -> None:
        names = list(rows[0])
        await tx.run_many(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})", rows)

    await database.transaction("test.fill", body)


def _rows(chance: random.Random, messages: int, chunks: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    times = {"created_at": AT, "updated_at": AT}
    bots = [f"bot-{each}" for each in _IDS]
    yield "accounts", [{"id": "acc", "name": "default", "created_at": AT}]
    key = {"account_id": "acc", "name": "k", "last4": "1234", "scopes": '["chatbots:read"]', "created_at": AT}
    yield "api_keys", [{"id": "key", "secret_sha256": bytes(range(32)), "expires_at": None, "revoked_at": 2**62, **key}]
    yield (
        "chatbots",
        [{"id": bot, "account_id": "acc", "name": bot, "config": "{}", "knowledge_version": 3, **times} for bot in bots],
    )
    documents = [(bot, f"doc-{number}") for bot in bots for number in range(max(1, chunks // len(bots) // 50))]
    yield "documents", [
        {"chatbot_id": bot, "id": document, "name": document, "content": _text(chance), "content_sha256": "0" * 64,
         "state": "ready", "error": None, "chunk_count": 1, "characters": 1, "embedding_model": "hashing", "version": 3,
         "lease_until": 0, "reason": None, "progress": 100, "title": _text(chance),
         "media_type": chance.choice((None, "text/html")), "origin": None, "upload_id": None,
         "file_sha256": chance.choice((None, "1" * 64)), "chunks_sha256": "0" * 64,
         "places": chance.choice((None, '[[0,1,"é"]]')), "language": chance.choice((None, "de")), **times}
        for bot, document in documents
    ]  # fmt: skip
    places = [(*documents[number % len(documents)], number // len(documents)) for number in range(chunks)]
    yield "chunks", [
        {"chatbot_id": bot, "document_id": document, "number": number, "id": f"{document}/{number}", "content": _text(chance),
         "line_from": 1, "line_to": 2, "stems": json.dumps({"é": number}), "embedding": _vector(chance),
         "page": chance.choice((None, number)),
         "heading": chance.choice((None, "Ä ö")), "text_sha256": chance.choice((None, "2" * 32)),
         "first_unit": chance.choice((None, number)), "last_unit": number, **times}
        for bot, document, number in places
    ]  # fmt: skip
    yield "units", [
        {"chatbot_id": bot, "document_id": document, "number": number, "first_chunk": number, "last_chunk": number,
         "text_sha256": "3" * 32, "vector": chance.randbytes(chance.choice((384, 384, 0)))}
        for bot, document, number in places
    ]  # fmt: skip
    yield (
        "uploads",
        [
            {
                "chatbot_id": bot,
                "id": f"upload {bot}",
                "number": number,
                "content": chance.randbytes(50 + number),
                "created_at": AT,
            }
            for bot in bots
            for number in range(2)
        ],
    )
    yield (
        "made_embeddings",
        [
            {
                "chatbot_id": bot,
                "document_id": document,
                "text_sha256": f"{number:032x}",
                "embedding_model": "hashing",
                "embedding": _vector(chance),
            }
            for number, (bot, document) in enumerate(documents)
        ],
    )
    yield from _said(chance, bots, messages)
    site = {"kind": "site", "depth": 3, "max_pages": 9, "include": '["/é*"]', "exclude": "[]", "recrawl_hours": None,
            "state": "ready", "reason": None, "error": _text(chance), "crawl": 2, "found": 1, "limit_reached": "depth",
            "lease": None, "lease_until": 0, "due_at": None, "crawled_at": AT, **times}  # fmt: skip
    yield "sites", [{"chatbot_id": bot, "id": f"site-{bot}", "url": f"https://a.example/{bot}", **site} for bot in bots]
    page = {"kind": "page", "crawl": 2, "depth": 1, "hops": 0, "place": 4, "state": "ready", "reason": None, "error": None,
            "attempts": 0, "retry_at": 0, "document_id": "doc-0", "content_sha256": "0" * 64, "etag": '"ä"',
            "fetched_at": AT, "last_modified": None, "links": "https://a.example/\nhttps://a.example/b"}  # fmt: skip
    yield (
        "site_pages",
        [
            {"chatbot_id": bot, "site_id": f"site-{bot}", "url": f"https://a.example/{each}", **page}
            for bot in bots
            for each in _IDS
        ],
    )
    yield "idempotency", [
        {"chatbot_id": "acc", "principal": "p", "route": "POST /chatbots", "key": each, "fingerprint": "f", "kind": "answer",
         "status": 201, "response": _text(chance), "created_at": AT}
        for each in _IDS
    ]  # fmt: skip


def _said(chance: random.Random, bots: list[str], messages: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    long = 20
    names = [(bots[n % len(bots)], f"{_IDS[n // len(bots) % len(_IDS)]}-{n}") for n in range(-(-messages // long))]
    yield "conversations", [
        {"chatbot_id": bot, "conversation_id": name, "user_id": chance.choice((None, "ann")), "last_seq": long,
         "last_at": AT + long, "controlled_by": "bot", "control_epoch": 2**53 + 1, "handoff_requested_at": None,
         "created_at": AT, "release_at": None, "answering": None, "lease_until": None, "queued": 0}
        for bot, name in names
    ]  # fmt: skip
    said, events = [], []
    for number in range(messages):
        (bot, name), seq = names[number // long], number % long + 1
        where = {"chatbot_id": bot, "conversation_id": name, "seq": seq, "created_at": AT + seq}
        is_prompt = seq % 2 == 1
        said.append(
            {**where, "id": f"m{number}", "role": "user" if is_prompt else "assistant", "user_id": "ann", "name": "",
             "content": _text(chance), "status": "completed", "in_reply_to": None if is_prompt else f"m{number - 1}",
             "alternative": 0, "replaced_by": None, "turn": "done" if is_prompt else None, "error": None, "feedback": None,
             "metadata": json.dumps({"page": _text(chance)}), "embedding": _vector(chance) if is_prompt else None,
             "embedding_model": "hashing" if is_prompt else None,
             "updated_at": AT + seq, "sources": "[]", "citations": "[]" if is_prompt else json.dumps([{"number": number}])}
        )  # fmt: skip
        events.append({**where, "type": "message.created", "data": json.dumps({"message_id": f"m{number}"})})
    yield "messages", said
    yield "events", events
    draft = {"prompt_id": "m0", "alternative": 0, "message_id": "d", "metadata": "{}", "content": "half", "sources": "[]"}
    draft["citations"] = "[]"
    yield "unanswered", [
        {"chatbot_id": bot, "prompt_id": "m0" if n == 0 else f"gone-{n}", "conversation_id": name, "seq": 1,
         "reason": "nothing_matched", "state": "open", "answered_by": chance.choice((None, "é")), "created_at": AT,
         "updated_at": AT}
        for n, (bot, name) in enumerate(names[:5])
    ]  # fmt: skip
    yield "fixed_answers", [
        {"chatbot_id": bot, "id": f"é-{bot}", "answer": _text(chance), "is_enabled": 1, "use_count": 2**40, "created_at": AT,
         "updated_at": AT}
        for bot in bots
    ]  # fmt: skip
    yield "fixed_answer_prompts", [
        {"chatbot_id": bot, "fixed_answer_id": f"é-{bot}", "number": number, "content": _text(chance),
         "embedding": _vector(chance) if number else None, "embedding_model": "hashing" if number else None}
        for bot in bots
        for number in range(2)
    ]  # fmt: skip
    yield "drafts", [{"chatbot_id": names[0][0], "conversation_id": names[0][1], **draft}]


def _text(chance: random.Random) -> str:
    return chance.choice(_TEXTS) if chance.random() < 0.3 else " ".join(f"word{chance.randrange(1000)}" for _ in range(60))


def _vector(chance: random.Random) -> bytes:
    vector = np.frombuffer(chance.randbytes(384), dtype="u1").astype("<f4") / np.float32(255)
    vector[: len(_FLOATS)] = _FLOATS
    return vector.tobytes()
