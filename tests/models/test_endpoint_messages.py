"""The shape of what is sent: every template takes it, whatever happened in the conversation; and as much as the model takes."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest
from tests.harness import gigachat
from tests.models.misbehaving_endpoint import model_at
from tests.models.test_openai_model import collect, run, stub

from gigachat_server.chat.answers import prompt as prompts
from gigachat_server.chat.answers.memory import Memory
from gigachat_server.chat.events.recorder import RELEASED, TAKEN_OVER
from gigachat_server.models.base import ChatMessage, LeftOut, ModelInput, Passage, Query, Sampling, Sections
from gigachat_server.models.endpoints.messages import CHARACTERS_PER_TOKEN, fitting, shaped, tokens
from gigachat_server.models.endpoints.stub_endpoint import StubEndpoint
from gigachat_server.models.endpoints.stub_templates import TEMPLATES
from gigachat_server.records import ChatbotConfig, Event, ResponseConfig
from gigachat_server.store.messages import MemoryRow

QUERY = Query(text="", vector=None, stem_weights={})


def told(*messages: tuple[str, str], sections: Sections | None = None) -> ModelInput:
    made = tuple(ChatMessage(role, text) for role, text in messages)  # type: ignore[arg-type]
    return ModelInput(messages=made, sections=sections, sampling=Sampling(), query=QUERY)


def form(model_input: ModelInput, **how: Any) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in shaped(model_input, **how)]


SYSTEM = ("system", "Be brief.")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([SYSTEM, ("user", "a")], [SYSTEM, ("user", "a")]),
        ([("user", "a")], [("user", "a")]),
        ([("system", "  "), ("user", "a")], [("user", "a")]),
        ([SYSTEM, ("user", "a"), ("user", "b")], [SYSTEM, ("user", "a\n\nb")]),
        (
            [SYSTEM, ("assistant", "a"), ("user", "b")],
            [SYSTEM, ("user", "(What was said before this is left out.)"), ("assistant", "a"), ("user", "b")],
        ),
        (
            [SYSTEM, ("user", "a"), ("assistant", "b"), ("system", "Taken over."), ("assistant", "c"), ("user", "d")],
            [SYSTEM, ("user", "a"), ("assistant", "b\n\n[Note: Taken over.]\n\nc"), ("user", "d")],
        ),
        ([SYSTEM, ("user", "a"), ("assistant", " \n"), ("user", "b")], [SYSTEM, ("user", "a\n\nb")]),
        ([SYSTEM, ("user", " ")], [SYSTEM, ("user", "(Go on.)")]),
        ([SYSTEM, ("user", "a"), ("assistant", "b")], [SYSTEM, ("user", "a"), ("assistant", "b"), ("user", "(Go on.)")]),
    ],
)
def test_what_was_told_becomes_one_system_message_and_turns(messages: Any, expected: Any) -> None:
    assert form(told(*messages)) == expected


def test_sections_open_the_last_message_and_what_is_before_them_stays_the_same() -> None:
    sections = Sections("Sections:", ("<<x>> [1] a",), "<<x>>")
    before = [SYSTEM, ("user", "a"), ("assistant", "b")]
    assert form(told(*before, ("user", "c"), sections=sections))[-1] == ("user", "Sections:\n<<x>> [1] a\n<<x>>\n\nc")
    unanswered = form(told(*before, ("user", "c"), ("user", "d"), sections=sections))
    assert unanswered[-1] == ("user", "Sections:\n<<x>> [1] a\n<<x>>\n\nc\n\nd"), "they come before words of the end user"


def test_without_a_system_role_the_first_user_message_begins_with_it() -> None:
    assert form(told(SYSTEM, ("user", "a")), has_system_role=False) == [("user", "Be brief.\n\na")]


def passage(number: int) -> Passage:
    text = f"passage {number} " * 20
    return Passage(
        chunk_id="", document_id="", document_name="d", number=number, text=text, line_from=1, line_to=1, cosine=1, lexical=1,
        coverage=1, rank_score=1, score=1,
    )  # fmt: skip


def history(rng: random.Random, length: int) -> Memory:
    """Messages in any order of speakers, with changes of control between any of them."""
    messages, changes = [], []
    for seq in range(length):
        role = rng.choice(("user", "user", "assistant", "assistant", "operator", "system"))
        content = rng.choice((f"words {seq}", f"words {seq}", " \n", "")) if role != "user" else f"prompt {seq}"
        messages.append(
            MemoryRow(
                seq=2 * seq,
                id=str(seq),
                role=role,
                name="eve",
                content=content,
                embedding=None,
                embedding_model=None,
                in_reply_to=None,
                turn="done",
                metadata="{}",
            )
        )
        if rng.random() < 0.3:
            kind = rng.choice((TAKEN_OVER, RELEASED))
            changes.append(Event("c", "c1", 2 * seq + 1, kind, {}, 0))  # type: ignore[arg-type]
    return Memory(messages, changes)


def built(rng: random.Random, *, memory: Memory, memory_size: int) -> ModelInput:
    config = ChatbotConfig(response=ResponseConfig(memory_size=memory_size, system_persona=rng.choice(("Be brief.", "", " "))))
    passages = [passage(number) for number in range(rng.choice((0, 1, 3)))]
    return prompts.build(config, prompt="Now?", memory=memory, passages=passages, query=QUERY, boundary=os.urandom(4).hex())


def test_five_hundred_random_histories_are_refused_by_no_template() -> None:
    """Over HTTP, with a server that enforces the template: only a system role may be refused, once for each model."""
    rng = random.Random(15)

    async def test() -> None:
        for template in TEMPLATES:
            app = StubEndpoint(template=template)
            async with stub(app) as url, model_at(url) as model:
                for number in range(50):
                    memory = history(rng, rng.randrange(12))
                    model_input = built(rng, memory=memory, memory_size=rng.choice((1, 2, 3, 10)))
                    _, error = await collect(model, model_input)
                    assert error is None, (template, shaped(model_input))
                    assert app.answered == number + 1
                assert app.refused <= 1, template

    assert len(TEMPLATES) * 50 >= 500
    run(test())


def test_two_turns_have_persona_rules_and_memory_in_common() -> None:
    rng = random.Random(3)
    for _ in range(50):
        memory = history(rng, rng.randrange(1, 8))
        first = shaped(built(rng, memory=memory, memory_size=100))
        again = shaped(built(rng, memory=memory, memory_size=100))
        if first[0].content == again[0].content:  # of one persona
            assert first[:-1] == again[:-1]


@pytest.mark.parametrize("memory_size", [1, 2, 3, 10])
@pytest.mark.parametrize("template", ["mistral-0.2", "gemma", "deepseek-reasoner", "claude"])
async def test_a_takeover_breaks_no_conversation(tmp_path: Path, template: str, memory_size: int) -> None:
    """Prompts, injected messages, takeovers, prompts left to operators and releases, in any order."""
    rng = random.Random(f"{template}{memory_size}")
    app = StubEndpoint(template=template)
    async with stub(app) as url, model_at(url) as model, gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"memory_size": memory_size})
        path = f"{chatbot}/conversations/c1"
        await api.say(chatbot, "Hello")
        for step in range(25):
            match rng.randrange(5):
                case 0:
                    await api.say(chatbot, "I will help.", user="client:eve")
                case 1:
                    assert (await api.post(f"{path}/takeover", {"operator": "eve"})).status == 200
                case 2:
                    assert (await api.post(f"{path}/release", {})).status == 200
                case _:
                    await api.say(chatbot, f"prompt {step}")
        await api.post(f"{path}/release", {})
        [reply] = await api.say(chatbot, "And now?")
        assert (reply["role"], reply["status"]) == ("assistant", "completed")
        assert all(message["error"] is None for message in await api.messages(chatbot) if message["role"] == "user")
    assert app.refused <= 1


# How much a model takes


def talk(turns: int, words: int = 100, passages: int = 3) -> ModelInput:
    memory = [("user" if turn % 2 == 0 else "assistant", f"{turn} " + "word " * words) for turn in range(turns)]
    sections = Sections("Sections:", tuple(f"[{number}] " + "fact " * words for number in range(passages)), "end")
    return told(SYSTEM, *memory, ("user", "Now?"), sections=sections)


def test_the_oldest_memory_is_left_out_first_then_the_worst_passages() -> None:
    model_input = talk(6)
    everything = fitting(model_input, 100_000, CHARACTERS_PER_TOKEN)
    assert everything == LeftOut()
    some = fitting(model_input, 1_300, CHARACTERS_PER_TOKEN)
    assert 0 < some.messages < 6 and some.passages == 0
    assert [text.split()[0] for _, text in form(model_input, left_out=some)[-2:]] == ["5", "Sections:"]
    less = fitting(model_input, 500, CHARACTERS_PER_TOKEN)
    assert less.messages == 6 and 0 < less.passages < 3
    last = form(model_input, left_out=less)[-1][1]
    assert "[0]" in last and "[2]" not in last and last.endswith("Now?")
    least = fitting(model_input, 10, CHARACTERS_PER_TOKEN)
    assert form(model_input, left_out=least) == [SYSTEM, ("user", "Sections:\nend\n\nNow?")]


@pytest.mark.parametrize("text", ["こんにちは" * 50, "你好世界" * 50, "안녕하세요" * 50])
def test_dense_scripts_count_a_token_a_character(text: str) -> None:
    assert tokens(text) >= len(text)


def test_two_hundred_long_turns_never_exceed_what_the_model_takes() -> None:
    """The endpoint counts a token every 2.5 characters, takes 4,000 and says so only in refusing more."""
    rng = random.Random(7)

    async def test() -> None:
        app = StubEndpoint(context_tokens=4_000)
        async with stub(app) as url, model_at(url) as model:
            memory: list[tuple[str, str]] = []
            for turn in range(200):
                text = " ".join(
                    rng.choice(("parcel", "Versandkosten", "größer", "配送", "x1y2")) for _ in range(rng.randrange(20, 400))
                )
                sections = Sections("Sections:", tuple(f"[{n}] " + text[:1500] for n in range(rng.randrange(4))), "end")
                _, error = await collect(model, told(SYSTEM, *memory[-100:], ("user", text), sections=sections))
                assert error is None, turn
                memory += [("user", text), ("assistant", text[:800])]
            assert app.refused <= 1, "it is learnt by one refusal"
            assert app.most_tokens <= 4_000

    run(test())


async def test_what_was_left_out_is_told_with_the_reply(tmp_path: Path) -> None:
    app = StubEndpoint(context_tokens=1_500)
    async with stub(app) as url, model_at(url) as model, gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"memory_size": 20})
        [first] = await api.say(chatbot, "Hello")
        assert "left_out" not in first["metadata"]
        for _ in range(4):
            [reply] = await api.say(chatbot, "word " * 300)
        assert reply["metadata"]["left_out"]["messages"] > 0
        assert reply["status"] == "completed"
    await asyncio.sleep(0)


def test_half_of_the_memory_is_left_out_once_where_no_number_is_told() -> None:
    async def test() -> None:
        app = StubEndpoint(context_tokens=900, tells_context=False)
        async with stub(app) as url, model_at(url) as model:
            events, error = await collect(model, talk(8, passages=0))
            assert error is None
            assert events[0] == LeftOut(4, 0)
            assert (app.refused, app.answered) == (1, 1)
            _, error = await collect(model, talk(30, passages=0))
            assert error is not None and error.code == "upstream_context_too_long"
            assert app.refused == 3

    run(test())
