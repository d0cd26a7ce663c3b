"""Every dialect, over HTTP to a real gigachat: what an endpoint sends, and what is stored of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.harness import Api, gigachat
from tests.models.dialects import CASES, ENDINGS, HANDOFFS, ODD, REASONING, REFUSALS, Case
from tests.models.misbehaving_endpoint import GOOD, Exchange, endpoint, ends, handoffs, http, model_at, prompt, texts
from tests.models.test_completion_stream import parse
from tests.models.test_openai_model import collect

from gigachat_server.models.base import HandoffOffer, TakenBack, TextDelta

HANDED_OFF = "Somebody comes."


async def ask(api: Api, chatbot: str, conversation: str) -> dict[str, Any]:
    body = {"conversation_id": conversation, "user_id": "ann", "prompt": "Hi"}
    reply = await api.post(f"{chatbot}/conversations", body)
    messages = await api.messages(chatbot, conversation)
    return {"reply": reply, "prompt": messages[0], "replies": messages[1:]}


async def test_what_every_dialect_says_is_stored_as_it_was_meant(tmp_path: Path) -> None:
    """One endpoint plays all cases, one a conversation."""
    playing: list[Case] = []

    async def play(exchange: Exchange) -> None:
        await exchange.send(playing[-1].answer)

    wrong = {}
    async with endpoint(play) as here, model_at(here.url) as model, gigachat(tmp_path, model=model) as api:
        interception = {"handoff": True, "handoff_message": HANDED_OFF}
        chatbot = await api.chatbot(interception=interception)
        for number, (name, case) in enumerate(CASES.items()):
            model._known.clear()  # what was learnt of one dialect is nothing to the next
            playing.append(case)
            found = await ask(api, chatbot, f"c{number}")
            if (difference := different(case, found)) is not None:
                wrong[name] = difference
    assert wrong == {}
    assert len(CASES) >= 150


def different(case: Case, found: dict[str, Any]) -> Any:
    """How what was stored differs from what should have been; None if it does not."""
    reply, asked, replies = found["reply"], found["prompt"], found["replies"]
    if case.code is not None:
        kept = replies[0]["content"] if replies else None
        status = replies[0]["status"] if replies else None
        wanted = (case.code, case.text, None if case.text is None else "incomplete")
        seen = (reply.code if reply.status >= 400 else reply.status, kept, status)
        return None if seen == wanted and asked["error"] == case.code else (seen, asked["error"])
    if reply.status != 201:
        return reply.text
    [message] = replies
    text = HANDED_OFF if case.is_handoff else case.text
    seen = (message["content"], message["status"], message["metadata"]["finish_reason"])
    if seen != (text, "completed", case.finish):
        return seen
    told = message["metadata"].get("handoff")
    if case.is_handoff and told != {"reason": "asked", "note": "Wants a person"}:
        return told
    return None


SPLIT = [
    *(REASONING[name] for name in ("think with lines", "only the closing mark", "harmony", "a closing tag in code stays")),
    *(
        ODD[name]
        for name in ("keep-alives as data", "an event over two lines", "a pair of surrogates in two deltas", "content in parts")
    ),
    *(HANDOFFS[name] for name in ("hermes", "glm", "function_call", "llama 3.2: bare")),
    *(ENDINGS[name] for name in ("length: MAX_TOKENS", "failed: network_error")),
]


@pytest.mark.parametrize("case", SPLIT)
def test_every_split_of_a_stream_gives_the_same_reply(case: Case) -> None:
    body = case.answer.partition(b"\r\n\r\n")[2]
    whole, failure = parse([body], may_hand_off=True)
    assert shown(whole) == ("" if case.is_handoff else case.text)
    for at in range(1, len(body)):
        events, failed = parse([body[:at], body[at:]], may_hand_off=True)
        assert shown(events) == shown(whole)
        assert (ends(events), handoffs(events), type(failed)) == (ends(whole), handoffs(whole), type(failure))


def shown(events: list[Any]) -> str:
    text = ""
    for event in events:
        if isinstance(event, TakenBack):
            text = ""
        elif isinstance(event, TextDelta):
            text += event.text
    return text


@pytest.mark.parametrize("text", ["Hi", "What do temperature, stream_options and max_tokens do in tools?", "{body}"])
@pytest.mark.parametrize("name", REFUSALS)
async def test_what_an_endpoint_refuses_is_learnt_whatever_the_prompt_says(name: str, text: str) -> None:
    refused = REFUSALS[name]

    async def picky(exchange: Exchange) -> None:
        await exchange.send(refused.answer(exchange.body) or GOOD)

    asked = prompt(
        text.replace("{body}", str(refused.body)),
        handoff=HandoffOffer(),
        n=2 if "n" in refused.most else 1,
        temperature=1.2,
        top_p=0.9,
        presence_penalty=0.5,
        frequency_penalty=0.5,
        max_tokens=20_000,
    )
    async with endpoint(picky) as here, model_at(here.url) as model:
        for _ in range(2):
            events, error = await collect(model, asked)
            assert (texts(events), error) == ({0: "Hello"}, None)
        assert len(here.requests) == 3, "it is learnt by one refusal"
        last = here.requests[-1].body
        kept = {"temperature", "top_p", "presence_penalty", "frequency_penalty", "tools", "stream_options"} - set(
            refused.parameters
        )
        if "stream" in refused.parameters:
            kept -= {"stream_options"}
        assert kept <= last.keys(), "and nothing else is left out"
        for parameter, most in refused.most.items():
            assert last.get(parameter, 1) <= most
            assert parameter == "n" or last[parameter] == most


async def test_a_refusal_inside_a_stream_is_learnt_too() -> None:
    body = b'{"error":{"code":500,"message":"Jinja Exception: Only user and assistant roles are supported"}}'
    refusal = http(b"data: " + body + b"\n\ndata: [DONE]\n\n")

    async def picky(exchange: Exchange) -> None:
        await exchange.send(refusal if exchange.body["messages"][0]["role"] == "system" else GOOD)

    async with endpoint(picky) as here, model_at(here.url) as model:
        for _ in range(2):
            events, error = await collect(model, prompt())
            assert (texts(events), error) == ({0: "Hello"}, None)
        assert [request.body["messages"][0]["role"] for request in here.requests] == ["system", "user", "user"]
        assert here.requests[-1].body["messages"] == [{"role": "user", "content": "Be brief.\n\nHi"}]


async def test_what_a_refusal_is_not_about_is_not_learnt() -> None:
    """A body that repeats the prompt, with the names of parameters in it, is a refusal of something else."""
    body = b'{"error":{"message":"I do not like: temperature and tools and stream_options"}}'

    async def picky(exchange: Exchange) -> None:
        await exchange.send(http(body, status="400 No") if "temperature" in exchange.body["messages"][-1]["content"] else GOOD)

    async with endpoint(picky) as here, model_at(here.url) as model:
        _, error = await collect(model, prompt("temperature and tools and stream_options", handoff=HandoffOffer()))
        assert error is not None
        events, error = await collect(model, prompt("Hi", handoff=HandoffOffer()))
        assert texts(events) == {0: "Hello"}
        assert {"temperature", "tools", "stream_options"} <= here.requests[-1].body.keys()


async def test_a_model_that_sends_only_the_closing_mark_shows_no_reasoning_the_second_time() -> None:
    case = REASONING["only the closing mark, in pieces"]
    async with endpoint(case.answer) as here, model_at(here.url) as model:
        first, _ = await collect(model, prompt())
        second, _ = await collect(model, prompt())
        assert any(isinstance(event, TakenBack) for event in first)
        assert not any(isinstance(event, TakenBack) for event in second)
        assert texts(second) == {0: "Hello"}
    async with endpoint(case.answer, GOOD) as here, model_at(here.url) as model:
        await collect(model, prompt())
        for _ in range(2):
            events, _ = await collect(model, prompt())
            assert texts(events) == {0: "Hello"}, "it need not think every time"
