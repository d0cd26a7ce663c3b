"""Of the secrets that are handed out, none can be read from what is kept: a dump, a backup, the files, the logs.

Idea: a secret that leaked is somewhere in some encoding, whole. Of each encoding a few characters from its middle are looked for
at every place at once; what has them is read again, whole.
"""

from __future__ import annotations

import asyncio
import base64
import io
import secrets
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from apsw import shell

from gigachat_server.access.principal import local_operator
from tests import postgres_server, stores
from tests.access.people import PAGE, UNLIMITED, People, people
from tests.cli.commands import Gigachat
from tests.harness import gigachat
from tests.operators import add_operator

_CORE = 8  # bytes that are looked for


def encodings(secret: str) -> list[bytes]:
    """As it is, in hex and in base64, at whichever of three places within what was encoded with it."""
    raw = secret.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode()]
    for before in range(3):
        padded = base64.b64encode(b"\0" * before + raw)
        inner = padded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]  # what is made of its own bits alone
        found += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    return found


def leaks(kept: bytes, issued: list[str]) -> list[str]:
    """Those of the secrets that can be read there."""
    cores: dict[int, list[tuple[bytes, str]]] = {}
    for secret in issued:
        for encoded in encodings(secret):
            middle = len(encoded) // 2 - _CORE // 2
            cores.setdefault(int.from_bytes(encoded[middle : middle + _CORE], "little"), []).append((encoded, secret))
    wanted = np.sort(np.fromiter(cores, dtype="<u8"))
    found: set[int] = set()
    for shift in range(min(_CORE, len(kept))):
        windows = np.frombuffer(kept, dtype="<u8", offset=shift, count=(len(kept) - shift) // _CORE)
        places = np.searchsorted(wanted, windows).clip(max=len(wanted) - 1)
        found.update(int(each) for each in np.unique(windows[wanted[places] == windows]))
    return sorted({secret for each in found for encoded, secret in cores[each] if encoded in kept})


def test_a_secret_is_found_in_every_encoding_at_every_place() -> None:
    issued = [f"gca_{secrets.token_urlsafe(36)}" for _ in range(10)]
    noise = secrets.token_bytes(50_000)
    assert leaks(noise, issued) == []
    for place, secret in enumerate(issued):
        raw = b"x" * place + secret.encode() + b"yz"
        written = [raw, base64.b64encode(raw), base64.urlsafe_b64encode(raw), raw.hex().encode(), raw.hex().upper().encode()]
        for each in written:
            assert leaks(noise + each + noise, issued) == [secret]


@pytest.mark.slow
async def test_of_a_thousand_secrets_that_were_issued_none_is_in_a_dump_a_backup_a_file_or_a_log(
    tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    data = tmp_path / "data"
    async with gigachat(data) as api:
        shop = await people(api, limits=UNLIMITED)
        issued = [api.key, shop.keeper, shop.secret, *await _of_users(shop), *await _of_staff(shop)]
        assert len(set(issued)) == len(issued) >= 1_000
        await _misuse(shop, issued[::40])
        is_shared = api.services.database.is_shared
        running = files_below(data)
    backup = tmp_path / "backup.sqlite3"
    await asyncio.to_thread(Gigachat(data).output, "backup", backup)
    if is_shared:
        dumped = await asyncio.to_thread(postgres_server.pg_dump, stores.current().settings(data)["database_url"])
    else:
        dumped = sql_of(backup)
    issued.append(root_secret(data))
    places = {"files": running + files_below(data), "backup": backup.read_bytes(), "dump": dumped, "log": caplog.text.encode()}
    assert all(b"user-1-1" in kept for name, kept in places.items() if name in ("backup", "dump"))
    assert {name: leaks(kept, issued) for name, kept in places.items()} == {name: [] for name in places}


async def _of_users(shop: People) -> list[str]:
    """Their tokens and sessions, each of which lets them in."""
    issued: list[str] = []
    for number in range(20):
        issued += await asyncio.gather(*(shop.session(f"user-{number}-{each}") for each in range(38)))
        issued += [(await shop.visitor())[0] for _ in range(2)]
    tokens = [shop.token(f"user-1-{each}") for each in range(40)]
    for bearer in (*tokens, *issued[-20:]):
        assert (await shop.get("/conversations", bearer=bearer, headers=PAGE)).status == 200
    return issued + [token.rpartition(".")[2] for token in tokens]  # what is signed is no secret, the signature is


async def _of_staff(shop: People) -> list[str]:
    """Keys, invitations, passwords and sessions."""
    services, keeper, issued = shop.api.services, local_operator(shop.api.services.account.id), []
    for number in range(100):
        _, secret = await services.key_ring.create(services.account.id, f"key {number}")
        assert (await shop.get("", bearer=secret)).status == 200
        issued.append(secret)
    for number in range(20):
        invited = await add_operator(services, f"operator-{number}")
        _, token = await services.operators.invite(keeper, invited.id)
        issued.append(token)
        if number < 3:
            password = secrets.token_urlsafe(18)
            accepted = await services.sign_in.accept(token, password, peer="127.0.0.1")
            again = await services.sign_in.with_password(invited.email, password, peer="127.0.0.1")
            assert accepted is not None and again is not None
            issued += [password, accepted, again]
    for _ in range(20):
        link = await services.sessions.mint_login_token()
        session_id = await services.sessions.redeem(link, peer="127.0.0.1")
        assert session_id is not None
        issued += [link, session_id, await services.sessions.mint_login_token()]
    return issued


async def _misuse(shop: People, issued: list[str]) -> None:
    """What people do with secrets that they should not, and what may be logged then."""
    for secret in issued:
        await shop.api.get(f"/{secret}?token={secret}")
        await shop.get(f"/conversations?after={secret}", bearer=secret, headers=PAGE)
        await shop.get("", bearer=secret + "x")
        await shop.api.get("/chatbots", headers={"Authorization": f"Basic {secret}", "X-Request-Id": "r"})
    assert await shop.api.services.sign_in.with_password("operator-1@example.com", issued[-1], peer="127.0.0.1") is None


def root_secret(folder: Path) -> str:
    """What the server's derived secrets come from."""
    file = folder / "secret"
    if not file.exists():
        return "of a store that many nodes may share"
    assert file.stat().st_mode & 0o777 == 0o600
    return file.read_text().strip()


def files_below(folder: Path) -> bytes:
    """All but the file that holds the secret itself."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "secret")


def sql_of(file: Path) -> bytes:
    """As `.dump` writes it."""
    written = io.StringIO()
    with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as store:
        shell.Shell(stdout=written, db=store).process_command(".dump")  # type: ignore[no-untyped-call]
    return written.getvalue().encode("utf-8", "surrogateescape")
