"""What a start says of servers that tests cannot have: old ones, and such without pgvector."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gigachat_server.store.engines.postgres_check import ServerState, problems

FINE = ServerState(
    version="18.4 (Debian)",
    version_number=180004,
    encoding="UTF8",
    is_standby=False,
    is_read_only=False,
    read_only_source="default",
    role="ann",
    database="shop",
    schema="public",
    has_tables=False,
    may_create=True,
    may_write=True,
    sees_all=True,
    most_connections=97,
    vector_offered="0.8.5",
    vector="0.8.5",
    vector_schema="public",
    may_use_vector=True,
    is_distributed=False,
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, []),
        ({"vector": None, "vector_schema": None}, []),
        ({"has_tables": True, "may_create": False}, []),
        ({"version": "15.2", "version_number": 150002}, ["PostgreSQL 15.2 is too old"]),
        ({"version": "9.6.24", "version_number": 90624}, ["PostgreSQL 9.6.24 is too old"]),
        ({"version_number": 160000, "version": "16beta1"}, []),
        ({"vector": None, "vector_offered": None}, ["postgresql-18-pgvector"]),
        ({"vector": "0.7.4"}, ["Run `ALTER EXTENSION vector UPDATE`"]),
        ({"vector": "0.7.4", "vector_offered": "0.7.4"}, ["Install it on the server"]),
        ({"vector": "0.10.0"}, []),
        ({"vector": "1.0rc1"}, []),
        ({"is_read_only": True, "read_only_source": "configuration file"}, ["a full disk?"]),
        ({"is_read_only": True, "read_only_source": "client"}, ["take default_transaction_read_only out of"]),
        ({"most_connections": 3}, ["raise max_connections, or"]),
        ({"most_connections": 12}, []),
        ({"role": "Ann O'Hara", "schema": 'a"b', "may_create": False}, ['ON SCHEMA "a""b" TO "Ann O\'Hara"']),
        ({"encoding": "EUC_JP", "is_standby": True, "is_read_only": True}, ["EUC_JP", "is a standby"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_server(changes: dict[str, Any], says: list[str]) -> None:
    found = list(problems(msgspec.structs.replace(FINE, **changes), connections=10))
    assert len(found) == len(says), found
    assert all(part in line and "\n" not in line for part, line in zip(says, found, strict=True))
