"""What each adapter brings of a query, as JSON. Run as `adapted.py URL KEY CHATBOT`, where the frameworks are installed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from haystack import Pipeline
from langchain_core.runnables import RunnableLambda

from gigachat_client import AsyncGigachat, Gigachat
from gigachat_client.haystack import GigachatRetriever as HaystackRetriever
from gigachat_client.langchain import GigachatRetriever as LangChainRetriever
from gigachat_client.llama_index import GigachatRetriever as LlamaIndexRetriever

URL, KEY, CHATBOT = sys.argv[1:]
QUERY = "When are parcels sent?"


def from_langchain(client: Gigachat) -> list[list[Any]]:
    retriever = LangChainRetriever(client=client, chatbot_id=CHATBOT)
    chain = retriever | RunnableLambda(lambda found: [[each.page_content, each.metadata, each.id] for each in found])
    everything = LangChainRetriever(client=client, chatbot_id=CHATBOT, matched_only=False, limit=2).invoke(QUERY)
    return [chain.invoke(QUERY), asyncio.run(chain.ainvoke(QUERY)), [len(everything)]]


def from_llama_index(client: Gigachat) -> list[list[Any]]:
    retriever = LlamaIndexRetriever(client, CHATBOT)
    everything = LlamaIndexRetriever(client, CHATBOT, matched_only=False, limit=2).retrieve(QUERY)
    found = [retriever.retrieve(QUERY), asyncio.run(retriever.aretrieve(QUERY))]
    return [*([[n.text, {**n.metadata, "score": n.score}, n.node_id] for n in nodes] for nodes in found), [len(everything)]]


def from_haystack() -> list[list[Any]]:
    os.environ["GIGACHAT_API_KEY"] = KEY
    pipeline = Pipeline()
    pipeline.add_component("retriever", HaystackRetriever(URL, CHATBOT))
    saved = pipeline.dumps()
    assert KEY not in saved
    found = [each.run({"retriever": {"query": QUERY}})["retriever"]["documents"] for each in (pipeline, Pipeline.loads(saved))]
    everything = HaystackRetriever(URL, CHATBOT, matched_only=False).run(QUERY, limit=2)["documents"]
    return [*([[d.content, {**d.meta, "score": d.score}, d.id] for d in documents] for documents in found), [len(everything)]]


async def from_asyncio() -> list[list[Any]]:
    async with AsyncGigachat(URL, KEY) as client:
        with Gigachat(URL, "not used") as unused:
            one = LangChainRetriever(client=unused, async_client=client, chatbot_id=CHATBOT)
            other = LlamaIndexRetriever(unused, CHATBOT, async_client=client)
            return [[each.id for each in await one.ainvoke(QUERY)], [each.node_id for each in await other.aretrieve(QUERY)]]


with Gigachat(URL, KEY) as gigachat:
    told = {
        "langchain": from_langchain(gigachat),
        "llama_index": from_llama_index(gigachat),
        "haystack": from_haystack(),
        "asyncio": asyncio.run(from_asyncio()),
    }
sys.stdout.write(json.dumps(told))
