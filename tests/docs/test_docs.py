"""The docs say what the program does: their commands run, their links lead somewhere, their tables are complete."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from gigachat_server import settings
from gigachat_server.api.openapi import error_codes
from gigachat_server.api.routes import ROUTES
from gigachat_server.app import make_model
from gigachat_server.auth import SCOPES
from gigachat_server.cli import COMMANDS
from gigachat_server.models.extractive import ExtractiveModel
from gigachat_server.models.hashing_embedder import HashingEmbedder
from gigachat_server.records import EventType
from tests.harness import Api, gigachat
from tests.models.embedder_weights import built_in_embedder
from tests.models.misbehaving_endpoint import GOOD, endpoint, http
from tests.models.test_anthropic import BODIES

ANTHROPIC_HELLO = BODIES["text"][0]
ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
}
WALKS = sorted(name for name, text in PAGES.items() if "```sh\n" in text)

# What the glossary of CONTRIBUTING.md calls by another name.
FOREIGN_WORDS = re.compile(
    r"\b(agents?|customers?|snippets?|dashboards?|plugins?|fragments?|hijack\w*|escalat\w*|msgs?|vectori[sz]er|"
    r"callbacks?|bots?|questions?|completions?)\b",
    re.IGNORECASE,
)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    """Without code and without what a link leads to."""
    page = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`\n]*`", "", page))


def anchors(page: str) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


async def walk(page: str, api: Api, home: Path) -> str:
    """Everything the page's `sh` blocks print, run as one script against this server. Fails where a command fails."""
    script = "\n".join(blocks(page, "sh")).replace("http://127.0.0.1:8000", api.url).replace("gca_...", api.key)
    (home / ".curlrc").write_text('fail-with-body\nmax-time = 30\nwrite-out = "\\n"\n')
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "CURL_HOME": str(home)},
        cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.parametrize("name", WALKS)
async def test_the_commands_of_a_page_run_as_printed(name: str, tmp_path: Path) -> None:
    async with gigachat(tmp_path / "data") as api:
        output = await walk(PAGES[name], api, tmp_path)
        assert '"code"' not in output, "no command is answered with a problem"


@pytest.mark.parametrize("name", ["docs/never-lose-a-message.md", "docs/follow-live.md"])
async def test_the_clients_of_a_page_work_as_printed(name: str, tmp_path: Path) -> None:
    (client,) = blocks(PAGES[name], "python")
    async with gigachat(tmp_path / "data") as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello", conversation="12345")
        for action, body in (("takeover", {"operator": "bob"}), ("release", None)):
            await api.post(f"{chatbot}/conversations/12345/{action}", body)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", client, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={"GIGACHAT": api.url, "KEY": api.key, "CHATBOT": chatbot.split("/")[-1]},
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert "Hi." in output.decode()


TABLES = blocks(PAGES["docs/connect-a-model.md"], "toml")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.split("]")[0].strip("["))
async def test_each_provider_of_the_guide_is_called_as_printed(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As printed but for the host, which is this machine here."""
    url = re.findall(r'^url = "https?://[^/"]+(/[^"]*)"$', table, re.MULTILINE)[0]
    is_anthropic = 'kind = "anthropic"' in table
    async with endpoint(http(ANTHROPIC_HELLO) if is_anthropic else GOOD) as here:
        file = tmp_path / "providers.toml"
        file.write_text(re.sub(r'^url = "https?://[^/"]+', f'url = "{here.url.removesuffix("/v1")}', table, flags=re.MULTILINE))
        for variable in re.findall(r'key_env = "(\w+)"', table):
            monkeypatch.setenv(variable, "sk-of-the-guide")
        model = make_model(settings.Settings(model_providers=str(file)), HashingEmbedder())
        async with gigachat(tmp_path / "data", model=model) as api:
            [reply] = await api.say(await api.chatbot(response={"model": table.split("]")[0].strip("[")}), "Hi")
        assert reply["content"] == "Hello"
        [request] = here.requests
        assert request.head.startswith(f"POST {url}{'/messages' if is_anthropic else '/chat/completions'} HTTP/1.1")
        assert ("sk-of-the-guide" in request.head) is ("key_env" in table)
        assert f'"{request.body["model"]}"' in table


def test_the_guide_has_a_table_for_ten_providers_and_more() -> None:
    assert len(TABLES) >= 10


@pytest.mark.weights
async def test_the_readme_shows_what_its_commands_print(tmp_path: Path) -> None:
    embedder = built_in_embedder()
    async with gigachat(tmp_path / "data", embedder=embedder, model=ExtractiveModel(embedder)) as api:
        output = await walk(PAGES["README.md"], api, tmp_path)
    shown = next(block for block in blocks(PAGES["README.md"], "text") if block.startswith("1 user"))
    for line in shown.strip().splitlines():
        assert line in output.splitlines(), output
    assert [line for line in output.splitlines() if line.startswith("event: ")][:2] == ["event: start", "event: delta"]
    assert output.count("event: done") == 1


@pytest.mark.weights
async def test_a_newcomer_is_told_by_the_docs(tmp_path: Path) -> None:
    """The sample chatbot's documents are these pages: the first prompts get the sentence that answers them."""
    expected = {
        "How do I push a document?": "You push a document with `POST /chatbots/{chatbot_id}/documents`",
        "How do I take over a conversation?": "You take over a conversation with `POST",
        "How do I send a prompt safely?": "with a fresh `Idempotency-Key` header",
        "How do I follow a conversation?": "by asking for its events with `Accept: text/event-stream`",
        "How do I connect a model?": "You connect a model by setting `GIGACHAT_MODEL_URL` and `GIGACHAT_MODEL`",
        "What does match_threshold mean?": "`match_threshold` is the least relevance, from 0 to 1",
        "What happens when no document matches?": "When no document matches, the chatbot refuses",
    }
    guides = ("push-documents", "take-over-a-conversation", "never-lose-a-message", "follow-live", "connect-a-model",
              "how-answers-are-made", "evaluate")  # fmt: skip
    embedder = built_in_embedder()
    async with gigachat(tmp_path / "data", embedder=embedder, model=ExtractiveModel(embedder)) as api:
        chatbot = await api.chatbot()
        for guide in guides:
            await api.push(chatbot, guide, PAGES[f"docs/{guide}.md"])
        for number, (prompt, sentence) in enumerate(expected.items()):
            (reply,) = await api.say(chatbot, prompt, conversation=str(number))
            assert sentence in reply["content"], prompt


def test_the_reference_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "write_api_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_reference_has_every_route_and_error() -> None:
    reference = PAGES["docs/api.md"]
    assert [f"{route.method} {route.path}" for route in ROUTES if f"### {route.method} {route.path}\n" not in reference] == []
    assert [code for code, status, _ in error_codes() if f"| `{code}` | {status} |" not in reference] == []


def test_the_table_of_events_is_complete() -> None:
    rows = re.findall(r"^\| (`[a-z_.`, ]+`) \| ", PAGES["docs/follow-live.md"], re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`([a-z]+\.[a-z_]+)`", row)]
    assert sorted(told) == sorted(get_args(EventType))


def test_every_setting_is_documented() -> None:
    page = PAGES.get("docs/settings.md")
    if page is None:
        pytest.skip("docs/settings.md is not written yet")
    assert [info.variable for info in settings.table() if f"| `{info.variable}` |" not in page] == []


def test_every_setting_that_a_page_names_exists() -> None:
    known = {info.variable for info in settings.table()}
    named = {(name, word) for name, text in PAGES.items() for word in re.findall(r"\bGIGACHAT_[A-Z_]+[A-Z]\b", text)}
    assert {(name, word) for name, word in named if word not in known} == set()


def test_every_command_and_scope_is_documented() -> None:
    assert [name for name in COMMANDS if f"`gigachat {name}`" not in PAGES["README.md"]] == []
    assert [scope for scope in SCOPES if f"`{scope}`" not in PAGES["docs/go-to-production.md"]] == []


@pytest.mark.parametrize("name", sorted(PAGES))
def test_links_lead_somewhere(name: str) -> None:
    page, folder = PAGES[name], (ROOT / name).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (folder / path).resolve() if path else ROOT / name
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", sorted(PAGES))
def test_json_in_the_docs_is_json(name: str) -> None:
    for block in blocks(PAGES[name], "json"):
        json.loads(block)


def test_paths_in_the_docs_exist() -> None:
    """Of the package, as `api/routes.py` or `chat/turn.py:Turns.start`; of the repository, as `tests/harness.py`."""
    missing = []
    for name, text in PAGES.items():
        for path, names in re.findall(r"`([a-z_]+(?:/[\w.]+)+\.py)(?::([\w.]+))?`", text):
            found = next((base / path for base in (ROOT / "src/gigachat_server", ROOT) if (base / path).is_file()), None)
            if found is None:
                missing.append(f"{name}: {path}")
            elif names:
                source = found.read_text(encoding="utf-8")
                missing += [
                    f"{name}: {path}:{part}" for part in names.split(".") if not re.search(rf"(def|class) {part}\b", source)
                ]
    assert missing == []


def test_the_layout_names_every_module() -> None:
    page = PAGES["docs/architecture.md"]
    whole = ("web/", "cli/", "bench/", "sample/")
    modules = [path.relative_to(ROOT / "src/gigachat_server").as_posix() for path in (ROOT / "src/gigachat_server").rglob("*.py")]
    unnamed = [
        path
        for path in modules
        if not path.endswith("__.py") and not path.startswith(whole) and f"{path.rpartition('/')[2]}`" not in page
    ]
    assert unnamed == []


def test_one_thing_has_one_word() -> None:
    """Pages for people; the rules themselves and the generated tables may name what they rule out."""
    found = {
        (name, match[0])
        for name, text in PAGES.items()
        if name not in ("CHANGELOG.md", "docs/settings.md", "docs/api.md")
        for match in FOREIGN_WORDS.finditer(prose(text))
    }
    assert found == set()


def test_no_page_names_a_machine() -> None:
    assert [name for name, text in PAGES.items() if re.search(r"(?<![\w.])/(home|root|work|tmp)/", text)] == []
