"""Every client of OpenAI's API for Python, unmodified, in its usual calls: what each brought, as one line of JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from openai import OpenAI

base, key = sys.argv[1:]
base_url = f"{base}/chatbots/{os.environ['CHATBOT']}/v1"


def of_openai() -> dict[str, Any]:
    client = OpenAI(base_url=base_url, api_key=key)
    chat = client.chat.completions.create(model="x", messages=[{"role": "user", "content": "Hello?"}])
    chunks = client.chat.completions.create(model="x", messages=[{"role": "user", "content": "Hello?"}], stream=True)
    response = client.responses.create(model="x", input="Hello?")
    with client.responses.stream(model="x", input="Hello?") as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        final = events.get_final_response().output_text
    assert "".join(deltas) == final
    conversation = client.conversations.create()
    client.responses.create(model="x", input="Hello?", conversation=conversation.id)
    items = client.conversations.items.list(conversation.id)
    return {
        "models": [model.id for model in client.models.list()],
        "chat": chat.choices[0].message.content,
        "chatStream": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "responses": response.output_text,
        "responsesStream": final,
        "again": client.responses.retrieve(response.id).output_text,
        "items": [item.role for item in items if item.type == "message"],
        "dimension": len(client.embeddings.create(model="x", input="Hello?").data[0].embedding),
    }


def of_langchain() -> dict[str, Any]:
    fields: dict[str, Any] = {"model": "x", "base_url": base_url, "api_key": key}
    chat, responses = ChatOpenAI(**fields), ChatOpenAI(**fields, use_responses_api=True)
    first = responses.invoke([("human", "First?")])
    responses.invoke([("human", "First?"), first, ("human", "Second?")])
    embeddings = OpenAIEmbeddings(**fields, check_embedding_ctx_length=False)
    return {
        "chat": chat.invoke("Hello?").text,
        "chatStream": "".join(piece.text for piece in chat.stream("Hello?")),
        "responses": responses.invoke("Hello?").text,
        "responsesStream": "".join(piece.text for piece in responses.stream("Hello?")),
        "dimension": len(embeddings.embed_query("Hello?")),
    }


sys.stdout.write(json.dumps({"openai": of_openai(), "langchain": of_langchain()}))
