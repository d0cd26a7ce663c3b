"""Maps an endpoint's failures (statuses, error bodies, errors inside a stream) to our own errors; no I/O.

Invariant: the endpoint's prose is compared with words that we know, and never passed on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from gigachat_server.errors import (
    ModelContextTooLong,
    ModelError,
    ModelFiltered,
    ModelNotFound,
    ModelParameterRefused,
    ModelPaymentRequired,
    ModelRateLimited,
    ModelRejected,
    ModelTemplateRefused,
    ModelTimeout,
    ModelUnauthorised,
)
from gigachat_server.models.endpoints.refusals import CONTEXT, PARAMETERS, TEMPLATE
from gigachat_server.models.endpoints.said import ErrorContent

_FILTER = re.compile(
    r"content[_ -]?(?:filter|policy|management|moderation)|responsible ?ai|moderation|flagged|safety (?:system|filter"
    r"|setting)|guardrail"
    r"|data_?inspection|sensitive (?:content|word|information)|inappropriate content|prohibited content"
    r"|violat\w* [^.\n]{0,40}polic"
    r"|jailbreak|blocked by|high risk|unsafe content|risk control",
    re.IGNORECASE,
)
_PAYMENT = re.compile(
    r"insufficient[_ ]?(?:quota|balance|credit|fund)|billing|payment|credit balance|(?:out of|no|not enough|more"
    r"|insufficient) credits?\b"
    r"|exceeded your current quota|arrear|overdue|account [^.\n]{0,30}suspended|balance is|spend(?:ing)? limit|top up",
    re.IGNORECASE,
)
_UNAUTHORISED = re.compile(
    r"(?:invalid|incorrect|missing|wrong|no|expired|malformed|provide|bad)[^.\n]{0,30}(?:api|auth\w*|access"
    r"|secret)?[_ -]?(?:key|token|credential)"
    r"|(?:key|token|credential)s?\b[^.\n]{0,20}(?:not valid|invalid|expired|missing|revoked|required)"
    r"|unauthori[sz]ed|unauthenticated|authenticat|permission|forbidden|access denied|not authorized|api[_ ]key_invalid",
    re.IGNORECASE,
)
_AUTH_CODES = ("auth", "api_key", "apikey", "permission", "forbidden", "access_denied")
_NO_MODEL = re.compile(
    r"model[_ ]?not[_ ]?(?:found|exist|available)|(?:unknown|invalid|no such|unsupported|nonexistent|unrecogni[sz]ed"
    r"|missing)[ _]model"
    r"|model[^.\n]{0,120}(?:not found|does ?n[o']t exist|not exist|not available|not loaded|unavailable|not supported by"
    r"|is not a valid"
    r"|no longer|deprecated|decommissioned|has been (?:removed|retired))|not a valid model"
    r"|deployment[^.\n]{0,60}(?:does not exist|not found)"
    r"|deploymentnotfound|no (?:healthy )?deployments? available|no endpoints found for|no models? (?:loaded|provided)"
    r"|try pulling"
    r"|not_found_error|must (?:provide|specify) a model|model is required|invalid model",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"rate[_ -]?limit|too many requests|resource[_ ]?exhausted|throttl|requests? per (?:minute|second|day)"
    r"|tokens per (?:minute|day)"
    r"|\bquota|capacity exceeded|rpm|tpm\b",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"unsupported[_ ](?:parameter|value|param)|unknown (?:parameter|field|name|argument)"
    r"|unrecogni[sz]ed (?:request )?(?:argument|field|parameter)"
    r"|extra (?:inputs?|fields?)|extra_forbidden|unexpected (?:keyword|field|argument|property)|(?:does ?n[o']t"
    r"|not) support\w* (?:param|the param)"
    r"|(?:argument|parameter|field)s? (?:is |are )?not (?:supported|allowed|permitted)|unsupportedparams",
    re.IGNORECASE,
)


def failure_said(error: ErrorContent, status: int | None = None, headers: Mapping[str, str] | None = None) -> ModelError:
    """The error for what an endpoint reports, as the status of its answer, or inside a stream that began as a success.

    Of several meanings, the one that people can do most about.
    """
    status = status or error.status
    words = " ".join((*error.codes, error.own_prose))
    retry_s = retry_after_s(headers or {})
    if status == 402 or (_PAYMENT.search(words) and (status is None or status < 500)):
        return ModelPaymentRequired()
    if status == 429 or (status in (None, 503) and _RATE.search(words)):
        return ModelRateLimited(retry_after_s=retry_s)
    if status is not None and status >= 500 and not TEMPLATE.search(error.own_prose):
        return ModelError(retry_after_s=retry_s)
    return _rejection(error, status, words, retry_s)


def _rejection(error: ErrorContent, status: int | None, words: str, retry_s: int | None) -> ModelError:
    if status == 408:
        return ModelTimeout()
    if status == 401 or any(part in code for code in error.codes for part in _AUTH_CODES):
        return ModelUnauthorised()
    if status == 413 or CONTEXT.search(words):
        return ModelContextTooLong()
    if _FILTER.search(words):
        return ModelFiltered()
    if status == 403:
        return ModelUnauthorised()
    if _NO_MODEL.search(words):
        return ModelNotFound()
    if TEMPLATE.search(error.own_prose):
        return ModelTemplateRefused()
    if status in (None, 400) and _UNAUTHORISED.search(error.own_prose):
        return ModelUnauthorised()
    if _RATE.search(words):
        return ModelRateLimited(retry_after_s=retry_s)
    if _PARAMETER.search(words) or _names_parameter(error):
        return ModelParameterRefused()
    if status is None and not any(word in code for code in error.codes for word in ("invalid", "badrequest", "bad_request")):
        return ModelError(retry_after_s=retry_s)
    return ModelRejected()


def _names_parameter(error: ErrorContent) -> bool:
    return any(pattern.search(named) for named in error.parameters for pattern in PARAMETERS.values())


def retry_after_s(headers: Mapping[str, str]) -> int | None:
    """Whole seconds until a retry is welcome, rounded up. A date counts from the answer's own: no clock is compared."""
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    if not math.isfinite(seconds):
        return None
    return min(max(math.ceil(seconds), 0), 86_400)
