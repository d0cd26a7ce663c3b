"""Widget keys: what a visitor's browser shows of the page it is on. They are public, and good on the hostnames they name.

Invariant: a key opens anonymous sessions and nothing else; once it is disabled or revoked, neither it nor a session that was
opened with it is let in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gigachat_server.access.bearers import WIDGET_KEY
from gigachat_server.access.contrast import LEAST_CONTRAST, contrast_with_white
from gigachat_server.access.principal import Principal
from gigachat_server.access.restrictions import hostname_errors
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import shown_name
from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, FieldError, InvalidRequest, NotFound
from gigachat_server.ids import is_id
from gigachat_server.records import Chatbot, WidgetKey, WidgetSettings
from gigachat_server.store import audit, chatbots, idempotency, widget_keys
from gigachat_server.store.database import Database, Reader, Tx

MOST_LIVE = 100


class TooManyWidgetKeys(Conflict):
    code = "too_many_widget_keys"
    message = f"A chatbot has {MOST_LIVE} widget keys at most: delete one, or add hostnames to another."


class WidgetKeys:
    """Makes, lists, changes and revokes the widget keys of chatbots."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find_live(self, chatbot_id: str, bearer: str) -> tuple[Chatbot, WidgetKey] | None:
        """The chatbot and the key that a page shows; None for one that lets none in."""
        if not is_id(chatbot_id) or not WIDGET_KEY.is_well_formed(bearer):
            return None
        found = live_key(await widget_keys.list_live_remembered(self._database, chatbot_id), WIDGET_KEY.id_of(bearer))
        if found is None or found.key != bearer:  # it is public
            return None
        return await self._with_chatbot(found)

    async def find_direct(self, chatbot_id: str) -> tuple[Chatbot, WidgetKey] | None:
        """Likewise, the newest key that lets anyone with the link chat."""
        if not is_id(chatbot_id):
            return None
        keys = await widget_keys.list_live_remembered(self._database, chatbot_id)
        found = next((key for key in keys if key.is_live and key.settings.allow_direct), None)
        return None if found is None else await self._with_chatbot(found)

    async def _with_chatbot(self, key: WidgetKey) -> tuple[Chatbot, WidgetKey] | None:
        chatbot = await chatbots.find_remembered_of_any_account(self._database, key.chatbot_id)
        return None if chatbot is None else (chatbot, key)

    async def create(
        self,
        principal: Principal,
        chatbot: Chatbot,
        *,
        name: str,
        hostnames: Sequence[str],
        settings: WidgetSettings,
        is_enabled: bool,
        key: idempotency.Key | None = None,
    ) -> WidgetKey:
        """With a key, it is kept under it as it is now. Raises `Forbidden`, `InvalidRequest`, `TooManyWidgetKeys`."""
        _admit(principal, chatbot)
        secret = WIDGET_KEY.mint()
        made = WidgetKey(
            chatbot_id=chatbot.id,
            id=WIDGET_KEY.id_of(secret),
            key=secret,
            name=name,
            hostnames=tuple(hostnames),
            settings=settings,
            is_enabled=is_enabled,
            created_at=self._clock(),
            revoked_at=None,
        )
        _check(made)

        async def body(tx: Tx) -> None:
            if await chatbots.lock(tx, principal.account_id, chatbot.id) is None:
                raise NotFound
            if len(await widget_keys.list_live(tx, chatbot.id)) >= MOST_LIVE:
                raise TooManyWidgetKeys
            await widget_keys.insert(tx, made)
            await self._record(tx, principal, chatbot, "created", made.id)
            await idempotency.keep_result(tx, key, made, now_us=made.created_at)

        await self._database.transaction("widget_key.create", body)
        return made

    async def list(self, principal: Principal, chatbot: Chatbot) -> list[WidgetKey]:
        """Those that were not revoked, newest first."""
        _admit(principal, chatbot)

        async def read(reader: Reader) -> list[WidgetKey]:
            return [*await widget_keys.list_live(reader, chatbot.id)]

        return await self._database.read(read)

    async def change(
        self, principal: Principal, chatbot: Chatbot, key_id: str, merge: Callable[[WidgetKey], WidgetKey]
    ) -> WidgetKey:
        """`merge`, pure, says what becomes of the key as it is stored now. Raises `NotFound`, and what `merge` raises."""
        _admit(principal, chatbot)

        async def body(tx: Tx) -> WidgetKey:
            held = await widget_keys.lock(tx, chatbot.id, key_id)
            if held is None:
                raise NotFound
            changed = merge(held)
            _check(changed)
            await widget_keys.update(tx, changed)
            names = [name for name in held.__struct_fields__ if getattr(held, name) != getattr(changed, name)]
            await self._record(tx, principal, chatbot, "changed", key_id, changed=names)
            return changed

        return await self._database.transaction("widget_key.change", body)

    async def revoke(self, principal: Principal, chatbot: Chatbot, key_id: str) -> None:
        """From now on the key, and the sessions that were opened with it, are refused. Raises `NotFound`."""
        _admit(principal, chatbot)

        async def body(tx: Tx) -> None:
            if not await widget_keys.revoke(tx, chatbot.id, key_id, now_us=self._clock()):
                raise NotFound
            await self._record(tx, principal, chatbot, "revoked", key_id)

        await self._database.transaction("widget_key.revoke", body)

    async def _record(self, tx: Tx, principal: Principal, chatbot: Chatbot, act: str, key_id: str, **detail: Any) -> None:
        await audit.add(
            tx,
            principal.account_id,
            actor=principal.actor,
            action=f"widget_key.{act}",
            target=f"chatbot:{chatbot.id}",
            detail={"widget_key": key_id, **detail},
            now_us=self._clock(),
        )


def _admit(principal: Principal, chatbot: Chatbot) -> None:
    principal.require(Scope.ACCESS_WRITE)
    principal.check_reach(chatbot)


def _check(key: WidgetKey) -> None:
    """Raises `InvalidRequest`."""
    shown_name(key.name, "name")
    errors = hostname_errors(key.hostnames, "hostnames")
    if contrast_with_white(key.settings.accent) < LEAST_CONTRAST:
        message = f"Must be dark enough for white text: a contrast of {LEAST_CONTRAST}:1 (WCAG 2.2, 1.4.3)."
        errors.append(FieldError("settings.accent", message))
    if errors:
        raise InvalidRequest(errors=tuple(errors))


def live_key(keys: Sequence[WidgetKey], key_id: str | None) -> WidgetKey | None:
    """The one of that id, if it lets anyone in."""
    return next((key for key in keys if key.id == key_id and key.is_live), None)


def hostnames_of(keys: Sequence[WidgetKey]) -> list[str]:
    """All on which one of them is good."""
    return [hostname for key in keys if key.is_live for hostname in key.hostnames]
