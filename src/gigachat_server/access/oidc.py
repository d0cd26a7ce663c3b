"""Signing in with a provider of identities: OpenID Connect's code flow, with PKCE, state and nonce.

Idea: a browser on its way to the provider holds one secret in a cookie, and state, nonce and verifier are derived from it. So an
answer counts only in the browser that asked, and only once: the store holds the SHA-256 of the state until it is claimed.
Invariant: an identity comes from a token that the provider signed for this client and this login; its algorithm is one of those
with a public key, and claims are read, strictly, after the signature was verified.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from gigachat_server.access.one_way import derived, digest, new_secret
from gigachat_server.access.sign_in import Identity
from gigachat_server.clock import Clock
from gigachat_server.errors import GigachatError, Unauthenticated
from gigachat_server.settings import Settings
from gigachat_server.store import oidc_logins
from gigachat_server.store.database import Database, Tx

T = TypeVar("T")

LOGIN_S = 600
PATIENCE_S = 5.0
MOST_BYTES = 1024 * 1024
KNOWN_S = 3600  # how long what the provider publishes is taken for granted
REFETCH_S = 60  # a token with an unknown key has the keys fetched anew, but not more often
LEEWAY_S = 60
ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")

_SECOND = 1_000_000


class IdentityRefused(Unauthenticated):
    code = "identity_refused"
    message = "The provider's answer does not belong to this login. Try again."


class ProviderUnavailable(GigachatError):
    status = 502
    code = "identity_provider_unavailable"
    message = "The identity provider cannot be reached, or answers with something else than OpenID Connect."


class _Metadata(msgspec.Struct, frozen=True):
    """What we read of a provider's document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str


class _Keys(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str | None = None
    crit: Any = msgspec.UNSET


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    iat: int | float
    nonce: str
    azp: str | None = None
    email: str | None = None
    email_verified: bool = False
    name: str = ""


class Provider:
    """The provider that the settings name."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._client_id = settings.oidc_client_id
        self._client_secret = settings.oidc_client_secret
        self._metadata: tuple[int, _Metadata] | None = None
        self._keys: tuple[int, list[dict[str, Any]]] | None = None
        self._fetching = asyncio.Lock()

    @property
    def name(self) -> str:
        """What the button of the login page says: the host."""
        return self._issuer.partition("://")[2].partition("/")[0]

    async def begin(self, next_page: str, redirect_uri: str) -> tuple[str, str]:
        """What the browser's cookie holds until it is back, and the address at the provider that it goes to."""
        metadata, secret = await self._discovered(), new_secret()
        state, expires_at = derived(secret, "state"), self._clock() + LOGIN_S * _SECOND

        async def body(tx: Tx) -> None:
            await oidc_logins.insert(tx, digest(state), next_page=next_page, expires_at=expires_at)

        await self._database.transaction("oidc.begin", body)
        verified_by = hashlib.sha256(derived(secret, "verifier").encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email profile",
            "state": state,
            "nonce": derived(secret, "nonce"),
            "code_challenge": base64.urlsafe_b64encode(verified_by).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        return secret, metadata.authorization_endpoint + joint + urlencode(query)

    async def complete(self, secret: str, answer: Mapping[str, str], redirect_uri: str) -> tuple[Identity, str]:
        """Who it is, and the page to open. `answer`: what the provider said in the address. Raises `IdentityRefused`."""
        state, code = answer.get("state", ""), answer.get("code", "")
        if not secret or not hmac.compare_digest(state.encode(), derived(secret, "state").encode()):
            raise IdentityRefused

        async def body(tx: Tx) -> str | None:
            return await oidc_logins.claim(tx, digest(state), now_us=self._clock())

        next_page = await self._database.transaction("oidc.complete", body)
        metadata = await self._discovered()
        if next_page is None or not code or answer.get("iss", metadata.issuer) != metadata.issuer:
            raise IdentityRefused
        token = await self._exchanged(metadata, code, derived(secret, "verifier"), redirect_uri)
        claims = await self._verified(metadata, token)
        self._check(claims, metadata, derived(secret, "nonce"))
        email = claims.email if claims.email_verified else None
        return Identity(issuer=claims.iss, subject=claims.sub, email=email, name=claims.name), next_page

    def _check(self, claims: _Claims, metadata: _Metadata, nonce: str) -> None:
        now_s = self._clock() / _SECOND
        audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        is_ours = self._client_id in audience and (claims.azp or self._client_id) == self._client_id
        if (
            claims.iss != metadata.issuer
            or not is_ours
            or (len(audience) > 1 and claims.azp is None)
            or not claims.exp + LEEWAY_S > now_s
            or not claims.iat - LEEWAY_S <= now_s
            or not hmac.compare_digest(claims.nonce.encode(), nonce.encode())
            or not 1 <= len(claims.sub) <= 255
        ):
            raise IdentityRefused

    async def _exchanged(self, metadata: _Metadata, code: str, verifier: str, redirect_uri: str) -> str:
        """The ID token for that code."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        headers = {}
        if self._client_secret and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._client_secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form["client_id"] = self._client_id
            if self._client_secret:
                form["client_secret"] = self._client_secret
        return (await _fetched(metadata.token_endpoint, _Tokens, form=form, headers=headers)).id_token

    async def _verified(self, metadata: _Metadata, token: str) -> _Claims:
        """What a token says whose signature is right."""
        import jwt  # a quarter of a second and 15 MB, for those who sign in so

        try:
            header = msgspec.convert(jwt.get_unverified_header(token), _Header)
            if header.alg not in ALGORITHMS or header.crit is not msgspec.UNSET:
                raise IdentityRefused
            key = await self._key(metadata, header)
            signed = jwt.api_jws.PyJWS().decode_complete(token, key=jwt.PyJWK(key, algorithm=header.alg), algorithms=[header.alg])
            return msgspec.json.decode(signed["payload"], type=_Claims)
        except (jwt.PyJWTError, msgspec.MsgspecError, ValueError):
            raise IdentityRefused from None

    async def _key(self, metadata: _Metadata, header: _Header) -> dict[str, Any]:
        """The provider's key of that id; without one, its only key that fits."""
        for is_last in (False, True):
            keys = await self._published_keys(metadata, anew=is_last)
            fitting = [key for key in keys if key.get("use", "sig") == "sig" and key.get("alg", header.alg) == header.alg]
            if header.kid is not None:
                fitting = [key for key in fitting if key.get("kid") == header.kid]
            if len(fitting) == 1:
                return fitting[0]
        raise IdentityRefused

    async def _published_keys(self, metadata: _Metadata, *, anew: bool) -> list[dict[str, Any]]:
        async with self._fetching:
            now = self._clock()
            lasts_s = REFETCH_S if anew else KNOWN_S
            if self._keys is None or now - self._keys[0] >= lasts_s * _SECOND:
                self._keys = now, (await _fetched(metadata.jwks_uri, _Keys)).keys
            return self._keys[1]

    async def _discovered(self) -> _Metadata:
        async with self._fetching:
            now = self._clock()
            if self._metadata is None or now - self._metadata[0] >= KNOWN_S * _SECOND:
                found = await _fetched(f"{self._issuer}/.well-known/openid-configuration", _Metadata)
                if found.issuer.rstrip("/") != self._issuer:
                    raise ProviderUnavailable("The identity provider's document names another issuer than GIGACHAT_OIDC_ISSUER.")
                self._metadata = now, found
            return self._metadata[1]


async def _fetched(
    url: str, wanted: type[T], *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> T:
    """What the provider answers, as that struct. The address is the administrator's, so it may be a private one.

    Raises `ProviderUnavailable`, and `IdentityRefused` where it refuses the form.
    """
    import aiohttp  # imported by those who call an endpoint

    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    method = "GET" if form is None else "POST"
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, data=form, headers=headers, allow_redirects=False) as response,
        ):
            raw = await response.content.read(MOST_BYTES + 1)
            while len(raw) <= MOST_BYTES and (more := await response.content.read(MOST_BYTES)):
                raw += more
            if form is not None and 400 <= response.status < 500:
                raise IdentityRefused
            if response.status != 200 or len(raw) > MOST_BYTES:
                raise ProviderUnavailable
            return msgspec.json.decode(raw, type=wanted)
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, ValueError):
        raise ProviderUnavailable from None
