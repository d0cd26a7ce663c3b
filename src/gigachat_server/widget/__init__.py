"""The chat that visitors of any website meet: a script tag's launcher, the frame behind it, and what that frame calls.

Idea: the frame is of our own origin, so its HTML comes from our templates and needs no sanitiser, and no script of the page
around it reads along. Invariant: the speaker here is an end user by their own session or token, never by a cookie, and may do
what the API lets the same end user do, through the same front door.
"""

from __future__ import annotations

from gigachat_server.widget.dispatch import Widget as Widget
