"""Write docs/reference/api.md from the route table and the error tree: write_api_reference.py [--check]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from gigachat_server.api.openapi import error_codes
from gigachat_server.pages.docs import Field, Operation, groups

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "api.md"

INTRODUCTION = """\
# API reference

Every route and every error code of gigachat, written by `tools/write_api_reference.py` from the same table that the server runs.
A running server shows this at `/docs`, and as OpenAPI 3.1 at `/openapi.json`.

## What holds for every route?

Every route takes the header `Authorization: Bearer <API_KEY>` unless it is public, and speaks JSON in UTF-8.
Unknown fields are refused with 422, and every field at fault is named.
Ids in a path are percent-encoded, so that a `conversation_id` may hold a slash.
Times are UTC with six digits and `+00:00`.
Lists are JSON arrays; a further page is named by the header `Link: <...>; rel="next"`.
In the examples, `$GIGACHAT` is the server's address and `$KEY` an API key.
"""

ERRORS = """\
## Errors

Every error is an `application/problem+json` document (RFC 9457) with a stable `code`.
Programs act on `code`; the texts are for people.
`request_id` names the request in the server's log, and `errors` lists the fields at fault of a 422.
`Retry-After` says, in seconds, when another try is worth it.
In an event stream the same document is the data of the event `error`.

```json
{
  "type": "/docs#error-invalid_request",
  "title": "Some fields cannot be accepted; see 'errors'.",
  "status": 422,
  "detail": "Some fields cannot be accepted; see 'errors'.",
  "instance": "/chatbots",
  "code": "invalid_request",
  "request_id": "5f0c1b9a7d2e4c38",
  "errors": [{"field": "response.n", "message": "Expected `int` <= 4."}]
}
```

| code | status | meaning |
|---|---|---|
"""


def page() -> str:
    routes = "".join(_group(group.title, group.operations) for group in groups())
    return INTRODUCTION + routes + "\n" + "\n".join(_objects()) + "\n\n" + ERRORS + _codes()


def _objects() -> Iterator[str]:
    """Each kind of answer once, however many routes give it."""
    yield "## Objects"
    yield ""
    yield "These are the JSON objects that routes answer with."
    known: set[str] = set()
    for operation in (operation for group in groups() for operation in group.operations if operation.response_fields):
        name = _object_name(operation)
        if name in known:
            continue
        known.add(name)
        yield ""
        yield f"### {name}"
        yield ""
        yield "| field | type | meaning |"
        yield "|---|---|---|"
        for field in operation.response_fields:
            yield f"| `{field.name}` | {_cell(field.type)} | {_cell(field.description)} |"


def _object_name(operation: Operation) -> str:
    return operation.response.rpartition(" ")[2]


def _codes() -> str:
    return "".join(f"| `{code}` | {status} | {_cell(meaning)} |\n" for code, status, meaning in error_codes())


def _group(title: str, operations: Iterable[Operation]) -> str:
    return f"\n## {title}\n" + "".join("\n" + "\n".join(_operation(operation)) + "\n" for operation in operations)


def _operation(operation: Operation) -> Iterator[str]:
    yield f"### {operation.method} {operation.path}"
    yield ""
    yield f"{operation.summary}."
    yield _cell(operation.access)
    is_merge = operation.method == "PATCH"
    if is_merge:
        yield "Send any part of the body; what is left out stays as it is."
    yield from _table("parameter", operation.parameters)
    yield from _table("body field", operation.fields, is_merge=is_merge)
    yield ""
    answer = _cell(operation.response)
    if operation.response_fields:
        name = _object_name(operation)
        answer = f"{operation.response.removesuffix(name)}[{name}](#{name.lower()})"
    if operation.is_stream_alone:
        answer = "`text/event-stream`"
    streamed = ", or `text/event-stream` when asked for" if operation.is_streamed and not operation.is_stream_alone else ""
    yield f"Answers {operation.status} with {answer}{streamed}; anything else is a problem."
    yield ""
    yield "```bash"
    yield operation.curl.replace("$BASE", "$GIGACHAT").replace("$GIGACHAT_API_KEY", "$KEY")
    yield "```"


def _table(heading: str, fields: Iterable[Field], *, is_merge: bool = False) -> Iterator[str]:
    """In a merge nothing is required and nothing has a default."""
    rows = [
        f"| `{field.name}` | {_cell(field.type)} | {'' if is_merge else _given(field)} | {_cell(field.description)} |"
        for field in fields
    ]
    if rows:
        yield ""
        yield f"| {heading} | type | default | meaning |"
        yield "|---|---|---|---|"
        yield from rows


def _given(field: Field) -> str:
    if field.is_required:
        return "required"
    return f"`{_cell(field.default)}`" if field.default else ""


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if docs/reference/api.md is not up to date")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/reference/api.md is not up to date: run tools/write_api_reference.py.")


if __name__ == "__main__":
    main()
