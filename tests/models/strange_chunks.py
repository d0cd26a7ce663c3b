"""Bodies an endpoint might send that are nearly completions: each field with each wrong value, and all ways to frame text.

For the first kind nothing is promised but sound text or a named error; the second kind has to be read.
"""

from __future__ import annotations

from tests.models.misbehaving_endpoint import DONE, chunk

_CHUNK = (
    b'{"object":%(object)s,"model":%(model)s,"choices":%(choices)s,"usage":%(usage)s,"error":%(error)s}',
    {
        "object": b'"chat.completion.chunk"',
        "model": b'"m-1"',
        "choices": b"[%(choice)s]",
        "choice": b'{"index":%(index)s,"delta":%(delta)s,"finish_reason":%(finish_reason)s}',
        "index": b"0",
        "delta": b'{"role":%(role)s,"content":%(content)s,"reasoning":%(reasoning)s,"tool_calls":%(tool_calls)s}',
        "role": b'"assistant"',
        "content": b'"Hi"',
        "reasoning": b"null",
        "tool_calls": b"null",
        "finish_reason": b"null",
        "usage": b'{"prompt_tokens":%(prompt_tokens)s,"completion_tokens":2}',
        "prompt_tokens": b"1",
        "error": b"null",
    },
)
_VALUES = {
    "null": b"null",
    "true": b"true",
    "a negative": b"-1",
    "a fraction": b"1.5",
    "a huge integer": b"1" + b"0" * 400,
    "infinity": b"1e999",
    "no JSON": b"NaN",
    "nothing": b'""',
    "a number as text": b'"0"',
    "a lone surrogate": rb'"\ud800"',
    "a NUL": rb'"\u0000"',
    "bad UTF-8": b'"\xff\xc0\x80"',
    "an array": b"[]",
    "arrays": b"[[[]]]",
    "an object": b"{}",
    "a longer object": b'{"content":"x","text":["y"]}',
    "a cut": b'"',
}


def _chunk_with(field: str, value: bytes) -> bytes:
    template, parts = _CHUNK
    parts = parts | {field: value.replace(b"%", b"%%")}
    while b"%(" in template:
        template = template % {name.encode(): part for name, part in parts.items()}
    return template


WRONG_VALUES: dict[str, bytes] = {
    f"{field} is {name}": b"data: " + _chunk_with(field, value) + b"\n\n" + chunk(" there") + chunk(end="stop") + DONE
    for field in _CHUNK[1]
    for name, value in _VALUES.items()
}

_TEXTS = {
    "ascii": (b"Hi", "Hi"),
    "umlauts": ("Grüße".encode(), "Grüße"),
    "emoji": ("a😀b".encode(), "a😀b"),
    "escapes": (rb"\u00fc\ud83d\ude00\n", "ü😀\n"),
    "data in the text": (b"data: [DONE]", "data: [DONE]"),
    "a lone surrogate": (rb"\ud83dx", "\ufffdx"),
}
_FRAMES: dict[str, tuple[bytes, bytes]] = {  # before a chunk, after it
    "newlines": (b"data: ", b"\n\n"),
    "one newline": (b"data: ", b"\n"),
    "CRLF": (b"data: ", b"\r\n\r\n"),
    "CR": (b"data: ", b"\r\r"),
    "no blank": (b"data:", b"\n\n"),
    "many blanks": (b"data: \t  ", b"  \n\n"),
    "an event's name": (b"event: message\ndata: ", b"\nid: 7\n\n"),
    "a keep-alive": (b": ping\n\ndata: ", b"\n\n: pong\n\n"),
    "a huge keep-alive": (b":" + b"x" * 70_000 + b"\ndata: ", b"\n\n"),
    "a mark and blanks": (b"\r\n\ndata: ", b"\n\n\n\n"),
}


def _framed(text: bytes, before: bytes, after: bytes) -> bytes:
    chunks = [b'{"choices":[{"index":0,"delta":{"content":"' + text + b'"}}]}']
    chunks += [b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', b"[DONE]"]
    return b"\xef\xbb\xbf" + b"".join(before + each + after for each in chunks)


FRAMINGS: dict[str, tuple[bytes, str]] = {
    f"{text_name} between {frame_name}": (_framed(text, *frame), expected)
    for text_name, (text, expected) in _TEXTS.items()
    for frame_name, frame in _FRAMES.items()
}
