"""Write what the Python client takes from the server: types, errors, calls, and its sync half: write_client_types.py [--check].

Idea: what the API says is made from `ROUTES` and the OpenAPI document, how it is spoken to is written by hand, once and
asynchronously; `unasync` makes the synchronous half of it. Invariant: running this changes nothing, or a test fails.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any

import unasync

from gigachat_server.api.openapi import openapi_json
from gigachat_server.api.problem_schemas import error_classes
from gigachat_server.api.routes import ROUTES, UI, ApiRoute
from gigachat_server.errors import GigachatError

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "clients/python/src/gigachat_client"
TYPESCRIPT = ROOT / "clients/typescript"
_MADE = "# Made by tools/write_client_types.py: change the server, or that, and run `make docs`.\n"
_SYNC = {
    "AsyncGigachat": "Gigachat",
    "AsyncClient": "Client",
    "async_pause": "sync_pause",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_bytes": "iter_bytes",
    "aread": "read",
    "_async": "_sync",
    "asynchronous": "synchronous",
}

Schema = dict[str, Any]


# --- types ---

TYPES = '''\
"""What the API takes and gives, as structs. `...Input` is what is sent: a field that is left out keeps its default.

What is answered may have more fields and choices with a later server: they are passed over, and choices are any text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import UNSET, Struct, UnsetType

if TYPE_CHECKING:
    from typing import Literal as Choice
else:

    class Choice:
        """For type checkers the values that this version knows; when decoded, any text."""

        def __class_getitem__(cls, known: Any) -> type:
            return str

'''


# The routes of other clients' protocols are theirs.
OFFERED = [route for route in ROUTES if not route.path.startswith(UI) and not route.is_openai]


def name_of(component: str) -> str:
    return component.removeprefix("Wire")


def annotation(schema: Schema, *, is_sent: bool, module: str = "") -> str:
    """The Python type of a schema; `module` is what our structs are called by there."""
    inner = functools.partial(annotation, is_sent=is_sent, module=module)
    if "$ref" in schema:
        return module + name_of(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " | ".join(map(inner, schema["anyOf"]))
    if "enum" in schema:
        return f"{'Literal' if is_sent else 'Choice'}[{', '.join(map(repr, schema['enum']))}]"
    if "type" not in schema:
        return "Any"
    if schema["type"] == "array":
        return f"list[{inner(schema['items'])}]"
    if schema["type"] == "object":
        values = schema["additionalProperties"]
        return f"dict[str, {'Any' if values is True else inner(values)}]"
    return {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}[schema["type"]]


def identifier(name: str) -> str:
    """What stands for it in Python."""
    return f"{name}_" if iskeyword(name) else name.replace("-", "_")


def struct(component: str, schema: Schema) -> Iterator[str]:
    is_sent = "additionalProperties" in schema
    properties, required = schema["properties"], schema.get("required", ())
    renamed = {identifier(name): name for name in properties if identifier(name) != name}
    options = f", rename={renamed}" if renamed else ""
    yield f"class {name_of(component)}(Struct, frozen=True, kw_only=True{options}):"
    if description := schema.get("description"):
        yield from _docstring(description)
    for name, described in properties.items():
        kind = annotation(described, is_sent=is_sent)
        yield f"    {identifier(name)}: {kind}" + ("" if name in required else " | UnsetType = UNSET")
        if note := described.get("description"):
            yield from _docstring(note)
    yield "\n"


def _docstring(text: str) -> Iterator[str]:
    text = " ".join(text.replace("\\", "\\\\").replace('"""', "'''").split())
    room = 120
    if len(text) <= room:
        yield f'    """{text}{" " if text.endswith(chr(34)) else ""}"""'
        return
    words, lines = text.split(" "), [""]
    for word in words:
        if len(lines[-1]) + len(word) > room:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    yield f'    """{lines[0]}'
    yield from (f"    {line}" for line in lines[1:])
    yield '    """'


def offered_components(document: Schema) -> set[str]:
    """What the routes that are offered speak of, directly or not."""
    waiting = {name for route in OFFERED for name in _components_in(document["paths"][route.path][route.method.lower()])}
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= _components_in(document["components"]["schemas"].get(name, {})) - found
    return found


def _components_in(described: Any) -> set[str]:
    return set(re.findall(r"#/components/schemas/(\w+)", json.dumps(described)))


def types_module(document: Schema) -> str:
    spoken_of = offered_components(document)
    components = {
        name: schema for name, schema in document["components"]["schemas"].items() if "properties" in schema and name in spoken_of
    }
    names = [name_of(name) for name in components]
    assert len(set(names)) == len(names), "two components would have one name"
    lines = [line for name, schema in components.items() for line in struct(name, schema)]
    return _MADE + TYPES + "\n" + "\n".join(lines)


# --- errors ---

ERRORS = '''\
"""One class for each `code` that the API answers with: catch what you can act on, by class. A later code is an `ApiError`."""

from __future__ import annotations

from gigachat_client.problems import ApiError
'''


def error_name(kind: type[GigachatError]) -> str:
    return "InternalError" if kind is GigachatError else kind.__name__


def errors_module() -> str:
    kinds = error_classes()
    lines = [_MADE + ERRORS]
    for kind in kinds:
        base = "ApiError" if GigachatError in (kind, *kind.__bases__) else error_name(kind.__bases__[0])
        lines += ["", f"class {error_name(kind)}({base}):", *_docstring(kind.message), f'    code = "{kind.code}"', ""]
    lines += ["", "BY_CODE: dict[str, type[ApiError]] = {"]
    lines += [f'    "{kind.code}": {error_name(kind)},' for kind in kinds]
    return "\n".join([*lines, "}", ""])


# --- calls ---

CALLS = '''\
"""Every call of the API, by what it is about. Long lists come as pages that are fetched as you go through them.

Vectors are left out of answers unless you say `embedding=True`. A POST has an `idempotency_key` of its own; pass one that you
keep if the call may have to be repeated by another process.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from gigachat_client import types
from gigachat_client._async.transport import AsyncPages, AsyncTransport
from gigachat_client.requests import Call, path
'''


def of_account(schema: Schema) -> Schema:
    """Where end users send or get less than the account does: what the account does. The client is for servers, with a key."""
    first: Schema = schema["anyOf"][0] if "anyOf" in schema else schema
    return first


class _Operation:
    """A route as a method."""

    def __init__(self, route: ApiRoute, described: Schema, components: Schema) -> None:
        self.route = route
        self.tag = described["tags"][0]
        self._described = described
        self._body: Schema = {}
        self._body_name = ""
        if "requestBody" in described:
            reference = of_account(described["requestBody"]["content"]["application/json"]["schema"])["$ref"]
            self._body_name = reference.rpartition("/")[2]
            self._body = components[self._body_name]
        success = described["responses"][str(route.status)].get("content", {}).get("application/json")
        self._answer = "None" if success is None else annotation(of_account(success["schema"]), is_sent=False, module="types.")

    def lines(self) -> Iterator[str]:
        is_list = self.route.is_list
        given = [f"{name}: str" for name in self._in_path()]
        named = [*self._body_parameters(), *self._query_parameters()]
        if self.route.is_idempotent:
            named.append("idempotency_key: str | None = None")
        named.sort(key=lambda parameter: " = " in parameter)
        signature = ", ".join(["self", *given, *(["*"] if named else []), *named])
        answer = f"AsyncPages[{self._answer[5:-1]}]" if is_list else self._answer
        yield f"    {'' if is_list else 'async '}def {self.route.handler.__name__}({signature}) -> {answer}:"
        yield f'        """{self.route.summary}."""'
        if self._body_name:
            fields = ", ".join(f"{identifier(name)}={identifier(name)}" for name in self._fields())
            yield f"        body = types.{name_of(self._body_name)}({fields})"
        call = f"call = Call({', '.join(self._call())})"
        yield f"        {call}"
        if is_list:
            yield f"        return AsyncPages(self._transport, call, {self._answer})"
        elif self._answer == "None":
            yield "        await self._transport.call(call, None)"
        else:
            yield f"        return await self._transport.call(call, {self._answer})"
        yield ""

    def _in_path(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.route.path)

    def _fields(self) -> list[str]:
        """Whether an answer is streamed is not the caller's to say here."""
        return [name for name in self._body.get("properties", ()) if name != "stream"]

    def _body_parameters(self) -> Iterator[str]:
        for name in self._fields():
            kind = annotation(self._body["properties"][name], is_sent=True, module="types.")
            is_required = name in self._body.get("required", ())
            yield f"{identifier(name)}: {kind}" + ("" if is_required else " | UnsetType = UNSET")

    def _query(self) -> list[Schema]:
        return [each for each in self._described["parameters"] if each["in"] == "query"]

    def _query_parameters(self) -> Iterator[str]:
        for each in self._query():
            name, kind = identifier(each["name"]), annotation(each["schema"] | _typed(each["schema"]), is_sent=True)
            if name == "embedding":
                yield "embedding: bool = False"
            else:
                yield f"{name}: {kind}" + ("" if each.get("required") else " | UnsetType = UNSET")

    def _call(self) -> Iterator[str]:
        yield f'"{self.route.method}"'
        yield f'path("{self.route.path}"' + "".join(f", {name}={name}" for name in self._in_path()) + ")"
        if query := self._query():
            yield "query={" + ", ".join(f'"{each["name"]}": {identifier(each["name"])}' for each in query) + "}"
        if self._body_name:
            yield "body=body"
        if self.route.is_idempotent:
            yield "idempotency_key=idempotency_key"
        if self.route.method == "POST" and not (self.route.is_idempotent or self.route.is_unstored):
            yield "is_repeatable=False"


def _typed(schema: Schema) -> Schema:
    return {} if "type" in schema or "enum" in schema else {"type": "string"}


def calls_module(document: Schema) -> str:
    by_tag: dict[str, list[_Operation]] = {}
    for route in OFFERED:
        described = document["paths"][route.path][route.method.lower()]
        if route.response is not None or not route.is_streamed:  # what is a stream alone is followed
            operation = _Operation(route, described, document["components"]["schemas"])
            by_tag.setdefault(operation.tag, []).append(operation)
    lines = [_MADE + CALLS]
    for tag, operations in by_tag.items():
        lines += ["", f"class {_class(tag)}:", "    def __init__(self, transport: AsyncTransport) -> None:"]
        lines += ["        self._transport = transport", ""]
        lines += [line for operation in operations for line in operation.lines()]
    lines += ["", "class AsyncCalls:", '    """All calls, each under what it is about."""', ""]
    lines += ["    def __init__(self, transport: AsyncTransport) -> None:"]
    lines += [f"        self.{tag} = {_class(tag)}(transport)" for tag in by_tag]
    return "\n".join([*lines, ""])


def _class(tag: str) -> str:
    return "Async" + "".join(word.title() for word in tag.split("_")) + "Calls"


# --- files ---


def made(document: Schema) -> dict[Path, str]:
    """Every file that is made, as it should be."""
    files = {
        PACKAGE / "types.py": types_module(document),
        PACKAGE / "errors.py": errors_module(),
        PACKAGE / "_async/calls.py": calls_module(document),
    }
    files = dict(zip(files, formatted(list(files.values())), strict=True))
    written = sorted(path for path in (PACKAGE / "_async").glob("*.py") if path.name != "calls.py")
    asynchronous = {path: path.read_text(encoding="utf-8") for path in written} | {
        PACKAGE / "_async/calls.py": files[PACKAGE / "_async/calls.py"]
    }
    synchronous = formatted([_MADE + sync(source).removeprefix(_MADE) for source in asynchronous.values()])
    return files | {PACKAGE / "_sync" / path.name: text for path, text in zip(asynchronous, synchronous, strict=True)}


def sync(source: str) -> str:
    """The synchronous half of an asynchronous module."""
    with tempfile.TemporaryDirectory() as folder:
        there, here = Path(folder, "_async", "module.py"), Path(folder, "_sync", "module.py")
        there.parent.mkdir()
        there.write_text(source, encoding="utf-8")
        unasync.unasync_files([str(there)], [unasync.Rule("/_async/", "/_sync/", _SYNC)])
        return here.read_text(encoding="utf-8")


def formatted(sources: Sequence[str]) -> list[str]:
    """As ruff writes them, imports in order."""
    ruff = [sys.executable, "-m", "ruff"]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.py") for number in range(len(sources))]
        for path, source in zip(paths, sources, strict=True):
            path.write_text(source, encoding="utf-8")
        config = f"--config={ROOT / 'pyproject.toml'}"
        for command in (["check", "--quiet", "--fix", "--select=I,F401", config], ["format", "--quiet", config]):
            subprocess.run([*ruff, *command, folder], check=True)
        return [path.read_text(encoding="utf-8") for path in paths]


def write_typescript() -> None:
    """The types as openapi-typescript makes them."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "tsconfig.json"):
            shutil.copy(TYPESCRIPT / name, folder)
        Path(folder, "openapi.json").write_bytes(openapi_json())
        Path(folder, "src").mkdir()
        subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
        subprocess.run(["npm", "run", "types", "--silent"], cwd=folder, check=True)
        shutil.copy(Path(folder, "src/api.ts"), TYPESCRIPT / "src/api.ts")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    parser.add_argument("--typescript", action="store_true", help="also write the types of the TypeScript client, with npm")
    arguments = parser.parse_args()
    if arguments.typescript:
        write_typescript()
    files = made(json.loads(openapi_json()))
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    stale += sorted({*(PACKAGE / "_sync").glob("*.py")} - files.keys())
    for path in stale:
        if arguments.check:
            print(f"{path.relative_to(ROOT)} is not up to date: run `make docs`", file=sys.stderr)
        elif path in files:
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
    return int(arguments.check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
