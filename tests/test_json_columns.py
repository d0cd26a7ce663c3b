"""What is read of a JSON column that another version wrote, and what is left of it when it is written back."""

from __future__ import annotations

import json
import logging
import random
from typing import Any

import msgspec
import pytest

from gigachat_server.knowledge.extraction.extracted import Place
from gigachat_server.records import ChatbotConfig, Citation, Feedback, ResponseConfig, RestrictionsConfig, Source
from gigachat_server.store.chatbots import _CONFIG as CONFIG
from gigachat_server.store.json_columns import AsStored, JsonColumn

CLOSED = RestrictionsConfig.unreadable()
PLACES: JsonColumn[list[Place]] = JsonColumn("places", list[Place], otherwise=list)
CITATIONS: JsonColumn[tuple[Citation, ...]] = JsonColumn("citations", tuple[Citation, ...], otherwise=tuple)
NUMBERED: JsonColumn[tuple[Citation, ...]] = JsonColumn("numbered", tuple[Citation, ...], otherwise=tuple, is_numbered=True)
TEXTS: JsonColumn[tuple[str, ...]] = JsonColumn("texts", tuple[str, ...], otherwise=tuple)
DATA: JsonColumn[dict[str, Any]] = JsonColumn("data", dict[str, Any], otherwise=dict)


def citation(number: int) -> dict[str, Any]:
    return {"number": number, "start": 0, "end": 1, "marker_start": 2, "marker_end": 3}


@pytest.mark.parametrize(
    ("stored", "changes"),
    [
        ({"later": 1}, {}),
        ({"response": {"later": {"deep": [{"er": None}]}}, "voice": {"on": True}}, {}),
        ({"documents": {"results": {"later": 1, "match_count": 7}, "later": 2}}, {"documents.results.match_count": 7}),
        ({"response": {"n": 9, "memory_size": 5000, "temperature": 2.5}},
         {"response.n": 9, "response.memory_size": 5000, "response.temperature": 2.5}),
        ({"response": {"n": 0, "memory_size": -1, "presence_penalty": -9}},
         {"response.n": 1, "response.memory_size": 0, "response.presence_penalty": -2.0}),
        ({"response": {"system_persona": "x" * 40_000}}, {"response.system_persona": "x" * 40_000}),
        ({"response": {"overlap": "steer", "reasoning_effort": "maximal"}}, {}),
        ({"response": {"n": "many", "stream": 1, "model": ["a"], "max_tokens": None}}, {}),
        ({"response": {"n": True}}, {}),
        ({"response": {"n": 2.0, "top_p": 1}}, {"response.n": 2, "response.top_p": 1.0}),
        ({"response": {"timeout_s": 0}}, {}),
        ({"response": {"model": ""}}, {}),
        ({"response": {"omit": ["seed", "temperature"]}}, {"response.omit": ("temperature",)}),
        ({"response": {"fallback_models": ["a", "b", "c", "d"]}}, {"response.fallback_models": ("a", "b", "c", "d")}),
        ({"response": [1]}, {}),
        ({"documents": None, "interception": "all"}, {}),
        ({"interception": {"mode": "observe", "handoff": True}}, {"interception.handoff": True}),
        ({"documents": {"text_splitter": {"chunk_size": 10, "chunk_overlap": 5}}},
         {"documents.text_splitter.chunk_size": 50, "documents.text_splitter.chunk_overlap": 5}),
    ],
)  # fmt: skip
def test_of_a_configuration_is_read_what_is_known(stored: dict[str, Any], changes: dict[str, Any]) -> None:
    assert CONFIG.read(json.dumps(stored), "a row") == with_changes(ChatbotConfig(), changes)


def with_changes(config: Any, changes: dict[str, Any]) -> Any:
    for path, value in changes.items():
        config = _with(config, path.split("."), value)
    return config


def _with(struct: Any, names: list[str], value: Any) -> Any:
    inner = value if len(names) == 1 else _with(getattr(struct, names[0]), names[1:], value)
    return msgspec.structs.replace(struct, **{names[0]: inner})


@pytest.mark.parametrize(
    ("restrictions", "read"),
    [
        ({}, RestrictionsConfig()),
        ({"countries": ["DE"]}, RestrictionsConfig()),
        ({"hostnames": ["a.example", {"name": "b.example"}]}, RestrictionsConfig(hostnames=("a.example",))),
        ({"hostnames": ["a.example"] * 200}, RestrictionsConfig(hostnames=("a.example",) * 200)),
        ({"hostnames": [{"name": "b.example"}]}, CLOSED),
        ({"hostnames": {"b.example": True}}, CLOSED),
        ({"hostnames": None, "ip_addresses": []}, CLOSED),
        ({"ip_addresses": [1, 2]}, CLOSED),
        ([], CLOSED),
        (None, CLOSED),
        ("open", CLOSED),
    ],
)
def test_restrictions_that_cannot_be_read_let_nobody_in(restrictions: Any, read: RestrictionsConfig) -> None:
    assert CONFIG.read(json.dumps({"restrictions": restrictions}), "a row").restrictions == read


@pytest.mark.parametrize("stored", ["", "{", "[]", "null", "7", '"{}"', "[" * 5000])
def test_a_configuration_that_tells_nothing_lets_nobody_in(stored: str) -> None:
    assert CONFIG.read(stored, "a row") == ChatbotConfig(restrictions=CLOSED)


@pytest.mark.parametrize(
    ("column", "stored", "read"),
    [
        (CITATIONS, [citation(1), {"url": "https://a.example"}, citation(2)], [1, 2]),
        (CITATIONS, [citation(1) | {"later": 1}, citation(2) | {"start": "x"}], [1]),
        (CITATIONS, {"all": []}, []),
        (NUMBERED, [citation(1), {"url": "https://a.example"}, citation(3)], [1]),
        (NUMBERED, [{"url": "https://a.example"}, citation(2)], []),
    ],
)
def test_of_a_list_is_read_what_can_be(column: JsonColumn[tuple[Citation, ...]], stored: Any, read: list[int]) -> None:
    assert [each.number for each in column.read(json.dumps(stored), "a row")] == read


@pytest.mark.parametrize(
    ("column", "stored", "read"),
    [
        (PLACES, [[0, 1], [5, 2, "h", "later"], [9]], [Place(0, 1), Place(5, 2, "h"), Place(9)]),
        (PLACES, [[0, 1], [5, "ii"], {"at": 7}, [], ["x"], [8, 2]], [Place(0, 1), Place(5), Place(8, 2)]),
        (PLACES, {"lines": []}, []),
        (TEXTS, ["/a", {"pattern": "/b"}], ("/a",)),
        (TEXTS, "*", ()),
        (DATA, {"a": {"b": 1}}, {"a": {"b": 1}}),
        (DATA, [1], {}),
    ],
)
def test_other_columns_read_what_can_be(column: JsonColumn[Any], stored: Any, read: Any) -> None:
    assert column.read(json.dumps(stored), "a row") == read


LATER = (
    '{"response":{"n":9,"overlap":"steer","omit":["seed","n"],"later":[1.50, 12345678901234567890123]},'
    '"voice":{"a" : 1e2},"restrictions":[]}'
)


def test_a_rewrite_changes_what_is_changed_and_nothing_else() -> None:
    was = CONFIG.read(LATER, "a row")
    written = CONFIG.rewrite(LATER, with_changes(was, {"response.temperature": 0.1, "documents.results.match_count": 5}), "a row")
    after, before = json.loads(written), json.loads(LATER)
    assert (after["response"].pop("temperature"), after["documents"]["results"]["match_count"]) == (0.1, 5)
    assert after["response"] | before["response"] == after["response"]
    assert (after["voice"], after["restrictions"]) == (before["voice"], before["restrictions"])
    assert '"later":[1.50, 12345678901234567890123]' in written and '"voice":{"a" : 1e2}' in written, "byte for byte"
    assert CONFIG.read(written, "a row").response == msgspec.structs.replace(was.response, temperature=0.1)


def test_what_is_changed_replaces_what_could_not_be_read() -> None:
    was = CONFIG.read(LATER, "a row")
    changes = {"response.overlap": "reject", "response.n": 2, "response.omit": (), "restrictions.hostnames": ("a.example",)}
    after = json.loads(CONFIG.rewrite(LATER, with_changes(was, changes), "a row"))
    assert [after["response"][name] for name in ("overlap", "n", "omit")] == ["reject", 2, []]
    assert after["restrictions"] == {"hostnames": ["a.example"], "ip_addresses": list(CLOSED.ip_addresses)}


def test_a_missing_field_is_written_with_its_value() -> None:
    """A later version may have another default: what this one answered with stays so."""
    written = json.loads(CONFIG.rewrite("{}", ChatbotConfig(), "a row"))
    assert written == json.loads(msgspec.json.encode(ChatbotConfig()))


def test_any_config_of_a_later_version_is_written_back_whole() -> None:
    chance = random.Random(7)
    for _ in range(300):
        stored = _grown(json.loads(msgspec.json.encode(ChatbotConfig())), chance)
        text = json.dumps(stored)
        read = CONFIG.read(text, "a row")
        assert holds(json.loads(CONFIG.rewrite(text, read, "a row")), stored)
        after = json.loads(CONFIG.rewrite(text, with_changes(read, {"response.temperature": 1.25}), "a row"))
        if isinstance(stored["response"], dict):
            assert after["response"]["temperature"] == 1.25
            stored["response"].pop("temperature", None)
            assert holds(after, stored)


def holds(after: Any, before: Any) -> bool:
    """Whether all of it is there; in objects there may be more."""
    if isinstance(before, dict):
        return isinstance(after, dict) and all(name in after and holds(after[name], each) for name, each in before.items())
    return type(after) is type(before) and bool(after == before)


def _grown(value: Any, chance: random.Random) -> Any:
    """Odd values of a later version here and there, at any depth."""
    odd: tuple[Any, ...] = ("later", -5, 10**12, 2.5, None, True, [], [1, "a"], {}, {"x": {"y": 1}}, "", "x" * 300)
    if not isinstance(value, dict):
        return chance.choice(odd) if chance.random() < 0.1 else value
    grown = {name: chance.choice(odd) if chance.random() < 0.03 else _grown(each, chance) for name, each in value.items()}
    return {**grown, **{f"later_{number}": chance.choice(odd) for number in range(chance.randrange(3))}}


def test_a_list_read_from_one_row_is_written_into_another_as_it_was_stored() -> None:
    stored = json.dumps([citation(1) | {"later": 1}, {"url": "https://a.example"}])
    read = AsStored.of(CITATIONS.read(stored, "a row"), stored)
    assert (len(read), CITATIONS.write(read)) == (1, stored)
    assert CITATIONS.write(tuple(read)) == json.dumps([citation(1)], separators=(",", ":"))


def test_what_was_misread_is_logged_once_with_its_place_and_no_value(caplog: pytest.LogCaptureFixture) -> None:
    column = JsonColumn("chatbots.config", ChatbotConfig, otherwise=ChatbotConfig)
    stored = json.dumps({"response": {"overlap": "a secret"}, "later": 1})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            column.read(stored, "row-of-this-test")
            column.read('{"later": 1}', "another")
    (record,) = caplog.records
    assert "row-of-this-test" in record.getMessage() and "response.overlap" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_the_types_stay_strict_for_requests() -> None:
    for kind, body in [(ResponseConfig, {"later": 1}), (ResponseConfig, {"n": 9}), (Feedback, {"rating": "up", "later": 1})]:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(body, kind)


def test_a_source_of_a_later_version_is_a_source() -> None:
    column: JsonColumn[tuple[Source, ...]] = JsonColumn("sources", tuple[Source, ...], otherwise=tuple, is_numbered=True)
    source = Source("i", "d", "doc", 0, "text", 1, 1, 0.5, 1, 2)
    stored = json.dumps([msgspec.to_builtins(source) | {"later": 1}])
    assert column.read(stored, "a row") == (source,)
