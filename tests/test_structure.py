"""The rules of the house that a program can hold."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import gigachat_server
from gigachat_server.access.scopes import Scope

ROOT = Path(gigachat_server.__file__).parent

# Imports go down this list only. Modules of one line may import each other, but never in a circle.
LAYERS = (
    ("cli", "bench", "evaluation", "__main__"),
    ("serving", "sample"),
    ("app", "assembly", "configured"),
    ("widget",),
    ("api", "pages"),
    ("edge",),
    ("services",),
    ("learning", "inbox"),
    ("chat",),
    ("knowledge",),
    ("access",),
    ("models", "store"),
    ("fetching", "work"),
    ("language", "records", "settings", "errors", "ids", "clock", "triggers"),
)
# An edge is where a failure of any kind must end in an answer or a state instead of a lost task.
EDGES = {
    "edge/frame.py": 1,  # the application boundary
    "chat/turns/turn.py": 2,  # the turn's task, and storing that it failed
    "work/loop.py": 1,  # a pass of any background work
    "work/leased.py": 3,  # the claim of any row, the job on it, and what can be stored about it
    "learning/fixed_answers.py": 1,  # what an embedder raises for one phrasing among many
    "knowledge/extraction/child.py": 1,  # whatever a library raises for a file that is not as it should be
    "chat/turns/lifecycle.py": 1,  # one conversation among many at the start
    "serving/exchange.py": 1,  # the process boundary: what the application itself missed
    "store/engines/postgres.py": 1,  # what runs after a commit
    "store/engines/sqlite.py": 5,  # the writer's and the readers' threads, and what runs after a commit
}
# Where a `while` waits for time to pass, and why that is no background work: that is a `Loop` of `work/`, or a `Leased`.
WAITING = {
    "edge/moments.py": "requests wait for their moment of the event loop",
    "serving/unread_answers.py": "connections wait for their readers",
    "chat/feed.py": "a reader follows events until it leaves",
    "chat/turns/nodes.py": "one ending waits for another node's answer",
    "inbox/overview.py": "a page follows the inbox until it leaves",
    "inbox/presence.py": "a page shows that its operator is there until it leaves",
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
    "serving/connection.py": "one request; its exchange logs how it failed",
    "api/sse.py": "both halves of one answer",
    "chat/turns/nodes.py": "the ends of paused turns, awaited together",
    "chat/turns/turn.py": "a turn, whose failure its watchers get",
    "knowledge/documents/text_vectors.py": "batches that are awaited in order",
    "knowledge/extraction/children.py": "the start of the forker, which everyone awaits who needs it",
    "knowledge/search/indexes.py": "an index that several searches await",
    "learning/replay.py": "prompts that are awaited together",
    "models/endpoints/openai_embedder.py": "a task group",
    "pages/merged.py": "the next item of each stream, awaited together",
    "serving/server.py": "the server, which is awaited at the end",
    "store/copies/copying.py": "the batch that is read ahead",
    "store/engines/postgres.py": "statements that go on when their caller was cancelled",
    "store/engines/postgres_connect.py": "hosts that are tried at the same time",
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


def import_graph() -> tuple[dict[str, set[str]], dict[str, str]]:
    """Which of our modules each imports, and the path of each."""
    paths = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in modules()}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        targets = set()
        for imported in imports_of(modules()[path]):
            while imported and imported not in paths:
                imported = imported.rpartition(".")[0]
            targets.add(imported)
        graph[name] = targets - {name, ""}
    return graph, paths


def test_there_are_no_import_cycles() -> None:
    graph, _ = import_graph()
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for target in graph.get(name, ()):
                visit(target, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def folders_of(name: str, path: str) -> list[tuple[str, ...]]:
    """The folder of a module and all above it, but for the package's own."""
    parts = tuple(name.split("."))
    own = parts if path.endswith("__init__.py") else parts[:-1]
    return [own[:depth] for depth in range(1, len(own) + 1)]


def crossings(graph: dict[str, set[str]], paths: dict[str, str]) -> dict[tuple[tuple[str, ...], tuple[str, ...]], str]:
    """By pair of folders of which neither is in the other, at any depth: an import from the first to the second."""
    return {
        (here, there): f"{importing} imports {imported}"
        for importing, targets in graph.items()
        for imported in targets
        for here in folders_of(importing, paths[importing])
        for there in folders_of(imported, paths[imported])
        if here != there[: len(here)] and there != here[: len(there)]
    }


def mutual(graph: dict[str, set[str]], paths: dict[str, str]) -> list[tuple[str, str]]:
    """For each pair of folders that imports both ways, one import of each way."""
    found = crossings(graph, paths)
    return sorted((found[pair], found[pair[::-1]]) for pair in found if pair < pair[::-1] and pair[::-1] in found)


def test_no_two_folders_import_each_other() -> None:
    assert mutual(*import_graph()) == []


def test_two_folders_that_import_each_other_are_found_at_any_depth() -> None:
    paths = {name: f"{name.replace('.', '/')}.py" for name in ("a.x.one", "a.y.two", "a.y.z.three", "b.four", "b.c.five", "six")}
    for graph, count in (
        ({"a.x.one": {"a.y.two"}, "a.y.z.three": {"a.x.one"}}, 1),  # a.x and a.y, though no two modules do
        ({"a.x.one": {"b.four"}, "b.c.five": {"a.y.two"}}, 1),  # a and b
        ({"a.y.two": {"a.y.z.three"}, "a.y.z.three": {"a.y.two"}}, 0),  # a folder and one in it
        ({"a.x.one": {"six"}, "six": {"a.x.one"}}, 0),  # a module beside the folders is in none
        ({"a.x.one": {"a.y.two", "b.four"}, "a.y.two": {"b.four"}}, 0),
    ):
        assert len(mutual(graph, paths)) == count, graph


MOST_LINES = 60  # of a function

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
NAMED = (*FUNCTION, ast.ClassDef)


def functions_of(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """All of a module, also those within others, by their qualified name."""

    def visit(node: ast.AST, above: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FUNCTION):
                yield f"{above}{child.name}", child
            yield from visit(child, f"{above}{child.name}." if isinstance(child, NAMED) else above)

    return visit(tree, "")


def test_no_function_is_long() -> None:
    """Its signature and docstring count; decorators do not."""
    long = {
        f"{path}:{name}"
        for path, tree in modules().items()
        for name, function in functions_of(tree)
        if (function.end_lineno or 0) - function.lineno + 1 > MOST_LINES
    }
    assert long == set()


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


# What ways in may know of what is behind the front door (`chat/conversations.py`): the types of what it hands out.
_OF_THE_FRONT_DOOR = {
    "FeedDelta",  # what a follower is told, to be written as Server-Sent Events
    "FeedEvent",
    "FeedTyping",  # who is writing, likewise
    "Place",  # where a follower goes on, read from its Last-Event-ID
    "ReplyPiece",  # words of a running turn, to be written as an event
    "TurnHandle",  # a turn, to be watched until it ends
    "TurnResult",  # the messages that a turn ended with, to be shaped
}
_BEHIND_THE_FRONT_DOOR = ("chat.turns", "chat.answers", "chat.feed", "chat.erasure", "store.conversations", "store.messages")


def test_every_way_in_reaches_conversations_through_the_front_door() -> None:
    around = [
        f"{path} imports {name}"
        for path, tree in modules().items()
        if path.split("/")[0] in ("api", "pages", "edge", "widget")
        for name in imports_of(tree)
        if any(name == behind or name.startswith(behind + ".") for behind in _BEHIND_THE_FRONT_DOOR)
        and not (name.startswith("chat.") and name.rpartition(".")[2] in _OF_THE_FRONT_DOOR)
    ]
    assert around == []


def test_no_way_in_takes_what_is_behind_the_front_door_from_the_services() -> None:
    """Nor opens a transaction: what a request changes, a use case changes."""
    behind = {"turns", "control", "feed", "erasure", "events"}
    around = [
        f"{path}:{node.lineno} uses {node.attr}"
        for path, tree in modules().items()
        if path.split("/")[0] in ("api", "pages", "edge", "widget")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            (node.attr in behind and isinstance(node.value, ast.Name | ast.Attribute) and _last_name(node.value) == "services")
            or node.attr == "transaction"
        )
    ]
    assert around == []


def _last_name(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


# Elsewhere `scopes` are the data of a key: its column, its body, its wire form.
_SCOPES_AS_DATA = {"store/keys.py", "api/keys.py", "api/wire.py"}


def test_only_access_reads_what_a_principal_may() -> None:
    """Others ask: `principal.require(Scope.X)`, `principal.may(Scope.X)`."""
    reading = {
        path
        for path, tree in modules().items()
        if not path.startswith("access/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "scopes"
    }
    assert reading - _SCOPES_AS_DATA == set()
    spelt = {scope.value for scope in Scope}
    strings = [
        f"{path}:{node.lineno} {node.value}"
        for path, tree in modules().items()
        if path not in ("access/scopes.py",) and not path.startswith("cli/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in spelt
    ]
    strings += [
        f"{path.name}: {scope}"
        for path in (ROOT / "pages/templates").rglob("*.html")
        for scope in spelt
        if scope in path.read_text()
    ]
    assert strings == []


def test_http_is_the_name_of_no_module_of_ours() -> None:
    """It means Python's, or the protocol."""
    assert [path for path in modules() if path.rpartition("/")[2] == "http.py"] == []


def test_a_transaction_is_never_given_a_callback_of_a_way_in() -> None:
    """A use case gets an idempotency key, a value, and keeps its result under it."""
    giving = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        if path.split("/")[0] in ("api", "pages", "edge", "widget")
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef) and any(_names_tx(argument) for argument in node.args.args)
    ]
    assert giving == []


def _names_tx(argument: ast.arg) -> bool:
    return argument.arg == "tx" or (isinstance(argument.annotation, ast.Name) and argument.annotation.id == "Tx")
