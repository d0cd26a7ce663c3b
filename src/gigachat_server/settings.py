"""Every setting, in one table: the fields of `Settings`.

Invariant: a field `match_this` is the environment variable `GIGACHAT_MATCH_THIS` and the flag `--match-this`; its description
is its help text and its line in docs/reference/settings.md. Nothing else reads the environment.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gigachat_server import triggers
from gigachat_server.errors import SetupError
from gigachat_server.records import Omittable

PREFIX = "GIGACHAT_"

_MIB = 1024 * 1024


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    data: Annotated[str, Meta(description="Folder of the message store. Default: `gigachat` in the user's data folder.")] = ""
    database_url: Annotated[
        str,
        Meta(
            description="PostgreSQL with pgvector instead of the file in GIGACHAT_DATA, for any number of nodes: "
            "`postgresql://user:password@host/database`. Of several hosts, separated by commas, the writable one is used.",
            extra={"secret": True},
        ),
    ] = ""
    database_connections: Annotated[
        int,
        Meta(
            ge=2,
            le=1000,
            description="Maximum connections of one node to PostgreSQL, plus one for wake-ups and one for index upkeep.",
        ),
    ] = 10
    host: Annotated[
        str, Meta(description="Address to listen on. Put a proxy with TLS in front of any address but a loopback one.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")] = 8000
    api_key: Annotated[
        str,
        Meta(
            description="An API key to create at start, for containers: 20 to 255 visible ASCII characters, "
            "unless it exists. Make it long and random.",
            extra={"secret": True},
        ),
    ] = ""
    account: Annotated[str, Meta(description="The account that commands and GIGACHAT_API_KEY act for; created if missing.")] = (
        "default"
    )
    log: Annotated[str, Meta(description="Level and, after a comma, format: `info`, `debug,json`, `warning,text`.")] = "info,text"

    secret: Annotated[
        str,
        Meta(
            description="What signing secrets of end users are derived from, the same on every node: 32 or more random "
            "characters. Without it, a server on SQLite makes one in its data folder; one on PostgreSQL has no such secrets.",
            extra={"secret": True},
        ),
    ] = ""

    smtp_url: Annotated[
        str,
        Meta(
            description="Mail server that invitations, alerts and transcripts are sent through: `smtp://host:587`, which is "
            "encrypted with STARTTLS where the server offers that, or `smtps://host`, with `user:password@` before the host if "
            "it asks for them. Default: none, no mail is sent.",
            extra={"secret": True},
        ),
    ] = ""
    mail_from: Annotated[str, Meta(description="Address that mail comes from, such as `Support <support@example.com>`.")] = ""

    key_sign_in: Annotated[
        Literal["until_owner", "always"],
        Meta(
            description="Until when API keys sign people in to the pages: until the account has an owner, who invites them, or "
            "`always`."
        ),
    ] = "until_owner"
    oidc_issuer: Annotated[
        str,
        Meta(
            description="URL of an OpenID Connect provider that operators sign in with, such as "
            "`https://login.example.com/realms/staff`. Default: none."
        ),
    ] = ""
    oidc_client_id: Annotated[str, Meta(description="Id of gigachat as a client of GIGACHAT_OIDC_ISSUER.")] = ""
    oidc_client_secret: Annotated[str, Meta(description="Secret of that client, if it has one.", extra={"secret": True})] = ""
    oidc_role: Annotated[
        Literal["none", "member", "admin"],
        Meta(description="What people of the provider become who have no invitation; `none` lets only invited people in."),
    ] = "none"

    model_url: Annotated[
        str,
        Meta(
            description="Base URL of an OpenAI-compatible endpoint, such as `http://127.0.0.1:11434/v1`. "
            "Default: the built-in extractive model."
        ),
    ] = ""
    model: Annotated[str, Meta(description="Name of the model at GIGACHAT_MODEL_URL; response.model of a chatbot wins.")] = ""
    model_key: Annotated[str, Meta(description="Key for GIGACHAT_MODEL_URL.", extra={"secret": True})] = ""

    model_key_header: Annotated[
        str, Meta(description="Header for GIGACHAT_MODEL_KEY, such as `api-key`; any but Authorization holds the bare key.")
    ] = "Authorization"
    model_headers: Annotated[
        str,
        Meta(
            description="More headers for GIGACHAT_MODEL_URL: `Name: value; Other: value`.",
            extra={"secret": True},
        ),
    ] = ""
    model_omit: Annotated[
        str,
        Meta(
            description="Parameters that are never sent to GIGACHAT_MODEL_URL, separated by commas, such as `temperature,tools`; "
            "`system` moves the persona into the first user message. Refused parameters are left out in any case."
        ),
    ] = ""
    model_context_tokens: Annotated[
        int, Meta(ge=0, le=20_000_000, description="Longest input and reply together, in tokens; 0: learnt from the endpoint.")
    ] = 0
    model_first_token_timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="How long a model may take to show a first sign of work, in seconds.")
    ] = 120.0
    model_idle_timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="Longest silence in a reply, in seconds; a keep-alive ends it.")
    ] = 60.0
    model_timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="Longest time for one prompt at the model, retries included, in seconds.")
    ] = 600.0
    model_providers: Annotated[
        str,
        Meta(description="A TOML file that names several endpoints; `response.model` is then `name/model`."),
    ] = ""
    reranker_url: Annotated[
        str,
        Meta(description="URL of a reranker (`.../rerank`), which reorders passages before the best are taken. Default: none."),
    ] = ""
    reranker_model: Annotated[str, Meta(description="Name of the model at GIGACHAT_RERANKER_URL.")] = ""
    reranker_key: Annotated[str, Meta(description="Key for GIGACHAT_RERANKER_URL.", extra={"secret": True})] = ""
    endpoint_proxy: Annotated[
        str,
        Meta(
            description="Proxy for model endpoints: a URL, or `environment` for HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
            extra={"secret": True},
        ),
    ] = ""
    endpoint_ca_file: Annotated[
        str, Meta(description="File of certificates (PEM) to trust for model endpoints, in addition to the system's.")
    ] = ""

    embedder: Annotated[
        Literal["local", "minilm", "minilm-int8", "hashing"],
        Meta(
            description="`local`: multilingual-e5-small on this machine, in 8-bit integers; `minilm`: all-MiniLM-L6-v2, for "
            "English only; `minilm-int8`: the same in 8-bit integers, faster and slightly less exact; `hashing`: instant, for "
            "load tests only. After a change all documents are embedded again, in the background."
        ),
    ] = "local"
    embedding_url: Annotated[
        str, Meta(description="Base URL of an OpenAI-compatible endpoint with /embeddings; replaces GIGACHAT_EMBEDDER.")
    ] = ""
    embedding_model: Annotated[str, Meta(description="Name of the embedding model at GIGACHAT_EMBEDDING_URL.")] = ""
    embedding_key: Annotated[
        str,
        Meta(
            description="Key for GIGACHAT_EMBEDDING_URL; default: GIGACHAT_MODEL_KEY if the host is the same.",
            extra={"secret": True},
        ),
    ] = ""
    embedding_key_header: Annotated[str, Meta(description="Header for GIGACHAT_EMBEDDING_KEY, as GIGACHAT_MODEL_KEY_HEADER.")] = (
        "Authorization"
    )
    embedding_headers: Annotated[str, Meta(description="More headers for GIGACHAT_EMBEDDING_URL.", extra={"secret": True})] = ""
    embedding_path: Annotated[
        str,
        Meta(
            description="Folder with the embedder's files, for machines without its package: e5-small-q4.bin of `local`, or "
            "model.safetensors and tokenizer.json of `minilm`."
        ),
    ] = ""

    relevance: Annotated[
        str,
        Meta(
            description="Relevance scale that `gigachat eval --fit` wrote for the embedder in use. Default: the embedder's own."
        ),
    ] = ""

    public_url: Annotated[
        str,
        Meta(
            description="Address under which people reach this server, if it is not its own: `https://example.com` or, behind a "
            "proxy that serves it under a path, `https://example.com/chat`. Links, redirects and cookies follow it."
        ),
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(description="Addresses or networks, separated by commas, whose X-Forwarded-For is trusted. Default: none."),
    ] = ""

    fetch_allow: Annotated[
        str,
        Meta(
            description="Private networks from which pages may be fetched, such as "
            "`10.20.0.0/16,192.168.1.7`: your intranet. Default: none."
        ),
    ] = ""
    fetch_ports: Annotated[str, Meta(description="Ports that pages may be fetched from, also as ranges: `80,443,8000-8099`.")] = (
        "80,443"
    )

    max_body_bytes: Annotated[int, Meta(ge=1024, description="Largest request body, in bytes.")] = _MIB
    max_document_body_bytes: Annotated[int, Meta(ge=1024, description="Largest request body with a document, in bytes.")] = (
        16 * _MIB
    )
    max_upload_bytes: Annotated[int, Meta(ge=1024, description="Largest file that is pushed as a document, in bytes.")] = (
        20 * _MIB
    )
    max_document_characters: Annotated[int, Meta(ge=1, description="Longest text of one document, in characters.")] = 2 * _MIB
    max_metadata_bytes: Annotated[int, Meta(ge=2, description="Largest metadata of a prompt, as JSON, in bytes.")] = 16 * 1024
    max_depth: Annotated[int, Meta(ge=1, description="Deepest nesting of a JSON body.")] = 32
    receive_timeout_s: Annotated[
        float, Meta(gt=0, description="Longest time for a request's head to arrive, and then for its body, in seconds.")
    ] = 30.0
    max_connections: Annotated[
        int,
        Meta(
            ge=8,
            le=1_000_000,
            description="Most connections at once. Each may need two open files, so fewer where `ulimit -n` allows less; "
            "more are answered 503.",
        ),
    ] = 10_000
    max_connections_per_address: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Most connections from one address, or one /64 of IPv6, but for GIGACHAT_TRUSTED_PROXIES; 0: three "
            "quarters of GIGACHAT_MAX_CONNECTIONS.",
        ),
    ] = 0
    max_unread_bytes: Annotated[
        int,
        Meta(
            ge=_MIB,
            description="Most bytes of answers above 64 KiB that wait for callers to read them, half of it for one API key. "
            "Above it the connections that move least are cut.",
        ),
    ] = 64 * _MIB
    shutdown_timeout_s: Annotated[
        float, Meta(ge=0, description="How long running replies may continue after SIGTERM, in seconds.")
    ] = 30.0
    failpoint: Annotated[
        str,
        Meta(
            description="For drills: a failure at a step of a turn or of an ingest, such as `S5:kill`, "
            "`S8:raise` or `I4:sleep:200`; "
            "`S8@3:kill` acts on the third pass. The page on the flow of a turn lists the steps."
        ),
    ] = ""
    index_memory_mb: Annotated[
        int, Meta(ge=16, description="Memory for the search indexes of recently used chatbots, in MiB.")
    ] = 512

    @property
    def data_folder(self) -> Path:
        return expanded(self.data) if self.data else _user_data_folder()

    @property
    def embedding_folder(self) -> Path | None:
        return Path(self.embedding_path) if self.embedding_path else None

    @property
    def socket_path(self) -> Path:
        """Where a running server listens for this machine's own commands."""
        return self.data_folder / "gigachat.sock"

    @property
    def public_path(self) -> str:
        """The path of the public address, such as `/chat`, or nothing."""
        return urlsplit(self.public_url).path.rstrip("/")

    @property
    def proxy_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return _networks(self.trusted_proxies)

    @property
    def fetch_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return _networks(self.fetch_allow)

    @property
    def fetch_port_ranges(self) -> tuple[range, ...]:
        ends = [part.partition("-") for part in _split(self.fetch_ports)]
        return tuple(range(int(first), int(last or first) + 1) for first, _, last in ends)

    @property
    def omitted_parameters(self) -> tuple[str, ...]:
        return tuple(_split(self.model_omit))

    @property
    def log_level(self) -> str:
        return self.log.partition(",")[0].strip().upper() or "INFO"

    @property
    def log_json(self) -> bool:
        return self.log.partition(",")[2].strip().lower() == "json"


class SettingInfo(msgspec.Struct, frozen=True):
    """One row of the table, for help texts and docs."""

    field: str
    variable: str
    flag: str
    type: Any
    default: Any
    description: str
    secret: bool


def table() -> Iterator[SettingInfo]:
    """Every setting, in the order of the class."""
    for field in msgspec.structs.fields(Settings):
        meta: Meta = field.type.__metadata__[0]
        yield SettingInfo(
            field=field.name,
            variable=PREFIX + field.name.upper(),
            flag="--" + field.name.replace("_", "-"),
            type=field.type,
            default=field.default,
            description=meta.description or "",
            secret=bool((meta.extra or {}).get("secret")),
        )


def load(flags: Mapping[str, str | None] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in force: flags, then environment variables, then defaults. Raises `SetupError` naming the culprit."""
    environment = _without_services(os.environ if environment is None else environment)
    chosen: dict[str, str] = {}
    names: dict[str, str] = {}
    for info in table():
        flag = (flags or {}).get(info.field)
        value = flag if flag is not None else environment.get(info.variable, "")
        if value != "":
            chosen[info.field] = value
            names[info.field] = info.flag if flag is not None else info.variable
    known = {info.variable for info in table()}
    for variable in environment:
        if variable not in known:
            raise SetupError(f"{variable} is not a gigachat setting; `gigachat serve --help` lists them.")
    for field, value in chosen.items():
        info_type = next(info.type for info in table() if info.field == field)
        try:
            msgspec.convert(value, info_type, strict=False)
        except msgspec.ValidationError as error:
            raise SetupError(f"{names[field]} cannot be {value!r}: {error}.") from None
    settings = msgspec.convert(chosen, Settings, strict=False)
    _check(settings, names)
    return settings


def secret_of(variable: str) -> str:
    """What another variable of the environment holds, which a file of ours names: a provider's key."""
    return os.environ.get(variable, "")


def set_for_library(variable: str, value: str) -> None:
    """Set a variable that another package reads when it is imported; one that the user has set stays."""
    os.environ.setdefault(variable, value)


def prepare_libraries() -> None:
    """Settle what libraries take from the environment while they are imported. Call it before they are.

    - OpenBLAS computes in the thread that calls numpy. Its own threads wait by spinning, and take from the embedder the
      cores it computes on: with 10,000 chunks they cost 8 ms of processor time a turn and gained nothing (2 cores).
    - onnxruntime sends nothing to its maker. From 1.29 on it reports its use, and leaves the id of a device in the user's
      cache, from the moment it is imported; only this variable stops both. So it is set whatever it was before.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"


# What Kubernetes tells every container about each Service of its namespace, by name and value: a Service `gigachat-web`
# sets GIGACHAT_WEB_SERVICE_HOST, GIGACHAT_WEB_PORT, GIGACHAT_WEB_PORT_8000_TCP_ADDR and more.
_ADDRESS, _NUMBER, _URL = r"[0-9a-fA-F.:]*[.:][0-9a-fA-F.:]*", r"\d{1,5}", r"(?:tcp|udp|sctp)://\S+"
_SERVICE_VARIABLES = tuple(
    (re.compile(name), re.compile(value))
    for name, value in (
        (r"GIGACHAT(_[A-Z0-9_]+)?_SERVICE_HOST", _ADDRESS),
        (r"GIGACHAT(_[A-Z0-9_]+)?_SERVICE_PORT(_[A-Z0-9_]+)?", _NUMBER),
        (r"GIGACHAT(_[A-Z0-9_]+)?_PORT", _URL),
        (r"GIGACHAT(_[A-Z0-9_]+)?_PORT_\d+_(TCP|UDP|SCTP)", _URL),
        (r"GIGACHAT(_[A-Z0-9_]+)?_PORT_\d+_(TCP|UDP|SCTP)_PROTO", "tcp|udp|sctp"),
        (r"GIGACHAT(_[A-Z0-9_]+)?_PORT_\d+_(TCP|UDP|SCTP)_PORT", _NUMBER),
        (r"GIGACHAT(_[A-Z0-9_]+)?_PORT_\d+_(TCP|UDP|SCTP)_ADDR", _ADDRESS),
    )
)


_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,255}(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
_OWN_FOLDERS = ("chatbots", "static", "web", "api-keys", "operators")


def _without_services(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a person set for gigachat, as opposed to those that Kubernetes sets for a Service of that name."""
    return {
        variable: value
        for variable, value in environment.items()
        if variable.startswith(PREFIX)
        and not any(name.fullmatch(variable) and form.fullmatch(value) for name, form in _SERVICE_VARIABLES)
    }


def expanded(path: str) -> Path:
    """The path with a leading `~` replaced. Raises `SetupError` where the home folder is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SetupError(f"Cannot tell which folder ~ is in {path}: write the path in full.") from None


def _check(settings: Settings, names: Mapping[str, str]) -> None:
    key = settings.api_key
    if key and not (20 <= len(key) <= 255 and key.isascii() and key.isprintable() and " " not in key):
        raise SetupError(f"{names['api_key']} must be 20 to 255 visible ASCII characters.")
    if settings.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SetupError(f"{names['log']} must start with debug, info, warning or error.")
    if settings.log.partition(",")[2].strip().lower() not in ("", "text", "json"):
        raise SetupError(f"{names['log']} must end with ,text or ,json.")
    for name in settings.omitted_parameters:
        if name not in get_args(Omittable):
            raise SetupError(f"{names['model_omit']} cannot name {name!r}: it may list {', '.join(get_args(Omittable))}.")
    if settings.model_url and not settings.model:
        raise SetupError(
            f"{names['model_url']} needs GIGACHAT_MODEL, the name of the model there: the endpoint lists them at /models."
        )
    if settings.embedding_url and not settings.embedding_model:
        raise SetupError("GIGACHAT_EMBEDDING_URL needs GIGACHAT_EMBEDDING_MODEL, the name of the model there.")
    if settings.database_url and not settings.database_url.startswith(("postgresql://", "postgres://")):
        raise SetupError(f"{names['database_url']} must start with postgresql://.")
    for name in ("model_url", "embedding_url", "reranker_url"):
        url = getattr(settings, name)
        if url and not url.startswith(("http://", "https://")):
            raise SetupError(f"{names[name]} must start with http:// or https://.")
    if settings.public_url and not _PUBLIC_URL.fullmatch(settings.public_url):
        raise SetupError(f"{names['public_url']} must be an http or https URL with a plain path: https://example.com/chat.")
    if settings.public_path.split("/")[1:2] in ([name] for name in _OWN_FOLDERS):
        raise SetupError(f"{names['public_url']} must have another path: gigachat has a folder {settings.public_path} itself.")
    is_on_this_machine = urlsplit(settings.oidc_issuer).hostname in ("localhost", "127.0.0.1", "::1")
    if settings.oidc_issuer and not settings.oidc_issuer.startswith(
        ("https://", "http://" if is_on_this_machine else "https://")
    ):
        raise SetupError(f"{names['oidc_issuer']} must start with https://.")
    if settings.oidc_issuer and not settings.oidc_client_id:
        raise SetupError("GIGACHAT_OIDC_ISSUER needs GIGACHAT_OIDC_CLIENT_ID, the id of gigachat there.")
    triggers.check(settings.failpoint)
    for name in ("trusted_proxies", "fetch_allow"):
        try:
            _networks(getattr(settings, name))
        except ValueError as error:
            raise SetupError(f"{names[name]} must list addresses or networks: {error}.") from None
    try:
        ports = settings.fetch_port_ranges
    except ValueError:
        ports = ()
    if not ports or not all(each and each.start > 0 and each.stop <= 65536 for each in ports):
        raise SetupError(f"{names['fetch_ports']} must list ports and ranges of ports, such as 80,443,8000-8099.")


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(part, strict=False) for part in _split(text))


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _user_data_folder() -> Path:
    if base := os.environ.get("XDG_DATA_HOME", ""):
        return Path(base) / "gigachat"
    home = os.environ.get("HOME", "")
    if not home:
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # a container may run under a number that is no user: then as any service
            return Path("/var/lib/gigachat")
    return Path(home) / ".local" / "share" / "gigachat"
