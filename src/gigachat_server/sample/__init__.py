"""The sample: a chatbot that answers from gigachat's own documentation, to try gigachat without your own documents.

Invariant: loading it twice changes nothing; it never touches a chatbot of another name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from gigachat_server.access.principal import local_operator
from gigachat_server.errors import GigachatError
from gigachat_server.ids import new_id
from gigachat_server.pages.chat import SAMPLE_PROMPTS
from gigachat_server.pages.demo import DEMO_HOSTNAMES
from gigachat_server.records import Chatbot, ChatbotConfig, ResponseConfig, WidgetSettings
from gigachat_server.services import Services
from gigachat_server.store import chatbots
from gigachat_server.store.database import Tx

NAME = "gigachat docs"
PERSONA = (
    "You are the guide to gigachat, a self-hosted conversation backend. Given the following sections of its documentation, "
    "answer the developer's question using only that information, and show commands and requests exactly as they stand "
    "there. If you are unsure, or the answer is not explicitly written in the sections, say "
    '"Sorry, the documentation does not tell me that."'
)

# Pages that would only get in the way of the guides: links, tables of fields, and why things were decided.
_LEFT_OUT = ("docs/index.md", "docs/reference/api.md", "docs/decisions/")

_log = logging.getLogger("gigachat.sample")


async def load(services: Services) -> None:
    """Have the chatbot, with the documentation of this version as its documents."""
    try:
        chatbot = await _ensure_chatbot(services)
        await _ensure_widget_key(services, chatbot)
        for name, content in documentation():
            ingested = await services.ingest.push(chatbot, name, content)
            if ingested.document.state == "pending":
                services.ingest_worker.wake_up()
    except GigachatError as error:
        _log.warning("the sample cannot be loaded: %s", error)
    else:
        _log.info("the chatbot %r is ready: %s", NAME, chatbot.id)


async def _ensure_widget_key(services: Services, chatbot: Chatbot) -> None:
    """For `/widget/demo`, on this machine."""
    who = local_operator(chatbot.account_id)
    if not await services.widget_keys.list(who, chatbot):
        settings = WidgetSettings(sources="full", starters=SAMPLE_PROMPTS[:3])
        await services.widget_keys.create(who, chatbot, name="demo", hostnames=DEMO_HOSTNAMES, settings=settings, is_enabled=True)


def documentation() -> Iterator[tuple[str, str]]:
    """Every page as (name, text): as installed, or of the checkout that this runs from."""
    installed = Path(__file__).parent / "docs"
    checkout = Path(__file__).parents[3]
    if installed.is_dir():
        files = {path.relative_to(installed).as_posix(): path for path in installed.rglob("*.md")}
    else:
        files = {path.relative_to(checkout).as_posix(): path for path in (checkout / "docs").rglob("*.md")}
        files["README.md"] = checkout / "README.md"
    for name in sorted(files, key=lambda name: (name != "README.md", name)):
        if name.startswith(_LEFT_OUT):
            continue
        if files[name].is_file() and (content := files[name].read_text()).strip():
            yield name, content


async def _ensure_chatbot(services: Services) -> Chatbot:
    now_us = services.clock()
    config = ChatbotConfig(response=ResponseConfig(system_persona=PERSONA))
    fresh = Chatbot(new_id(), services.account.id, NAME, config, 0, now_us, now_us)

    async def body(tx: Tx) -> Chatbot:
        held = await chatbots.find_by_name(tx, services.account.id, NAME)
        if held is None:
            await chatbots.insert(tx, fresh)
        return held or fresh

    return await services.database.transaction("sample.ensure", body)
