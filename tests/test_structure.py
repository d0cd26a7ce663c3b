"""The rules of the house that a program can hold."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import gigachat_server

ROOT = Path(gigachat_server.__file__).parent

# Imports go down this list only. Modules of one line may import each other, but never in a circle.
LAYERS = (
    ("cli", "bench", "evaluation", "__main__"),
    ("serving", "sample"),
    ("app",),
    ("api", "pages"),
    ("edge",),
    ("services",),
    ("learning",),
    ("chat",),
    ("knowledge",),
    ("access",),
    ("models", "store"),
    ("fetching", "work"),
    ("language", "records", "settings", "errors", "ids", "clock", "triggers"),
)
# An edge is where a failure of any kind must end in an answer or a state instead of a lost task.
EDGES = {
    "api/dispatch.py": 1,  # the application boundary
    "pages/dispatch.py": 1,  # the same for the pages
    "chat/turns/turn.py": 1,  # the turn's task
    "work/loop.py": 1,  # a pass of any background work
    "work/leased.py": 3,  # the claim of any row, the job on it, and what can be stored about it
    "learning/fixed_answers.py": 1,  # what an embedder raises for one phrasing among many
    "knowledge/extraction/child.py": 1,  # whatever a library raises for a file that is not as it should be
    "chat/turns/lifecycle.py": 1,  # one conversation among many at the start
    "store/engines/postgres.py": 1,  # what runs after a commit
    "store/engines/sqlite.py": 4,  # the writer's and the readers' threads, and what runs after a commit
}
# Where a `while` waits for time to pass, and why that is no background work: that is a `Loop` of `work/`, or a `Leased`.
WAITING = {
    "chat/feed.py": "a reader follows events until it leaves",
    "chat/turns/nodes.py": "one ending waits for another node's answer",
    "chat/turns/progress.py": "a reader follows a turn until it ends",
    "chat/turns/turn.py": "a turn that was settled elsewhere waits for its result",
    "knowledge/documents/watch.py": "a reader follows a document until it is ready",
    "knowledge/sites/crawl.py": "a crawl waits for pages to retry, under its lease",
    "knowledge/sites/sites.py": "a reader follows a crawl until it is over",
    "models/endpoints/chat_completions.py": "one call is tried again",
    "serving/server.py": "uvicorn's own main loop",
    "store/engines/postgres.py": "one transaction is tried again",
}
# Who begins a task, and who awaits it; a task that nobody awaits is begun by `observed`, which logs how it failed.
TASKS = {
    "api/sse.py": "both halves of one answer",
    "chat/turns/nodes.py": "the ends of paused turns, awaited together",
    "chat/turns/turn.py": "a turn, whose failure its watchers get",
    "knowledge/documents/text_vectors.py": "batches that are awaited in order",
    "knowledge/extraction/children.py": "the start of the forker, which everyone awaits who needs it",
    "knowledge/search/indexes.py": "an index that several searches await",
    "learning/replay.py": "prompts that are awaited together",
    "models/endpoints/openai_embedder.py": "a task group",
    "serving/server.py": "the server, which is awaited at the end",
    "store/copies/copying.py": "the batch that is read ahead",
    "store/engines/postgres.py": "statements that go on when their caller was cancelled",
    "work/tasks.py": "`observed` itself",
}
# Commands and measurements end with their process.
_COMMANDS = ("cli/", "bench/", "evaluation/")


@functools.cache
def modules() -> dict[str, ast.Module]:
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def imports_of(tree: ast.Module) -> set[str]:
    """Modules of ours that this one imports, also inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("gigachat_server.") for name in found if name.startswith("gigachat_server.")}


def layer_of(module: str) -> int | None:
    top = module.split(".")[0].split("/")[0].removesuffix(".py")
    return next((i for i, names in enumerate(LAYERS) if top in names), None)


def test_imports_go_one_way() -> None:
    wrong = [
        f"{path} imports {name}"
        for path, tree in modules().items()
        if path != "__init__.py"
        for name in imports_of(tree)
        if layer_of(name) is not None and (layer_of(path) or 0) > (layer_of(name) or 0)
    ]
    assert wrong == []


def test_every_module_has_a_layer() -> None:
    assert [path for path in modules() if path != "__init__.py" and layer_of(path) is None] == []


def test_there_are_no_import_cycles() -> None:
    paths = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in modules()}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        targets = set()
        for imported in imports_of(modules()[path]):
            while imported and imported not in paths:
                imported = imported.rpartition(".")[0]
            targets.add(imported)
        graph[name] = targets - {name, ""}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for target in graph.get(name, ()):
                visit(target, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_settings_reads_the_environment() -> None:
    readers = [path for path in modules() if re.search(r"os\.(environ|getenv)", (ROOT / path).read_text(encoding="utf-8"))]
    assert [path for path in readers if path != "settings.py" and not path.startswith("bench/")] == []


def test_everything_is_caught_at_the_edges_alone() -> None:
    found: dict[str, int] = {}
    for path, tree in modules().items():
        for node in ast.walk(tree):
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
            )
            reraised = broad and any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
            if broad and not reraised:
                found[path] = found.get(path, 0) + 1
    assert found == EDGES


def test_background_work_has_one_loop_policy() -> None:
    """What waits in a loop, or begins a task, is listed with its reason, or is in `work/`."""
    waiting, tasks = set(), set()
    for path, tree in modules().items():
        if path.startswith(_COMMANDS):
            continue
        whiles = [node for node in ast.walk(tree) if isinstance(node, ast.While)]
        if any(_calls(each, "sleep", "timeout", "is_set_within", "rest") for each in whiles) and not path.startswith("work/"):
            waiting.add(path)
        if _calls(tree, "create_task", "ensure_future"):
            tasks.add(path)
    assert waiting - WAITING.keys() == set()
    assert tasks - TASKS.keys() == set()


def test_every_loop_belongs_to_the_background_of_its_process() -> None:
    """So a test that goes through all of them misses none. Searching without a server and a store's connection run alone."""
    makers = {path for path, tree in modules().items() if _calls(tree, "Background", "Loop", "Leased")}
    assert makers == {"work/background.py", "app.py", "knowledge/search/store_search.py", "store/engines/wakeups.py"}


def _calls(tree: ast.AST, *names: str) -> bool:
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any((each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "")) in names for each in called)


def test_only_the_stores_and_the_wiring_know_which_database_runs() -> None:
    words = ("apsw", "asyncpg", "sqlite3", "postgres")
    knowing = {
        path
        for path in modules()
        if any(word in (ROOT / path).read_text(encoding="utf-8").lower() for word in words)
        and path.split("/")[0] in ("api", "pages", "edge", "chat", "learning", "knowledge", "access")
    }
    assert knowing == set()


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path, tree in modules().items() if not ast.get_docstring(tree) and (ROOT / path).stat().st_size]
    assert silent == []


def test_nothing_is_unpickled_or_evaluated() -> None:
    banned = ("pickle", "marshal", "shelve", "yaml")
    importing = [f"{path}: {node.names[0].name}" for path, tree in modules().items() for node in ast.walk(tree)
                 if isinstance(node, ast.Import) and node.names[0].name in banned]  # fmt: skip
    calls = [path for path, tree in modules().items() for node in ast.walk(tree)
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec")]  # fmt: skip
    assert (importing, calls) == ([], [])


def test_nothing_waits_with_wait_for() -> None:
    """In Python 3.11 it may miss being cancelled at the moment when it is woken, and then a server never ends."""
    found = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "wait_for"
    }
    assert found == set()
