"""`gigachat tokens`, `identity-keys` and `widget-keys`: what lets end users in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from gigachat_server.cli.client import ApiClient, connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table
from gigachat_server.settings import Settings

of_chatbot = click.option("--chatbot", required=True, metavar="NAME_OR_ID", help="Whose end users.")
sources_option = click.option(
    "--sources", type=click.Choice(["full", "titles", "none"]), default="titles", help="What they see of the sources of replies."
)


class IdentityKey(msgspec.Struct):
    """What the list shows of an identity key."""

    id: str
    name: str
    algorithm: str
    created_at: str


class WidgetKey(msgspec.Struct):
    """What the list shows of a widget key."""

    id: str
    key: str
    name: str
    hostnames: list[str]
    is_enabled: bool


# --- tokens ---


@click.group()
def tokens() -> None:
    """Open sessions for end users, and turn users out."""


@tokens.command("create")
@of_chatbot
@click.option("--user", "user_id", required=True, help="Whose session it is, by the id that your application knows.")
@click.option("--expires-in-s", type=click.IntRange(60, 86_400), default=86_400, help="Seconds until it ends. Default: a day.")
@click.option("--conversation", "conversation_ids", multiple=True, metavar="ID", help="The only ones it reaches; repeatable.")
@sources_option
@with_settings(*EVERYWHERE)
def create_token(
    settings: Settings, *, chatbot: str, user_id: str, expires_in_s: int, conversation_ids: tuple[str, ...], sources: str
) -> None:
    """Open a session for an end user and print only its bearer, gcu_..., on stdout. It cannot be shown again."""
    body: dict[str, Any] = {"user_id": user_id, "expires_in_s": expires_in_s, "sources": sources}
    if conversation_ids:
        body["conversation_ids"] = list(conversation_ids)
    made = run(_call(settings, chatbot, lambda api, path: api.post(f"{path}/sessions", body)))
    print(made["token"])
    note(f"The session of {made['user_id']!r} ends {day_and_time(made['expires_at'])}.")


@tokens.command("revoke")
@of_chatbot
@click.option("--user", "user_id", required=True, help="Whose tokens and sessions are refused from now on.")
@click.option("--block/--unblock", default=False, help="Refuse those to come, too; or no longer.")
@with_settings(*EVERYWHERE)
def revoke_tokens(settings: Settings, *, chatbot: str, user_id: str, block: bool) -> None:
    """Refuse every token and session that an end user has."""
    below = f"/users/{quote(user_id, safe='')}/revoke"
    run(_call(settings, chatbot, lambda api, path: api.post(f"{path}{below}", {"block": block})))
    note(f"{user_id!r} is out with all they had" + (", and stays out." if block else "."))


# --- identity keys ---


@click.group()
def identity_keys() -> None:
    """Create, list and revoke the keys that your server signs tokens of its users with."""


@identity_keys.command("create")
@of_chatbot
@click.option("--name", required=True, help="Which of your servers signs with it, say.")
@click.option("--algorithm", type=click.Choice(["HS256", "EdDSA", "ES256", "RS256"]), default="HS256")
@click.option("--public-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file with it in PEM.")
@sources_option
@as_json
@with_settings(*EVERYWHERE)
def create_identity_key(
    settings: Settings, *, chatbot: str, name: str, algorithm: str, public_key: Path | None, sources: str, is_json: bool
) -> None:
    """Create an identity key; prints its ID (`kid`) and, once, the shared secret of HS256."""
    body: dict[str, Any] = {"name": name, "algorithm": algorithm, "sources": sources}
    if public_key is not None:
        body["public_key"] = public_key.read_text("utf-8")
    made = run(_call(settings, chatbot, lambda api, path: api.post(f"{path}/identity-keys", body)))
    if is_json:
        print_json(made)
        return
    print(made["id"])
    if made["secret"] is not None:
        print(made["secret"])
        note("The second line is the secret. Keep it on your server: it is not shown again.")


@identity_keys.command("list")
@of_chatbot
@as_json
@with_settings(*EVERYWHERE)
def list_identity_keys(settings: Settings, *, chatbot: str, is_json: bool) -> None:
    """List those that tokens are verified with, newest first."""
    found = run(_call(settings, chatbot, lambda api, path: api.list_all(f"{path}/identity-keys")))
    if is_json:
        print_json(found)
        return
    keys = msgspec.convert(found, list[IdentityKey])
    rows = [(key.id, key.name, key.algorithm, day_and_time(key.created_at)) for key in keys]
    print_table(("ID", "NAME", "ALGORITHM", "CREATED"), rows, nothing="There are no identity keys.")


@identity_keys.command("revoke")
@click.argument("key_id", metavar="ID")
@of_chatbot
@with_settings(*EVERYWHERE)
def revoke_identity_key(settings: Settings, *, key_id: str, chatbot: str) -> None:
    """Revoke an identity key; every token that was signed with it is refused from now on."""
    run(_call(settings, chatbot, lambda api, path: api.delete(f"{path}/identity-keys/{quote(key_id, safe='')}")))
    note(f"Revoked {key_id}.")


# --- widget keys ---


@click.group()
def widget_keys() -> None:
    """Create, list, switch and revoke the keys that visitors of your pages come with."""


@widget_keys.command("create")
@of_chatbot
@click.option("--name", required=True, help="For which site it is, say.")
@click.option("--hostname", "hostnames", multiple=True, required=True, help="On whose pages it is good; repeatable.")
@click.option("--allow-apps", is_flag=True, help="Also let apps in, whose requests name no page.")
@sources_option
@as_json
@with_settings(*EVERYWHERE)
def create_widget_key(
    settings: Settings, *, chatbot: str, name: str, hostnames: tuple[str, ...], allow_apps: bool, sources: str, is_json: bool
) -> None:
    """Create a widget key and print it, gcp_..., on stdout. It is public.

    \b
    gigachat widget-keys create --chatbot Superbot --name shop --hostname www.example.com
    """
    settings_of_key = {"sources": sources, "allow_apps": allow_apps}
    body = {"name": name, "hostnames": list(hostnames), "settings": settings_of_key}
    made = run(_call(settings, chatbot, lambda api, path: api.post_once(f"{path}/widget-keys", body)))
    if is_json:
        print_json(made)
    else:
        print(made["key"])


@widget_keys.command("list")
@of_chatbot
@as_json
@with_settings(*EVERYWHERE)
def list_widget_keys(settings: Settings, *, chatbot: str, is_json: bool) -> None:
    """List widget keys, newest first."""
    found = run(_call(settings, chatbot, lambda api, path: api.list_all(f"{path}/widget-keys")))
    if is_json:
        print_json(found)
        return
    keys = msgspec.convert(found, list[WidgetKey])
    rows = [(key.id, key.name, " ".join(key.hostnames), "on" if key.is_enabled else "off", key.key) for key in keys]
    print_table(("ID", "NAME", "HOSTNAMES", "IS", "KEY"), rows, nothing="There are no widget keys.")


def _switch(name: str, summary: str, *, is_enabled: bool) -> None:
    @widget_keys.command(name, help=summary)
    @click.argument("key_id", metavar="ID")
    @of_chatbot
    @with_settings(*EVERYWHERE)
    def switch(settings: Settings, *, key_id: str, chatbot: str) -> None:
        below = f"/widget-keys/{quote(key_id, safe='')}"
        run(_call(settings, chatbot, lambda api, path: api.patch(f"{path}{below}", {"is_enabled": is_enabled})))


_switch("enable", "Let visitors in again with a widget key.", is_enabled=True)
_switch("disable", "Refuse a widget key, and the sessions it opened, until it is enabled again.", is_enabled=False)


@widget_keys.command("revoke")
@click.argument("key_id", metavar="ID")
@of_chatbot
@with_settings(*EVERYWHERE)
def revoke_widget_key(settings: Settings, *, key_id: str, chatbot: str) -> None:
    """Revoke a widget key, and every session that was opened with it, for good."""
    run(_call(settings, chatbot, lambda api, path: api.delete(f"{path}/widget-keys/{quote(key_id, safe='')}")))
    note(f"Revoked {key_id}.")


async def _call(settings: Settings, chatbot: str, call: Callable[[ApiClient, str], Awaitable[Any]]) -> Any:
    async with connected(settings) as api:
        found = await api.find_chatbot(chatbot)
        return await call(api, f"/chatbots/{found.id}")
