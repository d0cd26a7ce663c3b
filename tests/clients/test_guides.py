"""The code of the guides at work with the packages that it names. `make test-clients`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from gigachat_server.models.fake import ScriptedModel
from tests.clients import test_ai_sdk
from tests.clients.programs import output, python_with, with_packages
from tests.clients.test_ai_sdk import VERSIONS, Scripts, conversing, has_assistant, packages_of
from tests.clients.test_mcp_clients import PYTHON, TYPESCRIPT
from tests.docs.test_docs import PAGES, blocks
from tests.harness import gigachat

pytestmark = test_ai_sdk.pytestmark

HERE = Path(__file__).parent
OPTIONS = (
    "--noEmit", "--strict", "--jsx", "react-jsx", "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022",
    "--skipLibCheck", "--lib", "es2022,dom,dom.iterable", "--types", "node",
)  # fmt: skip


def files_of(page: str) -> dict[str, str]:
    """The blocks that begin with the name of a file."""
    return dict(re.findall(r"^```\w+\n// ([\w./\[\]-]+)\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_pages_of_the_guide_to_the_ai_sdk(tmp_path: Path, version: int) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    files = files_of("docs/guides/use-the-ai-sdk.md")
    assert [*files] == ["app/api/chat/[[...path]]/route.ts", "app/chat.tsx", "app/assistant.tsx", "deep-chat.js"]
    for name, code in files.items():
        if name != "app/assistant.tsx" or has_assistant(version):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(code)
    shutil.copy(HERE / "ui" / "guide.mjs", folder)
    page = (HERE / "ui" / "assistant-page.mjs").read_text() if has_assistant(version) else "export const assistant = undefined;\n"
    (folder / "assistant-page.js").write_text(page)
    await with_packages(folder, packages_of(version))
    programs = folder / "node_modules" / ".bin"
    typed = [name for name in files if name.endswith(("ts", "tsx")) and (folder / name).exists()]
    await output(folder, programs / "tsc", *OPTIONS, *typed)
    bundling = ("--bundle", "--platform=node", "--format=esm", "--packages=external", "--jsx=automatic", "--log-level=error")
    await output(folder, programs / "esbuild", "guide.mjs", *bundling, "--outfile=bundled.mjs")
    scripts = Scripts()
    async with gigachat(tmp_path, model=ScriptedModel(scripts)) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "https://example.com/hours", "The museum opens at nine in the morning.")

        async def act(wanted: dict[str, str]) -> None:
            scripts.pauses[wanted["resume"]].resume()

        variables = {"GIGACHAT": api.url, "KEY": api.key, "CHATBOT": chatbot.rpartition("/")[2]}
        await conversing(folder, "node", "bundled.mjs", acts=act, **variables)
        listed = (await api.get(f"{chatbot}/conversations")).body
        assert {each["conversation_id"].partition(":")[0] for each in listed} == {"ann%40example.com"}
        assert {each["user_id"] for each in listed} == {"ann@example.com"}


async def test_the_programs_of_the_guide_to_mcp(tmp_path: Path) -> None:
    page = "docs/guides/connect-an-agent-by-mcp.md"
    python, folder = await python_with(PYTHON), tmp_path / "programs"
    folder.mkdir()
    (folder / "ask.py").write_text(blocks(PAGES[page], "python")[0])
    (folder / "ask.mjs").write_text(files_of(page)["ask.mjs"])
    await with_packages(folder, TYPESCRIPT)
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        variables = {"GIGACHAT": api.url, "KEY": api.key, "CHATBOT": chatbot.rpartition("/")[2]}
        printed = await output(folder, python, "ask.py", **variables)
        assert "'ask', 'search_documents'" in printed and "Hi." in printed
        assert "Hi." in await output(folder, "node", "ask.mjs", **variables)
        assert [each["user_id"] for each in (await api.get(f"{chatbot}/conversations")).body] == ["ann@example.com"] * 2


async def test_claude_desktops_configuration(tmp_path: Path) -> None:
    python, folder = await python_with(PYTHON), tmp_path / "desktop"
    folder.mkdir()
    shutil.copy(HERE / "mcp" / "desktop.py", folder)
    configuration = next(each for each in blocks(PAGES["docs/guides/connect-an-agent-by-mcp.md"], "json") if "mcp-remote" in each)
    async with gigachat(tmp_path) as api:
        await api.chatbot()
        there = configuration.replace("https://chat.example.com", api.url).replace("gca_...", api.key)
        (folder / "configuration.json").write_text(there)
        printed = await output(folder, python, "desktop.py", "configuration.json", MCP_REMOTE_CONFIG_DIR=str(folder))
        *tools, reply = json.loads(printed)
        assert (len(tools), reply.partition("\n")[0]) == (8, "Hi.")
