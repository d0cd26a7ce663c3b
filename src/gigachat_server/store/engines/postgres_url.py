"""Reads GIGACHAT_DATABASE_URL as hosting providers write it: which hosts, how to connect, and what is not honoured.

Idea: libpq knows some sixty parameters, and providers, frameworks and poolers add their own. The driver knows a third of them,
and sends every other one to the server as a setting, which then refuses the connection. So each is sorted here: handed to
the driver, translated, or named in `ignored` for the log.

Invariant: no error and no log line repeats the user's part of the URL, however it is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from gigachat_server.errors import SetupError

VARIABLE = "GIGACHAT_DATABASE_URL"
CONNECT_S = 3.0  # unless `connect_timeout` says otherwise
_LEAST_CONNECT_S, _MOST_CONNECT_S = 2, 60

# What the driver takes from a URL. It sends `options` and `search_path` on to the server.
_DRIVER = (
    "host", "port", "user", "password", "dbname", "passfile", "service", "krbsrvname", "gsslib", "target_session_attrs",
    "sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "options", "search_path",
)  # fmt: skip
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSION_ATTRIBUTES = ("any", "read-write", "primary", "read-only", "standby", "prefer-standby")
_READING_ALONE = ("read-only", "standby", "prefer-standby")
# How `ssl=` says whether there has to be TLS.
_ENCRYPTED, _PLAIN = ("1", "true", "on", "yes"), ("0", "false", "off", "no")
# What is so anyway, and needs no line in the log.
_ALREADY_SO = {
    ("channel_binding", "disable"),
    ("channel_binding", "prefer"),
    ("client_encoding", "auto"),
    ("client_encoding", "utf-8"),
    ("client_encoding", "utf8"),
    ("gssencmode", "disable"),
    ("gssencmode", "prefer"),
    ("sslcompression", "0"),
    ("sslsni", "1"),
}
_URL = re.compile(r"(?i:postgres(?:ql)?)://(?P<authority>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?", re.DOTALL)
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[^\[\]:@\s]*)(?::(?P<port>\d{1,5})?)?")


class ServerUrl(msgspec.Struct, frozen=True):
    """A URL, read. `dsns`: one for each host, with nothing in it that the driver does not know."""

    dsns: tuple[str, ...]
    place: str  # the hosts and the database, for people
    connect_s: float = CONNECT_S
    trusts_system: bool = False  # the certificate is to be one that this machine's authorities vouch for
    ignored: tuple[str, ...] = ()  # the parameters that change nothing

    @property
    def warning(self) -> str:
        """One line about what is not honoured; nothing if all is."""
        if not self.ignored:
            return ""
        line = f"{VARIABLE}: {', '.join(self.ignored)} {'is' if len(self.ignored) == 1 else 'are'} ignored."
        if "channel_binding" in self.ignored:
            line += " Channel binding is not supported: sslmode=verify-full proves which server answers."
        return line


def read_url(url: str) -> ServerUrl:
    """Raises `SetupError` with one line."""
    match = _URL.fullmatch(url.strip())
    if match is None:
        raise _unreadable("it has to look like postgresql://user:password@host/database")
    user, at, hosts = match["authority"].rpartition("@")
    if "#" in url:
        raise _unreadable("a # in it has to be written as %23")
    given = _parameters(match["query"] or "")
    if "@" in (match["database"] or "") or any("@" in name for name in given):  # the password ends further on
        raise _unreadable("a / in its password has to be written as %2F, a ? as %3F and a @ as %40")
    known, ignored = _sorted(given, has_host=bool(hosts or given.get("host")))
    places = _hosts(hosts, known)
    database = unquote(match["database"] or "") or known.pop("dbname", "")
    known.pop("dbname", None)
    trusts_system = known.get("sslrootcert") == "system"
    if trusts_system:
        if known.get("sslmode", "verify-full") != "verify-full":
            raise _unreadable("sslrootcert=system needs sslmode=verify-full")
        del known["sslrootcert"]
        known["sslmode"] = "verify-full"
    known.setdefault("target_session_attrs", "read-write")
    query = urlencode({name: value for name, value in known.items() if not (trusts_system and name == "sslmode")})
    name, colon, password = user.partition(":")
    account, path = f"{_quoted(name)}{colon}{_quoted(password)}{at}", f"/{quote(database, safe='')}" if database else ""
    return ServerUrl(
        dsns=tuple(f"postgresql://{account}{host}{path}?{query}{more}" for host, more in places),
        place=_place([host or unquote(more.partition("host=")[2].partition("&")[0]) for host, more in places], database),
        connect_s=_connect_s(given.get("connect_timeout", "")),
        trusts_system=trusts_system,
        ignored=tuple(ignored),
    )


def place_of(url: str) -> str:
    """The hosts and the database, for people; of a URL that cannot be read no part."""
    try:
        return read_url(url).place
    except SetupError:
        return f"the place that {VARIABLE} names"


def _parameters(query: str) -> dict[str, str]:
    """The last of each name, as libpq has it."""
    return {name.strip(): value.strip() for name, value in parse_qsl(query, keep_blank_values=True)}


def _sorted(given: Mapping[str, str], *, has_host: bool) -> tuple[dict[str, str], list[str]]:
    """What the driver is told, and the names of what is ignored."""
    known: dict[str, str] = {}
    ignored: list[str] = []
    for name, value in given.items():
        if not value or name == "connect_timeout":
            continue
        if name in _DRIVER:
            known[name] = value
        elif name == "database":
            known.setdefault("dbname", value)
        elif name == "hostaddr" and not has_host:
            known["host"] = value
        elif name in ("ssl", "requiressl"):
            if not given.get("sslmode") and value.lower() not in _PLAIN:
                known["sslmode"] = "require" if value.lower() in _ENCRYPTED else value
        elif (name, value.lower()) not in _ALREADY_SO:
            ignored.append(name)
    if known.get("sslmode") == "no-verify":  # as programs in JavaScript say it
        known["sslmode"] = "require"
    _check(known, "sslmode", _SSL_MODES)
    _check(known, "target_session_attrs", _SESSION_ATTRIBUTES)
    if known.get("target_session_attrs") in _READING_ALONE:
        raise _unreadable(f"target_session_attrs={known['target_session_attrs']} names a server that takes no writes: remove it")
    return known, ignored


def _check(known: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> None:
    if name in known and known[name] not in allowed:
        raise _unreadable(f"{name} has to be one of {', '.join(allowed)}")


def _hosts(written: str, known: dict[str, str]) -> list[tuple[str, str]]:
    """Of each host its place in a URL, and what has to be said of it in the query instead."""
    ports = known.pop("port", "").split(",")
    hosts = written or known.pop("host", "")
    known.pop("host", None)
    each = [unquote(host).strip() for host in hosts.split(",")]
    if len(ports) not in (1, len(each)):
        raise _unreadable("it names more or fewer ports than hosts")
    ports = ports * len(each) if len(ports) == 1 else ports
    return [_host(host, port.strip()) for host, port in zip(each, ports, strict=True)]


def _host(host: str, port: str) -> tuple[str, str]:
    if host.startswith("/"):
        return "", "&" + urlencode({"host": host, **({"port": _port(port)} if port else {})})
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    match = _HOST.fullmatch(host)
    if match is None:
        raise _unreadable("its host or port is not one; other characters of a password are written as %XX")
    port = match["port"] or port
    if not match["name"]:
        return "", "&" + urlencode({"port": _port(port)}) if port else ""
    return match["name"] + (f":{_port(port)}" if port else ""), ""


def _port(text: str) -> str:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
        raise _unreadable("its port is not a number between 1 and 65535")
    return text


def _place(hosts: list[str], database: str) -> str:
    return f"{','.join(hosts) if any(hosts) else 'its socket'}/{database}".rstrip("/")


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="")


def _connect_s(text: str) -> float:
    """To libpq, 0 or nothing means no limit."""
    if not text:
        return CONNECT_S
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise _unreadable("connect_timeout has to be a number of seconds")
    seconds = int(text)
    return CONNECT_S if seconds <= 0 else float(min(max(seconds, _LEAST_CONNECT_S), _MOST_CONNECT_S))


def _unreadable(why: str) -> SetupError:
    return SetupError(f"{VARIABLE} cannot be read: {why}.")
