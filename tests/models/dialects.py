"""How providers and servers answer, each in its own dialect, as data: the bytes of an answer, and what has to be stored.

From the providers' public API references and the bug trackers of those who call them. A `Case` is one answer; `REFUSALS` are
answers to a parameter, after which the reply has to come all the same.
"""

# ruff: noqa: E501 - recorded answers are as long as they are
from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
from tests.models.misbehaving_endpoint import DONE, chunk, http, usage


class Case(msgspec.Struct, frozen=True):
    """`text` is the stored reply (None: there is none), `finish` its finish_reason, `code` the error of the prompt.

    With a text and a code, the text is what is stored as `incomplete`.
    """

    answer: bytes
    text: str | None = "Hello"
    finish: str | None = "stop"
    code: str | None = None
    is_handoff: bool = False


def event(value: Any, *, name: str = "") -> bytes:
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + json.dumps(value).encode() + b"\n\n"


def stream(*parts: bytes, headers: str = "") -> bytes:
    return http(b"".join(parts), headers=headers)


def whole(message: Any, *, finish: Any = "stop", **more: Any) -> bytes:
    body = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}
    return http(json.dumps(body).encode(), kind="application/json")


def error(status: int, body: Any, *, headers: str = "") -> bytes:
    data = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
    return http(data, status=f"{status} No", kind="application/json", headers=headers)


def openai_error(message: str, *, code: Any = None, param: Any = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def said(*texts: str, finish: Any = "stop") -> bytes:
    return b"".join(chunk(text) for text in texts) + chunk(end=finish)


HELLO = chunk("Hel") + chunk("lo")
END = chunk(end="stop") + DONE


def ends(word: Any) -> bytes:
    """A text and then this finish_reason."""
    return stream(HELLO, event({"choices": [{"index": 0, "delta": {}, "finish_reason": word}]}), DONE)


ENDINGS: dict[str, Case] = {
    **{
        f"stop: {word}": Case(ends(word))
        for word in ("stop", "STOP", "end_turn", "stop_sequence", "eos", "eos_token", "COMPLETE")
    },
    **{
        f"stop: {word}": Case(ends(word))
        for word in ("FINISH_REASON_STOP", "FinishReason.STOP", "endTurn", "completed", "end_of_turn")
    },
    **{
        f"length: {word}": Case(ends(word), finish="length")
        for word in (
            "length",
            "model_length",
            "MAX_TOKENS",
            "max_tokens",
            "max_output_tokens",
            "model_context_window_exceeded",
            "ERROR_LIMIT",
        )
    },
    **{
        f"filter: {word}": Case(ends(word), finish="content_filter")
        for word in (
            "content_filter",
            "SAFETY",
            "RECITATION",
            "PROHIBITED_CONTENT",
            "BLOCKLIST",
            "sensitive",
            "guardrail_intervened",
            "refusal",
        )
    },
    **{
        f"failed: {word}": Case(ends(word), finish=None, code="upstream_interrupted")
        for word in (
            "error",
            "ERROR",
            "network_error",
            "insufficient_system_resource",
            "abort",
            "cancelled",
            "MALFORMED_FUNCTION_CALL",
            "OTHER",
            "timeout",
            "engine_overloaded",
            "internal_server_error",
            "upstream_disconnected",
            "rate_limit_exceeded",
            "server-error",
        )
    },
    **{f"unknown: {word}": Case(ends(word), finish="unknown") for word in ("banana", "bedtime", "x")},
    "the text null is no end": Case(stream(chunk("Hel", end="null"), chunk("lo", end="null"), END)),
    "the text None is no end": Case(stream(chunk("Hel", end="None"), chunk("lo", end=""), END)),
    "unspecified is no end": Case(stream(chunk("Hel", end="FINISH_REASON_UNSPECIFIED"), chunk("lo"), END)),
    "a number is no end": Case(
        stream(event({"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": 0}]}), END)
    ),
    "an error without text": Case(stream(chunk(end="error"), DONE), text=None, code="upstream_failed"),
    "a reply that is the text null": Case(stream(chunk("null"), END), text="null"),
}

FAILURES: dict[str, Case] = {
    "openrouter: error in the choice": Case(
        stream(
            HELLO,
            event(
                {
                    "choices": [
                        {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "x"}}
                    ]
                }
            ),
            DONE,
        ),
        finish=None,
        code="upstream_failed",
    ),
    "openrouter: error beside choices": Case(
        stream(
            HELLO,
            event(
                {
                    "error": {"code": "server_error", "message": "gone"},
                    "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
                }
            ),
        ),
        finish=None,
        code="upstream_failed",
    ),
    "openrouter: a whole body with an error of the choice": Case(
        whole({"role": "assistant", "content": "Hello"}, finish="error", error=None), finish=None, code="upstream_interrupted"
    ),
    "anthropic: an event named error": Case(
        stream(
            HELLO, event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, name="error"), DONE
        ),
        finish=None,
        code="upstream_failed",
    ),
    "an event named error with plain words": Case(
        stream(HELLO, b"event: error\ndata: something broke\n\n", DONE), finish=None, code="upstream_failed"
    ),
    "an event named error with a message alone": Case(
        stream(HELLO, event({"message": "boom"}, name="error"), DONE), finish=None, code="upstream_failed"
    ),
    "fastapi: detail": Case(stream(HELLO, event({"detail": "Internal error"}), DONE), finish=None, code="upstream_failed"),
    "vllm: object error": Case(
        stream(HELLO, event({"object": "error", "message": "x", "code": 500}), DONE), finish=None, code="upstream_failed"
    ),
    "minimax: base_resp": Case(
        stream(HELLO, event({"choices": None, "base_resp": {"status_code": 1027, "status_msg": "output sensitive"}}), DONE),
        finish=None,
        code="upstream_failed",
    ),
    "baidu: error_code": Case(
        stream(HELLO, event({"error_code": 336100, "error_msg": "try again"}), DONE), finish=None, code="upstream_failed"
    ),
    "code and message": Case(stream(HELLO, event({"code": 500, "message": "x"}), DONE), finish=None, code="upstream_failed"),
    "success is false": Case(stream(HELLO, event({"success": False, "msg": "x"}), DONE), finish=None, code="upstream_failed"),
    "lm studio: an error text": Case(stream(event({"error": "The model has crashed"}), DONE), text=None, code="upstream_failed"),
    "broken off": Case(stream(HELLO), finish=None, code="upstream_interrupted"),
    "an error within a template": Case(
        stream(
            event(
                {"error": {"code": 500, "message": "Jinja Exception: Conversation roles must alternate", "type": "server_error"}}
            ),
            DONE,
        ),
        text=None,
        code="upstream_template_refused",
    ),
}

ODD: dict[str, Case] = {
    "keep-alives as data": Case(
        stream(
            b"data: ping\n\n", chunk("Hel"), b"data: [KEEPALIVE]\n\ndata: {}\n\ndata: null\n\n", chunk("lo"), b"data: :\n\n", END
        )
    ),
    "a ping as JSON": Case(stream(event({"type": "ping"}), HELLO, event({"type": "heartbeat"}), END)),
    "numbers as text": Case(
        stream(
            event(
                {
                    "choices": [{"index": "0", "delta": {"content": "Hello"}}],
                    "usage": {"prompt_tokens": "3", "completion_tokens": 2.0},
                }
            ),
            END,
        )
    ),
    "an index as a fraction": Case(stream(event({"choices": [{"index": 0.0, "delta": {"content": "Hello"}}]}), END)),
    "choices is an empty object": Case(
        stream(event({"choices": {}}), HELLO, event({"choices": {}, "usage": {"prompt_tokens": 1}}), END)
    ),
    "choices is an object": Case(stream(event({"choices": {"0": {"index": 0, "delta": {"content": "Hello"}}}}), END)),
    "choices is one choice": Case(stream(event({"choices": {"delta": {"content": "Hello"}}}), END)),
    "an empty error": Case(
        stream(event({"error": {}, "choices": [{"index": 0, "delta": {"content": "Hello"}}]}), event({"error": ""}), END)
    ),
    "an error of empty fields": Case(
        stream(event({"error": {"message": "", "code": None}, "choices": [{"delta": {"content": "Hello"}}]}), END)
    ),
    "an error that is false": Case(stream(event({"error": False, "choices": [{"delta": {"content": "Hello"}}]}), END)),
    "content in parts": Case(
        stream(
            event({"choices": [{"delta": {"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}}]}), END
        )
    ),
    "content in texts": Case(stream(event({"choices": [{"delta": {"content": ["Hel", "lo"]}}]}), END)),
    "content as an object": Case(stream(event({"choices": [{"delta": {"content": {"type": "text", "text": "Hello"}}}]}), END)),
    "content as an object with a value": Case(
        stream(event({"choices": [{"delta": {"content": {"text": {"value": "Hello"}}}}]}), END)
    ),
    "mistral: thoughts among the parts": Case(
        stream(
            event({"choices": [{"delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}}]}),
            HELLO,
            END,
        )
    ),
    "an empty list as content": Case(stream(event({"choices": [{"delta": {"content": []}}]}), HELLO, END)),
    "an event over two lines": Case(stream(b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"Hello"}}]}\n\n', END)),
    "an event over three lines with CRLF": Case(
        stream(b'data: {"choices":\r\ndata: [{"index":0,"delta":\r\ndata: {"content":"Hello"}}]}\r\n\r\n', END)
    ),
    "an event with indented JSON": Case(
        stream(
            b"".join(
                b"data: " + line + b"\n"
                for line in msgspec.json.format(b'{"choices":[{"delta":{"content":"Hello"}}]}').split(b"\n")
            ),
            b"\n",
            END,
        )
    ),
    "a pair of surrogates in two deltas": Case(
        stream(
            b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\ndata: {"choices":[{"delta":{"content":"\\ude00b"}}]}\n\n',
            END,
        ),
        text="a😀b",
    ),
    "half a pair": Case(stream(b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n', chunk("b"), END), text="a\ufffdb"),
    "gzip, though identity was asked for": Case(
        http(gzip.compress(HELLO + END), headers="Content-Encoding: gzip\r\n"),
    ),
    "gzip without a word": Case(http(gzip.compress(HELLO + END))),
    "gzip of a whole body": Case(
        http(
            gzip.compress(b'{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}'),
            headers="Content-Encoding: GZIP\r\n",
        )
    ),
    "an unknown event": Case(stream(event({"choices": []}, name="metadata"), HELLO, END)),
    "azure: prompt_filter_results first": Case(
        stream(event({"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}), HELLO, END)
    ),
    "a role with null content": Case(stream(event({"choices": [{"delta": {"role": "assistant", "content": None}}]}), HELLO, END)),
    "text as in completions that are no chat": Case(stream(event({"choices": [{"text": "Hello", "index": 0}]}), END)),
    "usage with every chunk": Case(stream(usage(1, 1), chunk("Hel"), usage(1, 2), chunk("lo"), END)),
    "openai: a refusal": Case(
        stream(event({"choices": [{"delta": {"refusal": "Hel"}}]}), event({"choices": [{"delta": {"refusal": "lo"}}]}), END),
        finish="content_filter",
    ),
    "openai: a refusal, whole": Case(whole({"content": None, "refusal": "Hello"}), finish="content_filter"),
    "gemini: an array around the body": Case(
        http(b'[{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}]', kind="application/json")
    ),
}


def thought(*texts: str, text: str | None = "Hello", finish: str | None = "stop", code: str | None = None) -> Case:
    return Case(stream(*(chunk(each) for each in texts), END), text, finish, code)


REASONING: dict[str, Case] = {
    "think": thought("<think>Let me see.</think>Hello"),
    "think with lines": thought("<think>\nLet me see.\n</think>\n\nHello"),
    "think in pieces": thought(*"<think>hm <b> </b> < / think></think>\n\nHello"),
    "think after blanks": thought("\n\n<think>", "hm", "</think>", "Hello"),
    "an empty think": thought("<think>\n\n</think>\n\nHello"),
    "thinking": thought("<thinking>so</thinking>Hello"),
    "thought": thought("<thought>so</thought>Hello"),
    "reasoning": thought("<reasoning>so</reasoning>\nHello"),
    "in capitals": thought("<THINK>so</THINK>Hello"),
    "seed": thought("<seed:think>so</seed:think>Hello"),
    "magistral": thought("[THINK]so[/THINK]Hello"),
    "kimi": thought("◁think▷so◁/think▷Hello"),
    "cohere": thought("<|START_THINKING|>so<|END_THINKING|><|START_RESPONSE|>Hello<|END_RESPONSE|>"),
    "harmony": thought(
        "<|channel|>analysis<|message|>The user", " wants<|end|><|start|>assistant<|channel|>final<|message|>Hello<|return|>"
    ),
    "gemma": thought("<unused94>thought so<unused95>Hello"),
    "two in a row": thought("<think>a</think>\n<think>b</think>\nHello"),
    "only the closing mark": thought("The user greets me.\n</think>\n\nHello"),
    "only the closing mark, in pieces": thought(*"The user greets me.\n</think>\n\nHello"),
    "only the closing mark, on one line": thought("I should greet. </think> Hello"),
    "only the closing mark, without blanks": thought("greet", "</think>", "Hello"),
    "never closed": thought("<think>and so on", text=None, code="upstream_empty"),
    "a tag in code stays": thought("Use `<think>` and `</think>`.", text="Use `<think>` and `</think>`."),
    "a closing tag in code stays": thought("It ends with `</think>` there.", text="It ends with `</think>` there."),
    "a closing tag in quotes stays": thought('It ends with "</think>".', text='It ends with "</think>".'),
    "a closing tag in a block stays": thought("See:\n```\n</think>\n```\n", text="See:\n```\n</think>\n```\n"),
    "both tags in prose stay": thought("Write <think> first, then </think>.", text="Write <think> first, then </think>."),
    "a closing tag in prose stays": thought("The </think> tag ends it.", text="The </think> tag ends it."),
    "less than is text": thought("1 <", " 2 and a <b> [x] <t", text="1 < 2 and a <b> [x] <t"),
    "citations are text": thought("It is so [1", "][2]. [", text="It is so [1][2]. ["),
    "openai field": Case(stream(chunk(reasoning_content="hm"), HELLO, END)),
    "openrouter field": Case(stream(chunk(reasoning="hm", reasoning_details=[{"type": "reasoning.text"}]), HELLO, END)),
    "whole": Case(whole({"content": "<think>hm</think>\n\nHello", "reasoning_content": None})),
}

_CALL = '{"name": "handoff", "arguments": {"reason": "asked", "note": "Wants a person"}}'


def call(*texts: str, finish: str = "stop") -> Case:
    return Case(stream(*(chunk(each) for each in texts), chunk(end=finish), DONE), None, "handoff", is_handoff=True)


def tool_call(function: Any, *, finish: str = "tool_calls", **more: Any) -> Case:
    called = {"index": 0, "id": "c", "type": "function", "function": function} | more
    return Case(stream(chunk(tool_calls=[called]), chunk(end=finish), DONE), None, "handoff", is_handoff=True)


HANDOFFS: dict[str, Case] = {
    "hermes": call(f"<tool_call>\n{_CALL}\n</tool_call>"),
    "hermes in pieces": call(*f"<tool_call>\n{_CALL}\n</tool_call>"),
    "mistral": call(f"[TOOL_CALLS][{_CALL}]"),
    "mistral, newer": call('[TOOL_CALLS]handoff{"reason": "asked", "note": "Wants a person"}'),
    "llama 3.1": call('<|python_tag|>{"name": "handoff", "parameters": {"reason": "asked", "note": "Wants a person"}}'),
    "llama 3.2: bare": call('{"name": "handoff", "parameters": {"reason": "asked", "note": "Wants a person"}}'),
    "bare with a type": call(
        '{"type": "function", "name": "handoff", "parameters": {"reason": "asked", "note": "Wants a person"}}'
    ),
    "in a block of code": call(f"```json\n{_CALL}\n```"),
    "llama function": call('<function=handoff>{"reason": "asked", "note": "Wants a person"}</function>'),
    "llama 4": call('[handoff(reason="asked", note="Wants a person")]'),
    "qwen coder": call(
        "<tool_call>\n<function=handoff>\n<parameter=reason>\nasked\n</parameter>\n<parameter=note>\nWants a person\n</parameter>\n</function>\n</tool_call>"
    ),
    "glm": call(
        "<tool_call>handoff\n<arg_key>reason</arg_key>\n<arg_value>asked</arg_value>\n<arg_key>note</arg_key>\n<arg_value>Wants a person</arg_value>\n</tool_call>"
    ),
    "phi": call(f"functools[{_CALL}]"),
    "kimi": call(
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.handoff:0<|tool_call_argument_begin|>"
        '{"reason": "asked", "note": "Wants a person"}<|tool_call_end|><|tool_calls_section_end|>'
    ),
    "deepseek": call(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>handoff\n```json\n"
        '{"reason": "asked", "note": "Wants a person"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
    ),
    "harmony": call(
        '<|channel|>commentary to=functions.handoff <|constrain|>json<|message|>{"reason": "asked", "note": "Wants a person"}'
    ),
    "after thoughts": call(f"<think>A person.</think>\n<tool_call>{_CALL}</tool_call>"),
    "liquid": call('<|tool_call_start|>[handoff(reason="asked", note="Wants a person")]<|tool_call_end|>'),
    "functions.handoff": tool_call({"name": "functions.handoff", "arguments": '{"reason":"asked","note":"Wants a person"}'}),
    "default_api.handoff": tool_call({"name": "default_api.handoff", "arguments": '{"reason":"asked","note":"Wants a person"}'}),
    "default_api:handoff": tool_call({"name": "default_api:handoff", "arguments": '{"reason":"asked","note":"Wants a person"}'}),
    "functions.handoff:0": tool_call({"name": "functions.handoff:0", "arguments": '{"reason":"asked","note":"Wants a person"}'}),
    "handoff<|channel|>": tool_call(
        {"name": "handoff<|channel|>commentary", "arguments": '{"reason":"asked","note":"Wants a person"}'}
    ),
    "arguments as an object": tool_call({"name": "handoff", "arguments": {"reason": "asked", "note": "Wants a person"}}),
    "ended with stop": tool_call({"name": "handoff", "arguments": '{"reason":"asked","note":"Wants a person"}'}, finish="stop"),
    "an index as text": tool_call({"name": "handoff", "arguments": '{"reason":"asked","note":"Wants a person"}'}, index="0"),
    "function_call": Case(
        stream(
            chunk(function_call={"name": "handoff", "arguments": '{"reason":"asked",'}),
            chunk(function_call={"arguments": '"note":"Wants a person"}'}),
            chunk(end="function_call"),
            DONE,
        ),
        None,
        "handoff",
        is_handoff=True,
    ),
    "a note of 5,000 characters": tool_call(
        {"name": "handoff", "arguments": json.dumps({"reason": "asked", "note": "Wants a person" + " " * 4986})}
    ),
}

ERRORS: dict[str, Case] = {
    name: Case(error(status, body), None, None, code)
    for name, status, body, code in [
        ("openai: key", 401, openai_error("Incorrect API key provided: sk-x.", code="invalid_api_key"), "upstream_unauthorised"),
        ("gemini: key", 400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}], "upstream_unauthorised"),
        ("anthropic: key", 401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}, "upstream_unauthorised"),
        ("permission", 403, {"error": {"message": "You are not allowed to sample from this model", "type": "permission_error"}}, "upstream_unauthorised"),
        ("openai: quota", 429, openai_error("You exceeded your current quota, please check your plan and billing details.", code="insufficient_quota"), "upstream_payment_required"),
        ("deepseek: balance", 402, openai_error("Insufficient Balance", code="invalid_request_error"), "upstream_payment_required"),
        ("openrouter: credits", 402, {"error": {"message": "This request requires more credits", "code": 402}}, "upstream_payment_required"),
        ("anthropic: credit", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}}, "upstream_payment_required"),
        ("ollama: model", 404, openai_error('model "llama9" not found, try pulling it first', kind="api_error"), "upstream_model_not_found"),
        ("openai: model", 404, openai_error("The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found"), "upstream_model_not_found"),
        ("vllm: model", 404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "param": None, "code": 404}, "upstream_model_not_found"),
        ("deepseek: model", 400, openai_error("Model Not Exist"), "upstream_model_not_found"),
        ("openrouter: model", 400, {"error": {"message": "x/y is not a valid model ID", "code": 400}}, "upstream_model_not_found"),
        ("azure: deployment", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}, "upstream_model_not_found"),
        ("litellm: model", 400, openai_error("/chat/completions: Invalid model name passed in model=x. Call `/v1/models`", code="400"), "upstream_model_not_found"),
        ("groq: decommissioned", 400, openai_error("The model `mixtral` has been decommissioned", code="model_decommissioned"), "upstream_model_not_found"),
        ("openai: context", 400, openai_error("This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens.", code="context_length_exceeded", param="messages"), "upstream_context_too_long"),
        ("anthropic: context", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 200534 tokens > 200000 maximum"}}, "upstream_context_too_long"),
        ("llama.cpp: context", 400, {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_ctx": 4096}}, "upstream_context_too_long"),
        ("groq: context", 400, openai_error("Please reduce the length of the messages or completion.", code="context_length_exceeded", param="messages"), "upstream_context_too_long"),
        ("siliconflow: context", 400, "length of prompt_tokens (163280) must be less than max_seq_len (32768).", "upstream_context_too_long"),
        ("gemini: context", 400, [{"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}], "upstream_context_too_long"),
        ("azure: filter", 400, {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "param": "prompt", "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, "upstream_filtered"),
        ("qwen: filter", 400, openai_error("Input data may contain inappropriate content.", code="data_inspection_failed"), "upstream_filtered"),
        ("openrouter: moderation", 403, {"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"], "flagged_input": "x"}}}, "upstream_filtered"),
        ("zhipu: filter", 400, {"error": {"code": "1301", "message": "The system detected potentially unsafe content or sensitive content"}}, "upstream_filtered"),
        ("rate", 429, openai_error("Rate limit reached for requests", code="rate_limit_exceeded"), "upstream_rate_limited"),
        ("gemini: rate", 429, [{"error": {"code": 429, "message": "Resource has been exhausted (e.g. check quota).", "status": "RESOURCE_EXHAUSTED"}}], "upstream_rate_limited"),
        ("unknown parameter", 400, openai_error("Unknown parameter: 'messages[0].cache'.", code="unknown_parameter", param="messages[0].cache"), "upstream_parameter_refused"),
        ("template", 400, openai_error("Jinja Exception: something raised", kind="server_error"), "upstream_template_refused"),
        ("template: 500", 500, {"error": {"code": 500, "message": "While executing CallExpression\nError: Jinja Exception: no", "type": "server_error"}}, "upstream_template_refused"),
        ("nothing said", 400, "", "upstream_rejected"),
        ("nothing there", 404, "404 page not found", "upstream_rejected"),
        ("broken", 500, {"error": "boom"}, "upstream_failed"),
        ("overloaded", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "upstream_failed"),
        ("gzip", 401, gzip.compress(b'{"error":{"code":"invalid_api_key"}}'), "upstream_unauthorised"),
    ]
}  # fmt: skip

CASES: dict[str, Case] = {
    f"{kind}: {name}": case
    for kind, cases in {
        "ending": ENDINGS,
        "failure": FAILURES,
        "odd": ODD,
        "reasoning": REASONING,
        "handoff": HANDOFFS,
        "error": ERRORS,
    }.items()
    for name, case in cases.items()
}


class Refused(msgspec.Struct, frozen=True):
    """`parameters` of a request that an endpoint refuses, with `body`; `most`: those it takes up to a value."""

    parameters: tuple[str, ...]
    body: Any
    status: int = 400
    most: dict[str, float] = {}
    is_gzip: bool = False

    def answer(self, request: dict[str, Any]) -> bytes | None:
        """The refusal of that request; None if it is taken."""
        held = any(name in request for name in self.parameters)
        system = "system" in self.parameters and request["messages"][0]["role"] == "system"
        too_much = any(request.get(name, 0) > most for name, most in self.most.items())
        if not (held or system or too_much):
            return None
        if self.is_gzip:
            return error(self.status, gzip.compress(json.dumps(self.body).encode()), headers="Content-Encoding: gzip\r\n")
        return error(self.status, self.body)


REFUSALS: dict[str, Refused] = {
    "xai: camel case": Refused(("presence_penalty",), {"code": "Client specified an invalid argument", "error": "Argument not supported on this model: presencePenalty"}),
    "xai: newer": Refused(("presence_penalty",), {"code": "x", "error": "Model grok-4 does not support parameter presencePenalty."}),
    "mistral: loc": Refused(("stream_options",), {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted", "input": {}}]}, "type": "invalid_request_error", "param": None, "code": None}, 422),
    "mistral: JSON in the message": Refused(("frequency_penalty",), {"object": "error", "message": json.dumps({"detail": [{"type": "extra_forbidden", "loc": ["body", "frequency_penalty"], "msg": "Extra inputs are not permitted", "input": 0.5}]}), "type": "internal_error_proxy", "param": None, "code": "1000"}, 422),
    "mistral: message is a list": Refused(("tools",), {"object": "Error", "detail": [{"type": "extra_forbidden", "loc": ["body", "tools"], "msg": "Extra inputs are not permitted", "input": []}], "message": [{"type": "extra_forbidden", "loc": ["body", "tools"], "msg": "x"}], "code": 3001}, 422),
    "gemini: array": Refused(("frequency_penalty",), [{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.', "status": "INVALID_ARGUMENT", "details": [{"@type": "x", "fieldViolations": [{"description": 'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.'}]}]}}]),
    "gemini: several at once": Refused(("frequency_penalty", "presence_penalty"), [{"error": {"code": 400, "message": 'Unknown name "frequency_penalty": Cannot find field.\nUnknown name "presence_penalty": Cannot find field.', "status": "INVALID_ARGUMENT"}}]),
    "gemini: penalty in words": Refused(("presence_penalty", "frequency_penalty"), [{"error": {"code": 400, "message": "Penalty is not enabled for this model: presence penalty, frequency penalty", "status": "INVALID_ARGUMENT"}}]),
    "kimi": Refused(("temperature",), openai_error("invalid temperature: only 1 is allowed for this model")),
    "litellm": Refused(("temperature", "presence_penalty"), openai_error("litellm.UnsupportedParamsError: bedrock does not support parameters: ['temperature', 'presence_penalty'], for model=x. To drop these, set `litellm.drop_params=True`", code="400")),
    "litellm: dict": Refused(("temperature",), openai_error("litellm.UnsupportedParamsError: openai does not support parameters: {'temperature': 1.2}, for model=o1-mini.", code="400")),
    "claude: deprecated": Refused(("temperature",), {"type": "error", "error": {"type": "invalid_request_error", "message": "`temperature` is deprecated for this model."}}),
    "groq: property": Refused(("presence_penalty",), openai_error("property 'presence_penalty' is unsupported")),
    "openai: param": Refused(("temperature",), openai_error("Unsupported value: 'temperature' does not support 1.2 with this model. Only the default (1) value is supported.", code="unsupported_value", param="temperature")),
    "openai: the newer name": Refused(("max_tokens",), openai_error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", code="unsupported_parameter", param="max_tokens")),
    "openai: stream not verified": Refused(("stream",), openai_error("Your organization must be verified to stream this model.", code="unsupported_value", param="stream")),
    "pydantic: extra fields": Refused(("stream_options",), {"detail": [{"loc": ["body", "stream_options"], "msg": "extra fields not permitted", "type": "value_error.extra"}]}, 422),
    "openai: unrecognized": Refused(("stream_options",), openai_error("Unrecognized request argument supplied: stream_options")),
    "names what it takes": Refused(("stream_options",), openai_error("Unknown parameter stream_options. Supported parameters: model, messages, temperature, top_p, max_tokens, n, tools")),
    "huggingface: gzip": Refused(("frequency_penalty",), {"error": "unknown field `frequency_penalty`"}, 422, is_gzip=True),
    "plain words": Refused(("frequency_penalty",), "frequency_penalty is not a valid field"),
    "openrouter: raw": Refused(("top_p",), {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": json.dumps(openai_error("top_p is not supported", param="top_p")), "provider_name": "X"}}}),
    "instance path": Refused(("presence_penalty",), {"error": {"message": "must NOT have additional properties", "details": [{"instancePath": "/presence_penalty"}]}}),
    "deepseek: most tokens": Refused((), openai_error("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"), most={"max_tokens": 8192}),
    "anthropic: most tokens": Refused((), {"error": {"type": "invalid_request_error", "message": "max_tokens: 20000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet"}}, most={"max_tokens": 8192}),
    "groq: most tokens": Refused((), openai_error("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model", param="max_tokens"), most={"max_tokens": 8192}),
    "openai: most tokens": Refused((), openai_error("max_tokens is too large: 20000. This model supports at most 16384 completion tokens, whereas you provided 20000.", code="invalid_value", param="max_tokens"), most={"max_tokens": 16384}),
    "anthropic: temperature": Refused((), {"error": {"type": "invalid_request_error", "message": "temperature: range: 0..1"}}, most={"temperature": 1.0}),
    "zhipu: temperature": Refused((), openai_error("temperature must be less than or equal to 1.0"), most={"temperature": 1.0}),
    "groq: n": Refused((), openai_error("'n' : number must be at most 1", param="n"), most={"n": 1}),
    "gemini: candidates": Refused((), [{"error": {"code": 400, "message": "Only one candidate can be specified: candidateCount must be 1"}}], most={"n": 1}),
    "ollama: tools": Refused(("tools",), openai_error("registry.ollama.ai/library/gemma:2b does not support tools", kind="api_error")),
    "gemma: no system": Refused(("system",), {"object": "error", "message": "System role not supported", "type": "BadRequestError", "code": 400}),
    "google: no system": Refused(("system",), [{"error": {"code": 400, "message": "Developer instruction is not enabled for models/gemma-3-27b-it", "status": "INVALID_ARGUMENT"}}]),
    "mistral: alternate": Refused(("system",), openai_error("Conversation roles must alternate user/assistant/user/assistant/...")),
    "llama.cpp: template": Refused(("system",), {"error": {"code": 500, "message": "\n------------\nWhile executing CallExpression at line 19\nError: Jinja Exception: Only user, assistant and tool roles are supported, got system.", "type": "server_error"}}, 500),
    "lm studio: template": Refused(("system",), {"error": 'Error rendering prompt with jinja template: "Only user and assistant roles are supported!".'}),
    "groq: role": Refused(("system",), openai_error("'messages.[0].role' : value must be one of 'user', 'assistant'", param="messages.[0].role")),
    "role: system": Refused(("system",), {"error": "Unsupported role: system"}, 422),
    "pydantic: too much": Refused((), {"detail": [{"loc": ["body", "temperature"], "msg": "Input should be less than or equal to 1", "input": 1.2, "ctx": {"le": 1.0}}]}, 422, most={"temperature": 1.0}),
    "two in words": Refused(("presence_penalty", "frequency_penalty"), {"message": "The following parameters are not supported: presence_penalty, frequency_penalty"}),
    "claude: not both": Refused(("top_p",), {"error": {"type": "invalid_request_error", "message": "`temperature` and `top_p` cannot both be specified for this model. Please use only one."}}),
    "o1-mini: system": Refused(("system",), openai_error("Unsupported value: 'messages[0].role' does not support 'system' with this model.", code="unsupported_value", param="messages[0].role")),
}  # fmt: skip
