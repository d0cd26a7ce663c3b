"""Tokens that a client's server signs: which are good, and that all others look the same."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gigachat_server.access.speakers import end_user_id
from gigachat_server.errors import InvalidRequest
from tests.access.forged import encoded, signed, unsigned
from tests.access.people import ALICE, BOB, People, people
from tests.harness import Api, Reply, gigachat
from tests.turns import Clock, rows

Make = Callable[[People, str], str]

PRIVATE = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}


def pem(private: Any) -> str:
    text: str = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return text


def private_pem(private: Any) -> str:
    text: str = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return text


def headed(header: dict[str, Any]) -> Make:
    """A good payload below this header, signed with the right secret."""
    return lambda shop, _: signed({"alg": "HS256", "kid": shop.kid, **header}, shop.claims(), shop.secret)


def saying(**claims: Any) -> Make:
    """A good header and signature over these claims; None leaves one out."""

    def make(shop: People, _: str) -> str:
        said = {name: value for name, value in {**shop.claims(), **claims}.items() if value is not ...}
        return signed({"alg": "HS256", "kid": shop.kid}, said, shop.secret)

    return make


def about_time(**shifts: float) -> Make:
    """Its times moved by seconds from now: `iat`, `exp`, `nbf`."""

    def make(shop: People, _: str) -> str:
        now = shop.claims()["iat"]
        return saying(**{name: now + shift for name, shift in shifts.items()})(shop, _)

    return make


def raw(payload: str) -> Make:
    """A payload that is no JSON of ours: `{aud}` and `{now}` stand for what a good one says."""

    def make(shop: People, _: str) -> str:
        claims = shop.claims()
        text = payload.replace("{aud}", claims["aud"]).replace("{now}", str(claims["iat"]))
        return signed({"alg": "HS256", "kid": shop.kid}, text.encode(), shop.secret)

    return make


def cut(part: int, change: Callable[[str], str]) -> Make:
    """A good token, one part of which was changed afterwards."""

    def make(shop: People, _: str) -> str:
        parts = shop.token().split(".")
        parts[part] = change(parts[part])
        return ".".join(parts)

    return make


def flipped(part: str) -> str:
    return ("A" if part[0] != "A" else "B") + part[1:]


def grown(size: int) -> Make:
    """A good token of so many bytes."""

    def make(shop: People, _: str) -> str:
        for padding in range(size):
            token = signed({"alg": "HS256", "kid": shop.kid}, shop.claims(x="y" * padding), shop.secret)
            if len(token) >= size:
                return token
        raise AssertionError

    return make


def with_public_key(shop: People, kid: str) -> str:
    """HS256, with the public key that the server verifies RS256 with as the secret."""
    return signed({"alg": "HS256", "kid": kid}, shop.claims(), pem(PRIVATE["RS256"]))


def with_own_key(shop: People, kid: str) -> str:
    """RS256 by the key of a stranger, under the kid of another."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(shop.claims(), private_pem(stranger), "RS256", headers={"kid": kid})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


MANY = [f"c{number}" for number in range(51)]
HOSTILE: dict[str, Make] = {
    # the header
    "alg none": headed({"alg": "none"}),
    "alg None": headed({"alg": "None"}),
    "alg nOnE, unsigned": lambda shop, _: unsigned({"alg": "nOnE", "kid": shop.kid}, shop.claims()) + ".",
    "alg none, unsigned": lambda shop, _: unsigned({"alg": "none", "kid": shop.kid}, shop.claims()) + ".",
    "alg of another key": headed({"alg": "RS256"}),
    "alg HS384": lambda shop, _: signed(
        {"alg": "HS384", "kid": shop.kid}, shop.claims(), shop.secret, digest=hashlib.sha384
    ),
    "alg HS512": lambda shop, _: signed(
        {"alg": "HS512", "kid": shop.kid}, shop.claims(), shop.secret, digest=hashlib.sha512
    ),
    "alg hs256": headed({"alg": "hs256"}),
    "alg a number": headed({"alg": 256}),
    "alg a list": headed({"alg": ["HS256"]}),
    "no alg": lambda shop, _: signed({"kid": shop.kid}, shop.claims(), shop.secret),
    "no kid": lambda shop, _: signed({"alg": "HS256"}, shop.claims(), shop.secret),
    "kid of none": headed({"kid": "abcdefghijkl"}),
    "kid empty": headed({"kid": ""}),
    "kid a number": headed({"kid": 1}),
    "kid a list": headed({"kid": ["x"]}),
    "kid with SQL": headed({"kid": "' OR 1=1 --"}),
    "kid with NUL": headed({"kid": "\0"}),
    "kid of a path": headed({"kid": "../../dev/null"}),
    "crit": headed({"crit": ["exp"]}),
    "crit empty": headed({"crit": []}),
    "b64 false": headed({"b64": False, "crit": ["b64"]}),
    "b64 true": headed({"b64": True}),
    "jwk": headed({"jwk": {"kty": "oct", "k": "AAAA"}}),
    "jwk null": headed({"jwk": None}),
    "jku": headed({"jku": "https://evil.example/keys"}),
    "x5u": headed({"x5u": "https://evil.example/cert"}),
    "x5c": headed({"x5c": ["AAAA"]}),
    "header no JSON": lambda shop, _: signed(b"{", shop.claims(), shop.secret),
    "header a list": lambda shop, _: signed(b"[]", shop.claims(), shop.secret),
    "header deep": lambda shop, _: signed(b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", shop.claims(), shop.secret),
    # the signature
    "signature empty": cut(2, lambda _: ""),
    "signature cut": cut(2, lambda part: part[:-4]),
    "signature of another": cut(2, flipped),
    "signature of no secret": lambda shop, _: signed({"alg": "HS256", "kid": shop.kid}, shop.claims(), b""),
    "signature of the prefix": lambda shop, _: signed({"alg": "HS256", "kid": shop.kid}, shop.claims(), shop.secret[:32]),
    "signature of the decoded secret": lambda shop, _: signed(
        {"alg": "HS256", "kid": shop.kid}, shop.claims(), base64.urlsafe_b64decode(shop.secret[4:] + "=")
    ),
    "payload changed": cut(1, lambda part: encoded(b'{"sub":"bob"}') + part),
    "header changed": cut(0, flipped),
    "a public key as secret": with_public_key,
    "HS256 under the kid of a public key": lambda shop, kid: signed({"alg": "HS256", "kid": kid}, shop.claims(), shop.secret),
    "the key of a stranger": with_own_key,
    # its form
    "two parts": lambda shop, _: shop.token().rpartition(".")[0],
    "four parts": lambda shop, _: shop.token() + ".AAAA",
    "4,097 bytes": grown(4097),
    "not ASCII": cut(1, lambda part: part + "ü"),
    "only dots": lambda shop, _: "e..",
    # what it says
    "no aud": saying(aud=...),
    "aud of another": saying(aud="01a204e3-15f7-77b1-9db6-d193b16a5979"),
    "aud empty list": saying(aud=[]),
    "aud a number": saying(aud=1),
    "aud null": saying(aud=None),
    "aud in part": lambda shop, _: saying(aud=shop.chatbot_id[:-1])(shop, _),
    "no sub": saying(sub=...),
    "sub empty": saying(sub=""),
    "sub a number": saying(sub=7),
    "sub long": saying(sub="x" * 256),
    "sub with NUL": saying(sub="ali\0ce"),
    "sub of staff": saying(sub="client:eve"),
    "sub like staff": saying(sub="Client:x"),
    "sub anonymous": saying(sub="anon:0123456789abcdef0123456789abcdef"),
    "sub like anonymous": saying(sub="Anon:1"),
    "sub a dot": saying(sub="."),
    "sub unseen": saying(sub="alice\u200b"),
    "sub a lone surrogate": raw('{"aud":"{aud}","sub":"\\ud800","iat":{now},"exp":{now}1}'),
    "no iat": saying(iat=...),
    "no exp": saying(exp=...),
    "exp as text": saying(exp="9999999999"),
    "exp as bool": saying(exp=True),
    "exp null": saying(exp=None),
    "exp NaN": raw('{"aud":"{aud}","sub":"a","iat":{now},"exp":NaN}'),
    "exp Infinity": raw('{"aud":"{aud}","sub":"a","iat":{now},"exp":Infinity}'),
    "exp 1e400": raw('{"aud":"{aud}","sub":"a","iat":{now},"exp":1e400}'),
    "exp 1e308": raw('{"aud":"{aud}","sub":"a","iat":{now},"exp":1e308}'),
    "exp huge": saying(exp=10**30),
    "iat as text": saying(iat="1"),
    "iat as bool": saying(iat=False),
    "iat negative": saying(iat=-1),
    "nbf as text": saying(nbf="1"),
    "nbf null": saying(nbf=None),
    "exp before iat": about_time(iat=0, exp=-1),
    "exp at iat": about_time(iat=0, exp=0),
    "longer than a day": about_time(iat=0, exp=24 * 3600 + 1),
    "issued tomorrow": about_time(iat=86_400, exp=86_401),
    "not yet": about_time(nbf=120),
    "51 conversations": saying(conversation_ids=MANY),
    "conversations as text": saying(conversation_ids="c1"),
    "conversations null": saying(conversation_ids=None),
    "a conversation that cannot be": saying(conversation_ids=[".."]),
    "name a number": saying(name=5),
    "name unseen": saying(name="a\u202eb"),
    "name long": saying(name="x" * 256),
    "email with NUL": saying(email="a\0@b"),
    "metadata a list": saying(metadata=[]),
    "metadata large": saying(metadata={"a": "ü" * 2049}),
    "metadata with NUL": saying(metadata={"a": ["\0"]}),
    "metadata deep": saying(metadata=nested(33)),
    "claims a list": raw("[]"),
    "claims no JSON": raw("{"),
    "claims empty": raw(""),
    "claims in UTF-16": lambda shop, _: signed(
        {"alg": "HS256", "kid": shop.kid}, json.dumps(shop.claims()).encode("utf-16"), shop.secret
    ),
}  # fmt: skip


def told(reply: Reply) -> dict[str, Any]:
    """The problem, but for what names the request."""
    assert reply.code == "unauthenticated"
    return {name: value for name, value in reply.body.items() if name != "request_id"}


async def test_hostile_tokens_let_no_one_in_and_look_the_same(tmp_path: Path) -> None:
    assert len(HOSTILE) >= 60
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        public = {"name": "other", "algorithm": "RS256", "public_key": pem(PRIVATE["RS256"])}
        kid = (await shop.post("/identity-keys", public)).body["id"]
        assert (await shop.get("/conversations", bearer=shop.token())).status == 200
        bodies = {}
        for name, make in HOSTILE.items():
            token = make(shop, kid).encode().decode("latin-1")
            reply = await shop.get("/conversations", bearer=token)
            assert reply.status == 401, name
            bodies[name] = json.dumps(told(reply))
        assert set(bodies.values()) == {bodies["alg none"]}
        assert await rows(api, "SELECT user_id FROM end_users") == [(ALICE,)]


async def test_of_what_is_allowed_each_is_let_in(tmp_path: Path) -> None:
    good: dict[str, Make] = {
        "4,096 bytes": lambda shop, kid: grown(4096)(shop, kid)[:4096] if len(grown(4096)(shop, kid)) == 4096 else shop.token(),
        "aud in a list": lambda shop, kid: saying(aud=["x", shop.chatbot_id])(shop, kid),
        "times with fractions": about_time(iat=0.5, exp=60.25),
        "a day": about_time(iat=0, exp=24 * 3600),
        "nbf now": about_time(nbf=0),
        "typ": headed({"typ": "JWT"}),
        "50 conversations": saying(conversation_ids=MANY[:50]),
        "no conversation": saying(conversation_ids=[]),
        "claims of others": saying(iss="shop", jti="1", roles=["x"]),
        "a profile": saying(name="Alice", email="alice@example.com", metadata={"plan": "pro", "deep": nested(30)}),
        "no profile": saying(name=None, email=None, metadata=None),
        "sub of 255": saying(sub="x" * 255),
        "sub in Greek": saying(sub="Ελένη"),
    }
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        for name, make in good.items():
            assert (await shop.get("/conversations", bearer=make(shop, ""))).status == 200, name


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_a_client_may_keep_the_key_to_itself(tmp_path: Path, algorithm: str) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        private = PRIVATE[algorithm]
        made = await shop.post("/identity-keys", {"name": "k", "algorithm": algorithm, "public_key": pem(private)})
        assert made.status == 201, made.text
        assert made.body["secret"] is None
        token = jwt.encode(shop.claims(), private_pem(private), algorithm, headers={"kid": made.body["id"]})
        assert (await shop.get("/conversations", bearer=token)).status == 200
        other = next(each for each in PRIVATE if each != algorithm)
        foreign = jwt.encode(shop.claims(), private_pem(PRIVATE[other]), other, headers={"kid": made.body["id"]})
        assert (await shop.get("/conversations", bearer=foreign)).status == 401


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"algorithm": "HS256", "public_key": pem(PRIVATE["RS256"])}, "public_key"),
        ({"algorithm": "RS256"}, "public_key"),
        ({"algorithm": "RS256", "public_key": "x"}, "public_key"),
        ({"algorithm": "RS256", "public_key": pem(PRIVATE["ES256"])}, "public_key"),
        ({"algorithm": "ES256", "public_key": pem(ec.generate_private_key(ec.SECP384R1()))}, "public_key"),
        ({"algorithm": "EdDSA", "public_key": private_pem(PRIVATE["EdDSA"])}, "public_key"),
        ({"algorithm": "RS256", "public_key": pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))}, "public_key"),
        ({"algorithm": "none"}, "algorithm"),
        ({"algorithm": "HS256", "secret": "mine"}, "secret"),
    ],
)
async def test_a_key_that_would_verify_nothing_is_refused(tmp_path: Path, wanted: dict[str, Any], field: str) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        reply = await shop.post("/identity-keys", {"name": "k", **wanted})
        assert (reply.status, reply.fields) == (422, {field})


async def test_a_chatbot_has_five_identity_keys_at_most_and_names_none_of_its_secrets(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        wanted = {"name": "k", "algorithm": "HS256"}
        made = await asyncio.gather(*(shop.post("/identity-keys", wanted) for _ in range(8)))
        assert sorted(reply.status for reply in made) == [201] * 4 + [409] * 4
        secrets = {reply.body["secret"] for reply in made if reply.status == 201}
        assert len(secrets) == 4
        assert all(re.fullmatch(r"gcs_[0-9A-Za-z_-]{43}", secret) for secret in secrets)
        listed = await shop.get("/identity-keys")
        assert len(listed.body) == 5
        assert not any(secret in listed.text for secret in secrets)
        page = await shop.get("/identity-keys?limit=2")
        assert [each["id"] for each in page.body] == [each["id"] for each in listed.body[:2]]
        after = page.headers["Link"].partition("<")[2].partition(">")[0]
        further = await api.get(after, key=shop.keeper)
        assert [each["id"] for each in further.body] == [each["id"] for each in listed.body[2:4]]


async def test_clocks_may_differ_by_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, clock=clock) as api:
        shop = await people(api)

        async def status(**shifts: float) -> tuple[int, str]:
            reply = await shop.get("/conversations", bearer=about_time(**shifts)(shop, ""))
            return reply.status, reply.body["code"] if reply.status != 200 else ""

        assert await status(iat=50, exp=600) == (200, "")
        assert await status(iat=70, exp=600) == (401, "unauthenticated")
        assert await status(nbf=50) == (200, "")
        assert await status(nbf=70) == (401, "unauthenticated")
        assert await status(iat=-600, exp=-50) == (200, "")
        assert await status(iat=-600, exp=-70) == (401, "token_expired")


async def test_only_what_was_good_once_is_told_that_it_expired(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        past = {"iat": 1_700_000_000, "exp": 1_700_000_600}
        assert (await shop.get("/conversations", bearer=saying(**past)(shop, ""))).code == "token_expired"
        for wrong in (saying(**past, aud="x"), saying(**past, sub="client:eve"), saying(**past, nbf="1")):
            assert (await shop.get("/conversations", bearer=wrong(shop, ""))).code == "unauthenticated"
        tampered = saying(**past)(shop, "")[:-2] + "AA"
        assert (await shop.get("/conversations", bearer=tampered)).code == "unauthenticated"


def spellings() -> Iterator[str]:
    """Ids that are staff's, or pass for it, by sight."""
    yield from ("client:eve", "client:", "client:bot", "client: bot", "client:e\u0301ve", "client:Ann Smith", "client:admin")
    yield from ("Client:eve", "CLIENT:eve", "cLiEnT:eve", "client :eve", " client:eve", "cl ient:eve", "client\t:eve")
    for letter, others in {
        "c": "сϲⅽｃ𝐜ⲥ", "l": "1I|ӏⅼｌ𝐥", "i": "1l|іⅰｉ𝐢", "e": "еℯｅ𝐞", "n": "ո𝐧ｎ", "t": "𝐭ｔ", ":": "։：ː∶꞉︓",
    }.items():  # fmt: skip
        for other in others:
            yield "client:eve".replace(letter, other, 1)
    for unseen in "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u061c\u115f\u3164\u202e\u2066":
        yield f"client{unseen}:eve"
        yield f"{unseen}client:eve"


SPELLINGS = list(dict.fromkeys(spellings()))


async def test_no_spelling_makes_staff_of_an_end_user(tmp_path: Path) -> None:
    assert len(SPELLINGS) >= 60
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        bearer, _ = await shop.visitor()
        for spelling in SPELLINGS:
            with pytest.raises(InvalidRequest):
                end_user_id(spelling, "sub")
            token = saying(sub=spelling)(shop, "")
            assert (await shop.get("/conversations", bearer=token)).status == 401, spelling
            assert (await shop.post("/sessions", {"claim": bearer}, bearer=token)).status == 401, spelling
            assert (await shop.post("/sessions", {"user_id": spelling})).status == 422, spelling
            said = await shop.post("/conversations", {"prompt": "x", "user_id": spelling}, bearer=shop.token())
            assert said.status in (403, 422), spelling
        assert await rows(api, "SELECT 1 FROM messages") == []
        assert await rows(api, "SELECT role FROM messages WHERE role = 'operator'") == []


async def test_a_new_key_is_good_at_once_and_an_old_one_until_it_is_revoked(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop = await people(api)
        made = (await shop.post("/identity-keys", {"name": "next", "algorithm": "HS256"})).body
        fresh = jwt.encode(shop.claims(), made["secret"], "HS256", headers={"kid": made["id"]})
        for _ in range(3):
            assert [(await shop.get("/conversations", bearer=each)).status for each in (shop.token(), fresh)] == [200, 200]
        assert (await shop.call("DELETE", f"/identity-keys/{shop.kid}")).status == 204
        assert [(await shop.get("/conversations", bearer=each)).status for each in (shop.token(), fresh)] == [401, 200]
        assert (await shop.call("DELETE", f"/identity-keys/{shop.kid}")).status == 404
        swapped = jwt.encode(shop.claims(), made["secret"], "HS256", headers={"kid": shop.kid})
        assert (await shop.get("/conversations", bearer=swapped)).status == 401


async def test_a_key_of_another_chatbot_opens_nothing(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        shop, other = await people(api), await people(api)
        theirs = other.token()
        assert (await other.get("/conversations", bearer=theirs)).status == 200
        assert (await shop.get("/conversations", bearer=theirs)).status == 401
        aimed = jwt.encode(shop.claims(), other.secret, "HS256", headers={"kid": other.kid})
        assert (await shop.get("/conversations", bearer=aimed)).status == 401
        borrowed = jwt.encode(shop.claims(), other.secret, "HS256", headers={"kid": shop.kid})
        assert (await shop.get("/conversations", bearer=borrowed)).status == 401
        for bearer in (await other.session(), (await other.visitor())[0], other.widget_key):
            assert (await shop.get("/conversations", bearer=bearer)).status == 401
            assert (await api.get("/chatbots", key=bearer)).status == 401
            missing = await api.get("/chatbots/01a204e3-15f7-77b1-9db6-d193b16a5979/conversations", key=bearer)
            assert missing.status == 401


async def test_a_token_tells_who_its_user_is_and_the_newest_counts(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, clock=clock) as api:
        shop = await people(api)
        old = shop.token(name="Al", metadata={"plan": "free"})
        assert (await shop.get("/conversations", bearer=old)).status == 200
        clock.move(minutes=1)
        assert (await shop.get("/conversations", bearer=shop.token(name="Alice", email="a@example.com"))).status == 200
        assert (await shop.get("/conversations", bearer=old)).status == 200
        known = (await shop.get(f"/users/{ALICE}")).body
        assert (known["name"], known["email"], known["metadata"], known["is_verified"]) == ("Alice", "a@example.com", {}, True)
        assert (await shop.get(f"/users/{BOB}")).status == 404
        told = await shop.call("PATCH", f"/users/{BOB}", {"name": "Bob", "metadata": {"seats": 3}})
        assert (told.status, told.body["name"], told.body["is_verified"]) == (200, "Bob", True)
        told = await shop.call("PATCH", f"/users/{BOB}", {"email": "b@example.com"})
        assert (told.body["name"], told.body["email"], told.body["metadata"]) == ("Bob", "b@example.com", {"seats": 3})
        assert (await shop.call("PATCH", f"/users/{BOB}", {"metadata": {"a": "x" * 5000}})).status == 422
        assert (await shop.call("PATCH", "/users/client:eve", {"name": "x"})).status == 422


async def test_what_imports_pyjwt_is_the_first_token(tmp_path: Path) -> None:
    program = (
        "import sys; import gigachat_server.app, gigachat_server.cli.serve; "
        "assert not {'jwt', 'cryptography'} & set(sys.modules), 'they cost 0.27 s and 15 MB'"
    )
    import sys

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0


async def _status(api: Api, shop: People) -> int:
    return (await api.get(f"{shop.path}/conversations", key=shop.token())).status


async def test_without_a_secret_there_are_no_shared_ones_and_public_keys_still_work(tmp_path: Path) -> None:
    async with gigachat(tmp_path, secret="", data=str(tmp_path / "d")) as api:
        if not api.services.database.is_shared:
            pytest.skip("a store of its own makes one")
        path = await api.chatbot()
        _, key = await api.services.key_ring.create(api.services.account.id, "k", scopes=("access:write",))
        made = await api.post(f"{path}/identity-keys", {"name": "k", "algorithm": "HS256"}, key=key)
        assert (made.status, made.code) == (503, "secret_missing")
        public = {"name": "k", "algorithm": "EdDSA", "public_key": pem(PRIVATE["EdDSA"])}
        assert (await api.post(f"{path}/identity-keys", public, key=key)).status == 201
