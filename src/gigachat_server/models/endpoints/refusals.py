"""Learns from an endpoint's refusals which parts of a request it does not accept; no I/O.

Idea: a refusal names its cause somewhere, in one of many wordings. A named parameter that was sent and is dispensable is left
out (or lowered, if it is too high), and the request is sent again; if that is accepted, the guess was right and is remembered
for the model. So a wrong guess costs one call and nothing else. Fields that the endpoint names explicitly take precedence over
its prose, and its own prose over text it repeats from a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from gigachat_server.models.endpoints.said import ErrorContent

SYSTEM = "system"  # no parameter, but as refusable as one: the role
Value = float | int | None


class Adjustment(msgspec.Struct, frozen=True):
    """How a request differs from what was asked for. `omitted`: names of `PARAMETERS`; `most`: the greatest value of others.

    `max_tokens` omitted means that its newer name is used, unless `max_completion_tokens` is, too. `is_of_model`: it holds
    for all requests to the model, not just for one as long as this.
    """

    omitted: frozenset[str] = frozenset()
    most: Mapping[str, float] = {}
    is_of_model: bool = True

    def also(self, other: Adjustment) -> Adjustment:
        """Both of them."""
        most = dict(self.most)
        for name, value in other.most.items():
            most[name] = min(value, most.get(name, value))
        return Adjustment(self.omitted | other.omitted, most, self.is_of_model and other.is_of_model)

    @property
    def is_nothing(self) -> bool:
        return not (self.omitted or self.most)

    def __str__(self) -> str:
        return ", ".join([*sorted(self.omitted), *(f"{name} > {most:g}" for name, most in sorted(self.most.items()))])


def _named(*names: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9_])(?:{'|'.join(names)})(?![a-z0-9_])", re.IGNORECASE)


# What a reply can do without, under all the names that it goes by.
PARAMETERS: dict[str, re.Pattern[str]] = {
    "stream_options": _named("stream[_ -]?options", "include[_ -]?usage"),
    "max_completion_tokens": _named("max[_ -]?completion[_ -]?tokens"),
    "max_tokens": _named("max[_ -]?(?:output[_ -]?|new[_ -]?)?tokens"),
    "temperature": _named("temperature"),
    "top_p": _named("top[_ -]?p"),
    "presence_penalty": _named("presence[_ -]?penalty"),
    "frequency_penalty": _named("frequency[_ -]?penalty"),
    "reasoning_effort": _named("reasoning[_ -]?effort", "reasoning", "think(?:ing)?"),
    "tools": _named(
        "tools?", r"tools?\[\d+\][\w.\[\]]*", "tool[_ -]?(?:choice|calls?|calling|use)", "functions?(?:[_ -]call(?:s|ing)?)?"
    ),
    "n": re.compile(
        r"[\"'`]n[\"'`]|(?<![\w'])n\s*(?:=|>|<|must|is|should|has|can)|candidate[_ ]?count|num[_ ]?choices"
        r"|(?:multiple|number of|several)\s+(?:completions|choices|candidates|generations|alternatives)",
        re.IGNORECASE,
    ),
    "stream": _named("stream(?:ing|ed)?"),
}
_EXACT = {name: re.compile(rf"^(?:{pattern.pattern}|{name})$", re.IGNORECASE) for name, pattern in PARAMETERS.items()}
_NUMERIC = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "n")

_SYSTEM = re.compile(
    r"\brole\W{1,10}system\b|unsupported\W{1,3}system\b|messages\W{0,3}0\W{0,3}role|"
    r"system[\"'`]?\s*(?:role|message|prompt|instruction)|role[\"'`:\s]{0,3}\s*[\"'`]?system|developer\s+(?:instruction"
    r"|message|role)"
    r"|(?:support|got|role|unexpected|invalid|unknown)\w*:?\s+(?:role\s+)?[\"'`]system[\"'`]|got system"
    r"|only\s+[\"'`]?user[\"'`]?,?\s*(?:and|or|/|,)\s*[\"'`]?assistant|only user,? assistant"
    r"|roles?\s+must\s+alternate|must\s+alternate|first\s+message\s+must\s+(?:be|have)|(?:start"
    r"|begin)\w*\s+with\s+(?:a\s+)?[\"'`]?user",
    re.IGNORECASE,
)
TEMPLATE = re.compile(
    r"jinja|chat[_ ]?template|raise_exception|" + _SYSTEM.pattern + r"|successive user|last message|system message must",
    re.IGNORECASE,
)
CONTEXT = re.compile(
    r"context[_ -]?(?:length|window|size|limit)|maximum context|max[_ -]?(?:model[_ -]?len|seq[_ -]?len|sequence length"
    r"|prompt length)"
    r"|(?:prompt|input|request|messages?|conversation)[^.\n]{0,60}?\btoo (?:long|large)|too many (?:input )?tokens"
    r"|string too long"
    r"|exceed\w*[^.\n]{0,60}\b(?:context|input token|token (?:limit|count)|number of tokens|maximum (?:number of )?tokens"
    r"|prompt)"
    r"|(?:input|prompt|message)s?[^.\n]{0,40}\bexceed|reduce the length|model_max_prompt_tokens_exceeded|exceed_context"
    r"|maximum prompt",
    re.IGNORECASE,
)
# Where an endpoint goes on to tell what it would take.
_WOULD_TAKE = re.compile(
    r"(?:(?<!un)supported|allowed|valid|accepted|permitted|available|known|possible)\s+(?:parameters|params|fields|arguments"
    r"|keys|options|names)"
    r"(?:\s+are)?\s*[:=(\[]|expected one of|did you mean|\buse\s+[\"'`]?\w+[\"'`]?\s+instead|please use|try using|instead of",
    re.IGNORECASE,
)
_ONE_OF_BOTH = re.compile(
    r"\bboth\b|only (?:specify |use |set )?one|either|not .{0,30}together|mutually exclusive", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\w-])(?<!\d\.)\d[\d,_]*(?:\.\d+)?(?![\w-])")
_INPUT = re.compile(r"\b(?:input|prompt|messages|conversation|your request|requested)\b", re.IGNORECASE)
_FIXED = re.compile(r"\bonly\b[^.\n]{0,40}\b(?:allowed|supported|default|valid|accepted)|\bdefault\b|fixed", re.IGNORECASE)
_TOO_MUCH = re.compile(
    r"too (?:large|big|high|many)|exceed|at most|maximum|less than|<=|≤|>|up to|range|between|no more|greater|limit|must be"
    r"|supports? ",
    re.IGNORECASE,
)
# How servers say that they know no tools where the status says otherwise: as a route that is not there (OpenRouter), or as a
# failure of their own (llama.cpp before its templates were on: "tools param requires --jinja flag").
_TOOLS_ELSEWHERE = {
    404: re.compile(r"support (?:[^\"]{1,40} )?tool", re.IGNORECASE),
    500: re.compile(r"\btools param|\bparam: tools", re.IGNORECASE),
    501: PARAMETERS["tools"],
}


def adjustment(status: int, error: ErrorContent, sent: Mapping[str, Value], so_far: Adjustment) -> Adjustment | None:
    """How to ask again after a refusal; None if it is about nothing that can be helped.

    `sent`: what the request held of `PARAMETERS`, and `SYSTEM` if it had a system message, with the values of numbers.
    """
    if status not in (400, 422):
        return _elsewhere(status, error, sent)
    names = _structured(error, sent)
    for prose in (error.own_prose, error.prose):
        if not names:
            names = _in_prose(prose, sent)
    if len(names) > 1 and {"temperature", "top_p"} <= names and _ONE_OF_BOTH.search(error.prose):
        names = names - {"temperature"}
    if names:
        made = Adjustment()
        for name in names:
            made = made.also(_for(name, error.prose, sent, so_far))
        return msgspec.structs.replace(made, is_of_model=not _of_this_input(error.prose))
    if SYSTEM in sent and TEMPLATE.search(error.own_prose):
        return Adjustment(frozenset({SYSTEM}))
    return None


def _of_this_input(prose: str) -> bool:
    return bool(CONTEXT.search(prose) and _INPUT.search(prose))


def _elsewhere(status: int, error: ErrorContent, sent: Mapping[str, Value]) -> Adjustment | None:
    pattern = _TOOLS_ELSEWHERE.get(status)
    if pattern is not None and "tools" in sent and pattern.search(error.prose):
        return Adjustment(frozenset({"tools"}))
    if status >= 500 and SYSTEM in sent and TEMPLATE.search(error.own_prose):
        return Adjustment(frozenset({SYSTEM}))
    return None


def _structured(error: ErrorContent, sent: Mapping[str, Value]) -> frozenset[str]:
    """Those that are named as fields."""
    found = set()
    for named in error.parameters:
        if SYSTEM in sent and re.match(r"messages\W{0,3}0\W{0,3}role|system", named, re.IGNORECASE):
            found.add(SYSTEM)
        for name, exact in _EXACT.items():
            if name in sent and exact.match(named.split(".")[0]):
                found.add(name)
    return frozenset(found)


def _in_prose(prose: str, sent: Mapping[str, Value]) -> frozenset[str]:
    """Those that are named before the endpoint goes on to what it would take, or else anywhere."""
    if SYSTEM in sent and _SYSTEM.search(prose):
        return frozenset({SYSTEM})
    head = prose[: match.start()] if (match := _WOULD_TAKE.search(prose)) else prose
    for part in (head, prose):
        found = {name for name, pattern in PARAMETERS.items() if name in sent and pattern.search(part)}
        if "stream" in found and len(found) > 1:
            found.discard("stream")
        if found:
            return frozenset(found)
    return frozenset()


def _for(name: str, prose: str, sent: Mapping[str, Value], so_far: Adjustment) -> Adjustment:
    """Less of it where it was too much and a bound is told that was not tried yet; otherwise none."""
    value = sent.get(name)
    is_other_name = name == "max_tokens" and PARAMETERS["max_completion_tokens"].search(prose)
    is_too_much = _TOO_MUCH.search(prose) and not _FIXED.search(prose)
    if name in _NUMERIC and value is not None and not is_other_name and name not in so_far.most and is_too_much:
        numbers = [float(match[0].replace(",", "").replace("_", "")) for match in _NUMBER.finditer(prose)]
        below = [number for number in numbers if 0 < number < value]
        if below:
            return Adjustment(most={name: max(below)})
    if name == "max_completion_tokens" or (name == "max_tokens" and not is_other_name and "max_completion_tokens" not in sent):
        return Adjustment(frozenset({"max_tokens", "max_completion_tokens"} if not is_other_name else {name}))
    return Adjustment(frozenset({name}))
