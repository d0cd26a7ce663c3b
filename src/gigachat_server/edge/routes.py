"""What every row of a table of routes says, on whatever surface.

Invariant: a route names the scope its caller needs, or says that it is public or for anyone who is signed in. How the type of
its body agrees with its handler, the rows of each surface say (`api/routes.py`, `pages/routes.py`).
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from gigachat_server.access.scopes import Scope

PUBLIC: Final = "public"
SIGNED_IN: Final = "signed in"

Access = Scope | Literal["public", "signed in"]
# Where a request names its chatbot: by its id in the path, the query or the body; or as `chatbot_names.py` finds it: as the
# `model`, by a response of it, or as the account's only one.
ChatbotIn = Literal["path", "query", "body", "model", "response", "account"]


class AnyRoute(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str
    scope: Access
    handler: Any
    request: Any = None  # struct of the body; None: no body is read
    end_user_request: Any = None  # of the body of an end user, where that is another
    chatbot_in: ChatbotIn | None = None  # a path tells itself
    is_filtered: bool = False  # it names no chatbot, and shows those who belong to some chatbots these alone
    end_user: Literal["no", "own"] = "no"  # whether end users reach it, and then what is theirs
    is_guarded: bool = False  # end users reach it: the chatbot's restrictions apply
    is_large: bool = False  # the body may be as large as a document
    takes_file: bool = False  # the body may be a form with a file instead, which is answered with 202
    is_merge: bool = False  # the body is any part of `request`, to be merged into what is stored
    is_body_optional: bool = False  # no body stands for an empty object
    has_location: bool = False  # what it made is found below this path, by its id
    status: int = 200  # of success
    is_prompt: bool = False  # starts a turn, which handles its Idempotency-Key itself
    is_openai: bool = False  # speaks as OpenAI's API does: what it does not know is ignored, and errors have another form

    def __post_init__(self) -> None:
        if "{chatbot_id}" in self.path:
            msgspec.structs.force_setattr(self, "chatbot_in", "path")

    @property
    def needs_body(self) -> bool:
        """Whether its chatbot is known only once the body is read."""
        return self.chatbot_in == "body" or (self.chatbot_in == "model" and self.request is not None)

    @property
    def is_list(self) -> bool:
        """Whether it answers with an array that may be long."""
        return False

    @property
    def parameters(self) -> tuple[str, ...] | None:
        """The names of the query that it understands; None: others are ignored."""
        return None

    @property
    def is_idempotent(self) -> bool:
        """Whether an `Idempotency-Key` is understood."""
        return self.is_prompt
