"""URLs of databases as providers, frameworks and people write them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from gigachat_server.errors import SetupError
from gigachat_server.store.engines.postgres_url import CONNECT_S, place_of, read_url

DEFAULTS = {"target_session_attrs": "read-write"}


@pytest.mark.parametrize(
    ("url", "account_and_host", "parameters", "ignored"),
    [
        (  # Neon
            "postgresql://ann:pw@ep-cool-1.eu.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
            "ann:pw@ep-cool-1.eu.aws.neon.tech",
            {"sslmode": "require"},
            ("channel_binding",),
        ),
        (  # Neon, where the client cannot name the host in TLS
            "postgres://ann:pw@neon.tech/db?options=endpoint%3Dep-cool-1&channel_binding=prefer",
            "ann:pw@neon.tech",
            {"options": "endpoint=ep-cool-1"},
            (),
        ),
        (  # Supabase, for Prisma
            "postgresql://postgres.abc:pw@aws-0.pooler.supabase.com:5432/postgres?pgbouncer=true&connection_limit=1",
            "postgres.abc:pw@aws-0.pooler.supabase.com:5432",
            {},
            ("pgbouncer", "connection_limit"),
        ),
        ("postgres://u:p@ec2-1.compute.amazonaws.com:5432/d1", "u:p@ec2-1.compute.amazonaws.com:5432", {}, ()),  # Heroku
        ("postgres://u:p@h/d?sslmode=no-verify", "u:p@h", {"sslmode": "require"}, ()),
        ("postgres://u:p@h/d?ssl=true", "u:p@h", {"sslmode": "require"}, ()),
        ("postgres://u:p@h/d?ssl=verify-full", "u:p@h", {"sslmode": "verify-full"}, ()),
        ("postgres://u:p@h/d?ssl=false&requiressl=0", "u:p@h", {}, ()),
        ("postgres://u:p@h/d?ssl=true&sslmode=verify-ca", "u:p@h", {"sslmode": "verify-ca"}, ()),
        (  # Azure, as its single servers had it
            "postgresql://ann@shop:p%40ss@shop.postgres.database.azure.com:5432/db?sslmode=verify-full&sslrootcert=%2Fca.pem",
            "ann%40shop:p%40ss@shop.postgres.database.azure.com:5432",
            {"sslmode": "verify-full", "sslrootcert": "/ca.pem"},
            (),
        ),
        (  # DigitalOcean, Aiven
            "postgres://doadmin:p%2Fw%25@db.ondigitalocean.com:25060/defaultdb?sslmode=require",
            "doadmin:p%2Fw%25@db.ondigitalocean.com:25060",
            {"sslmode": "require"},
            (),
        ),
        ("postgresql://u:100%@h/d", "u:100%25@h", {}, ()),
        ("postgresql://u:p@h", "u:p@h", {}, ()),
        ("postgresql://u@[2001:db8::1]:5433/d", "u@[2001:db8::1]:5433", {}, ()),
        ("postgresql://u@h/d?target_session_attrs=primary", "u@h", {"target_session_attrs": "primary"}, ()),
        ("postgresql:///d?host=/run/pg&port=5433&user=ann", "", {"host": "/run/pg", "port": "5433", "user": "ann"}, ()),
        ("postgresql://%2Frun%2Fpostgresql/d", "", {"host": "/run/postgresql"}, ()),
        ("postgresql://u@/d?host=h&port=6", "u@h:6", {}, ()),
        ("postgresql://u@/d?hostaddr=10.0.0.1", "u@10.0.0.1", {}, ()),
        ("postgresql://u@h/d?hostaddr=10.0.0.1", "u@h", {}, ("hostaddr",)),
        ("  postgresql://u@h/d\n", "u@h", {}, ()),
        ("postgresql://u@h/d?fallback_application_name=x&a.b=c&application_name=y", "u@h", {},
         ("fallback_application_name", "a.b", "application_name")),
    ],
)  # fmt: skip
def test_how_urls_are_read(url: str, account_and_host: str, parameters: dict[str, str], ignored: tuple[str, ...]) -> None:
    found = read_url(url)
    (dsn,) = found.dsns
    parts = urlsplit(dsn)
    assert parts.netloc == account_and_host
    assert parse_qs(parts.query, strict_parsing=True) == {name: [value] for name, value in (DEFAULTS | parameters).items()}
    assert found.ignored == ignored
    assert all(name in found.warning for name in ignored)


def test_each_host_is_tried_by_itself() -> None:
    for url in ("postgresql://u@a:1,b,[::1]:3/d", "postgresql://u@/d?host=a,b,::1&port=1,5432,3"):
        found = read_url(url)
        assert [urlsplit(dsn).hostname for dsn in found.dsns] == ["a", "b", "::1"]
        assert found.place.startswith("a:1,b")


@pytest.mark.parametrize(
    ("given", "seconds"), [("", CONNECT_S), ("0", CONNECT_S), ("-1", CONNECT_S), ("1", 2), ("15", 15), ("99999", 60)]
)
def test_how_long_connecting_may_take(given: str, seconds: float) -> None:
    assert read_url(f"postgresql://u@h/d?connect_timeout={given}").connect_s == seconds


def test_the_authorities_of_this_machine() -> None:
    found = read_url("postgresql://u@h/d?sslrootcert=system")
    assert found.trusts_system
    assert "ssl" not in found.dsns[0]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://zoe:s3cr/et@host/db",
        "postgresql://zoe:12/s3cret@host/db",
        "postgresql://zoe:12?s3cret@host/db",
        "postgresql://zoe:s3#cret@host/db",
        "postgresql://zoe:x@s3cret/y@host/db",
        "postgresql://zoe:s3cret@host:notaport/db",
        "postgresql://zoe:s3cret@host:99999/db",
        "postgresql://zoe:s3cret@[::1/db",
        "postgresql://zoe:s3cret@a,host:1:2/db",
        "postgresql://zoe:s3cret@host/db?sslmode=s3cret",
        "postgresql://zoe:s3cret@host/db?sslmode=parse",
        "postgresql://zoe:s3cret@host/db?connect_timeout=soon",
        "postgresql://zoe:s3cret@host/db?target_session_attrs=standby",
        "postgresql://zoe:s3cret@host/db?target_session_attrs=best",
        "postgresql://zoe:s3cret@a,b/db?port=1,2,3",
        "postgresql://zoe:s3cret@host/db?sslrootcert=system&sslmode=require",
        "mysql://zoe:s3cret@host/db",
        "postgresql:zoe:s3cret@host/db",
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line_without_the_password(url: str) -> None:
    with pytest.raises(SetupError) as refused:
        read_url(url)
    text = str(refused.value) + place_of(url)
    assert "\n" not in text
    assert not any(part in text for part in ("s3cr", "s3#", "12", "zoe"))
    assert text.startswith("GIGACHAT_DATABASE_URL cannot be read: ")
