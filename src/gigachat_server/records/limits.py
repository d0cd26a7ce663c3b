"""How much of a chatbot its callers may use: rates for each caller, and budgets for a day.

`null` where a rate or a budget stands: no limit. Types are apart where their defaults are.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_Quota = Annotated[int, Meta(ge=1, le=1_000_000, description="How many are allowed in a window.")]
_Window = Annotated[int, Meta(ge=1, le=86_400, description="In seconds. The quota refills evenly over it.")]


class RateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many in any window: all at once, or one after the other as the quota refills."""

    quota: _Quota = 20
    window_s: _Window = 60


class UserRate(RateConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prompts of one end user."""


class AddressRate(RateConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prompts of end users from one IPv4 address or IPv6 /64."""

    quota: _Quota = 60


class SessionRate(RateConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Anonymous sessions from one IPv4 address or IPv6 /64."""

    quota: _Quota = 10
    window_s: _Window = 3600


class KeyRate(RateConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prompts sent with one API key."""

    quota: _Quota = 600


_Turns = Annotated[int, Meta(ge=0, le=1_000_000_000)] | None
_Tokens = Annotated[int, Meta(ge=0, le=1_000_000_000_000)] | None
_TURNS = Meta(description="Prompts that are answered; null: no limit.")
_TOKENS = Meta(description="Tokens of the model, prompts and replies together; null: no limit.")


class BudgetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all end users together may use on a day (UTC)."""

    turns: Annotated[_Turns, _TURNS] = None
    tokens: Annotated[_Tokens, _TOKENS] = None


class AnonymousBudget(BudgetConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all anonymous end users together may use on a day (UTC)."""

    turns: Annotated[_Turns, _TURNS] = 2000


class BudgetsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For a day (UTC), store-wide. Prompts sent with API keys do not count."""

    users: BudgetConfig = BudgetConfig()
    anonymous: AnonymousBudget = AnonymousBudget()


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much end users, and API keys, may use; null: no limit."""

    user: UserRate | None = UserRate()
    address: AddressRate | None = AddressRate()
    sessions: SessionRate | None = SessionRate()
    key: KeyRate | None = None
    budgets: BudgetsConfig = BudgetsConfig()


class Spending(msgspec.Struct, frozen=True):
    """What was used of a budget."""

    turns: int = 0
    tokens: int = 0
