"""Builds the URLs of an OpenAI-compatible endpoint from the base URL in the settings.

Invariant: no message repeats the URL: it may hold a secret.
"""

from __future__ import annotations

from yarl import URL

from gigachat_server.errors import SetupError


def endpoint_url(base: str, suffix: str, *, whose: str) -> URL:
    """The base with `suffix` (`/embeddings`) and, if it has no path, `/v1`. Raises `SetupError` in one line."""
    try:
        url = URL(base.strip())
        port = url.port
    except ValueError:
        raise SetupError(f"The {whose} endpoint's URL is invalid: it should look like https://host/v1.") from None
    if url.scheme not in ("http", "https") or not url.host or not port:
        raise SetupError(f"The {whose} endpoint's URL must begin with http:// or https:// and name a host.")
    if url.user is not None or url.password is not None:
        raise SetupError(f"The {whose} endpoint's URL holds a user or password: give the key separately.")
    path = url.raw_path.rstrip("/")
    if not path.endswith(suffix):
        path = (path or "/v1") + suffix
    return url.with_path(path, encoded=True, keep_query=True).with_fragment(None)
