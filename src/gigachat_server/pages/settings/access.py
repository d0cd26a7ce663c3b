"""Who reaches a chatbot from where: widget keys with the tag to copy, identity keys, addresses, and the way to API keys.

Invariant: a shared secret is in the answer to the form that made it and nowhere else, ever.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from gigachat_server.access.identity_keys import NewIdentityKey
from gigachat_server.api.identity_keys import IdentityKeyInput
from gigachat_server.api.widget_keys import WidgetKeyInput
from gigachat_server.edge.body import convert, patched
from gigachat_server.errors import Conflict, FieldError, InvalidRequest, SecretMissing
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest
from gigachat_server.pages.settings import forms
from gigachat_server.pages.settings.config import save_config
from gigachat_server.pages.settings.page import done, render
from gigachat_server.records import ChatbotConfig, WidgetKey, WidgetSettings

_SOURCES = {"full": "their text", "titles": "their names", "none": "nothing"}
_LABELS = {
    "sources": "Of sources, visitors see",
    "allow_apps": "Let apps in",
    "allow_direct": "Let people in by a link",
    "offset_x": "From the side",
    "offset_y": "From below",
    "handoff_button": "Button that asks for a human",
    "ask_contact": "Ask for name and address",
    "csat": "Ask for a rating",
}
_ASKED = {"never": "never", "handoff": "when a human is asked for", "start": "at the start"}
_CHOICES = {"sources": _SOURCES, "ask_contact": _ASKED}
_MAIN = ("name", "hostnames", "is_enabled", "settings.sources")  # the others are folded away


def _of_widget(name: str) -> forms.Field:
    """The control for what its holder decides for visitors."""
    path, label = f"settings.{name}", _LABELS.get(name, name.replace("_", " ").capitalize())
    if name in _CHOICES:
        return forms.field(WidgetKeyInput, path, label, hint="", choices=_CHOICES[name])
    return forms.field(WidgetKeyInput, path, label)


WIDGET = (
    forms.field(WidgetKeyInput, "name", "Name", placeholder="Shop"),
    forms.field(WidgetKeyInput, "hostnames", "Hostnames", placeholder="www.example.com"),
    forms.field(
        WidgetKeyInput, "is_enabled", "Switched on", hint="Off: it is refused, and each session that was opened with it."
    ),
    *(_of_widget(each.encode_name) for each in msgspec.structs.fields(WidgetSettings)),
)
IDENTITY = (
    forms.field(IdentityKeyInput, "name", "Name", placeholder="shop server"),
    forms.field(
        IdentityKeyInput,
        "algorithm",
        "Algorithm",
        hint="",
        choices={"HS256": "HS256: a shared secret", "EdDSA": "EdDSA", "ES256": "ES256", "RS256": "RS256"},
    ),
    forms.field(IdentityKeyInput, "public_key", "Public key", placeholder="-----BEGIN PUBLIC KEY-----"),
    forms.field(IdentityKeyInput, "sources", "Of sources, its users see", hint="", choices=_SOURCES),
)
PLACES = (
    forms.field(ChatbotConfig, "restrictions.hostnames", "Hostnames", placeholder="everywhere"),
    forms.field(ChatbotConfig, "restrictions.ip_addresses", "Addresses", placeholder="everywhere"),
)
_NEW_WIDGET = WidgetKeyInput(name="", hostnames=("-",))
_NEW_IDENTITY = IdentityKeyInput(name="", algorithm="HS256")


class KeyView(msgspec.Struct, frozen=True):
    key: WidgetKey
    controls: forms.Controls


async def show(request: PageRequest[None], context: PageContext) -> Response:
    return await _page(request, context)


async def act(request: PageRequest[None], context: PageContext) -> Response:
    """What one of the page's forms asks for. What is refused is shown beside its field, with what was typed."""
    do = request.form.get("do", "")
    try:
        match do:
            case "widget":
                return await _save_widget(request, context)
            case "identity":
                return await _make_identity(request, context)
            case "places":
                await save_config(request, context, PLACES)
                return done(request, "access", "saved")
            case "revoke-widget":
                await context.services.widget_keys.revoke(request.principal, request.chatbot, request.form.get("id", ""))
                return done(request, "access", "key-revoked")
            case "revoke-identity":
                await context.services.identity_keys.revoke(request.principal, request.chatbot, request.form.get("id", ""))
                return done(request, "access", "key-revoked")
            case _:
                raise InvalidRequest(errors=(FieldError("do", "Is not known."),))
    except (InvalidRequest, Conflict, SecretMissing) as error:
        errors = error.errors or (FieldError("", error.detail or error.message),)
        return await _page(request, context, status=error.status, refused=do, errors=errors)


async def _save_widget(request: PageRequest[None], context: PageContext) -> Response:
    """A new key, or what becomes of the one that the form names."""
    keys, key_id = context.services.widget_keys, request.form.get("id", "")
    patch = forms.patch_of(WIDGET, request.form)
    wanted = convert(patch, WidgetKeyInput)
    if key_id:
        merge = functools.partial(_merged, wanted=wanted, patch=patch)
        await keys.change(request.principal, request.chatbot, key_id, merge)
    else:
        await keys.create(
            request.principal,
            request.chatbot,
            name=wanted.name,
            hostnames=wanted.hostnames,
            settings=wanted.settings,
            is_enabled=wanted.is_enabled,
        )
    return done(request, "access", "key-saved")


def _merged(held: WidgetKey, *, wanted: WidgetKeyInput, patch: dict[str, Any]) -> WidgetKey:
    return patched(held, wanted, patch)


async def _make_identity(request: PageRequest[None], context: PageContext) -> Response:
    """Its secret is in this answer and nowhere else, ever."""
    wanted = convert(forms.patch_of(IDENTITY, request.form), IdentityKeyInput)
    made = await context.services.identity_keys.create(
        request.principal, request.chatbot, wanted.name, wanted.algorithm, wanted.public_key, wanted.sources
    )
    return await _page(request, context, status=201, made=made)


async def _page(
    request: PageRequest[None],
    context: PageContext,
    *,
    status: int = 200,
    refused: str = "",
    errors: Sequence[FieldError] = (),
    made: NewIdentityKey | None = None,
) -> Response:
    services, who, chatbot, typed = context.services, request.principal, request.chatbot, request.form
    keys = await services.widget_keys.list(who, chatbot)
    again = typed.get("id", "") if refused == "widget" else None

    def controls(key: WidgetKey) -> forms.Controls:
        return forms.show_again(WIDGET, typed, errors) if again == key.id else forms.show(WIDGET, key)

    new = forms.show(WIDGET, _NEW_WIDGET)
    new["hostnames"] = forms.Control(new["hostnames"].field, "")
    shown = {"widget": WIDGET, "identity": IDENTITY, "places": PLACES}.get(refused, ())
    return await render(
        request,
        context,
        "access",
        status=status,
        widget_keys=[KeyView(key, controls(key)) for key in keys],
        new_widget=forms.show_again(WIDGET, typed, errors) if again == "" else new,
        identity_keys=await services.identity_keys.list(who, chatbot),
        new_identity=(
            forms.show_again(IDENTITY, typed, errors) if refused == "identity" else forms.show(IDENTITY, _NEW_IDENTITY)
        ),
        places=forms.show_again(PLACES, typed, errors) if refused == "places" else forms.show(PLACES, chatbot.config),
        problems=[error.message for error in errors if not error.field] + forms.elsewhere(shown, [e for e in errors if e.field]),
        refused=refused,
        refused_id=again,
        made=made,
        address=request.address,
        main=_MAIN,
    )
