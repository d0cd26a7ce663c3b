"""A request of a browser: who is signed in, what its form holds, and where it came from.

Idea: forms are strict and go through the same decoder as the API's bodies. Invariant: a request that changes something came from
one of our own pages: it carries the session's CSRF token, and the browser says that it is of the same origin.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.types import Scope

from gigachat_server.access import scopes
from gigachat_server.access.restrictions import check_restrictions
from gigachat_server.access.sessions import Session
from gigachat_server.edge.body import decode
from gigachat_server.edge.request import Authoriser, B, Request
from gigachat_server.errors import Forbidden, GigachatError, InvalidRequest, UnsupportedMediaType
from gigachat_server.records import RestrictionsConfig
from gigachat_server.settings import Settings

T = TypeVar("T")

_MOST_FIELDS = 150  # a form that names every chatbot of a page

COOKIE = "gigachat_session"
OIDC_COOKIE = "gigachat_oidc"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
MAX_FORM_BYTES = 64 * 1024


class PageRequest(Request[B]):
    """One request of a browser. Handlers of pages that need a login may rely on `session` and `principal`."""

    def __init__(self, scope: Scope, authoriser: Authoriser, settings: Settings) -> None:
        super().__init__(scope, authoriser, trusted=settings.proxy_networks)
        self.address = settings.public_url.rstrip("/") or self.origin  # what people type
        self.session_id = cookie(self.headers.get("cookie", ""), COOKIE)
        self.session: Session | None = None
        self.form: dict[str, str] = {}

    @property
    def is_secure(self) -> bool:
        return self.origin.startswith("https:")

    def may(self, scope: scopes.Scope) -> bool:
        """Whether the visitor may do that, for templates."""
        return self.caller is not None and self.caller.may(scope)

    def check_addresses(self, restrictions: RestrictionsConfig) -> None:
        """The addresses that a chatbot is restricted to hold here too; its hostnames are those of other pages."""
        check_restrictions(restrictions, peer=self.peer, headers={}, has_key=True)


def me_of(request: PageRequest[Any]) -> str:
    """The handle of the operator who is signed in; empty for anybody else."""
    operator = None if request.session is None else request.session.operator
    return "" if operator is None else operator.handle


def cookie(header: str, name: str) -> str:
    """The value of that cookie, the last if it comes twice, or nothing. A quoted value is not unquoted: none of ours is."""
    found = ""
    for pair in re.split("[;,]", header):  # repeated headers are joined by commas
        given, _, value = pair.partition("=")
        if given.strip() == name:
            found = value.strip()
    return found


def parse_form(raw: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """The fields of an urlencoded form. Raises `UnsupportedMediaType`, or `InvalidRequest` for a repeated field."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("A form is sent as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise InvalidRequest("The form cannot be decoded.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequest("A field of the form comes twice.")
    return fields


def checked(request: PageRequest[Any], wanted: type[T], settings: Settings) -> T:
    """The form as that struct, under the rules of the API's bodies. Raises `InvalidRequest`."""
    fields = {name: value for name, value in request.form.items() if name != CSRF_FIELD}
    return decode(msgspec.json.encode(fields), wanted, settings)


def first_problem(error: GigachatError) -> str:
    """What is wrong, as one sentence for a person."""
    problems = [f"{problem.field}: {problem.message}" for problem in error.errors[:1]]
    return problems[0] if problems else error.detail or error.message


# --- from where it came ---


def check_same_origin(request: PageRequest[Any]) -> None:
    """Raises `Forbidden` unless the browser says that the request comes from one of our own pages."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        is_ours = site == "same-origin"
    else:  # plain http on other than this machine, or an old browser
        try:
            is_ours = urlsplit(request.headers.get("origin", "")).netloc == urlsplit(request.origin).netloc
        except ValueError:  # `http://[`
            is_ours = False
    if not is_ours:
        raise Forbidden("This request did not come from a page of this server.")


def check_csrf(request: PageRequest[Any]) -> None:
    """Raises `Forbidden` unless the request carries the token of its session."""
    given = request.form.get(CSRF_FIELD) or request.headers.get(CSRF_HEADER, "")
    wanted = request.session.csrf_token if request.session else ""
    if not wanted or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Forbidden("This page is out of date. Load it again and repeat what you did.")
