"""What the settings choose: the store, the searcher, the embedder and the model.

Drivers and clients that only some installations need are imported where they are chosen, so the others start faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gigachat_server.knowledge.search.indexes import Indexes
from gigachat_server.knowledge.search.prior import shipped
from gigachat_server.knowledge.search.searcher import Searcher, no_prior
from gigachat_server.knowledge.search.store_search import StoreSearch
from gigachat_server.models.base import ChatModel, Embedder
from gigachat_server.models.embedders import relevance_file, weights
from gigachat_server.models.embedders.built_in import BUILT_IN
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.embedders.local_embedder import LocalEmbedder
from gigachat_server.models.quoting.extractive import ExtractiveModel
from gigachat_server.settings import Settings, expanded, secret_of
from gigachat_server.store.copies.backup import back_up_before
from gigachat_server.store.database import Database
from gigachat_server.store.engines.migrate import Migration
from gigachat_server.store.engines.sqlite import open_sqlite
from gigachat_server.work.background import Background

if TYPE_CHECKING:
    from gigachat_server.models.endpoints.chat_completions import OpenAIModel
    from gigachat_server.models.endpoints.connection import Access
    from gigachat_server.models.endpoints.openai_embedder import OpenAIEmbedder


async def open_database(settings: Settings) -> Database:
    """The store that the settings name. Raises `SetupError`."""
    if not settings.database_url:
        return open_sqlite(settings.data_folder)
    # Its driver takes 0.1 s to import, so only those who use it do.
    from gigachat_server.store.engines.postgres import open_postgres

    return await open_postgres(settings.database_url, connections=settings.database_connections)


def backing_up(settings: Settings, tell: Callable[[str], None]) -> Callable[[Migration], Awaitable[None]] | None:
    """What is done before the store of an earlier version is migrated. The backups of a PostgreSQL are its administrator's."""
    if settings.database_url:
        return None

    async def back_up(migration: Migration) -> None:
        made = await asyncio.to_thread(back_up_before, settings.data_folder, migration)
        tell(f"the store as it was before {migration.name} is kept in {made.file}")

    return back_up


def make_searcher(settings: Settings, database: Database, embedder: Embedder, background: Background) -> Searcher:
    """What searches documents in that store."""
    prior = shipped(embedder.name)
    prior_of = no_prior if prior is None else prior.of
    searcher: Searcher
    searcher = in_memory = Indexes(database, embedder, memory_bytes=settings.index_memory_mb * 1024 * 1024, prior_of=prior_of)
    if database.dialect == "postgres":
        searcher = StoreSearch(database, embedder, small=in_memory, prior_of=prior_of, background=background)
    if not settings.reranker_url:
        return searcher
    from gigachat_server.knowledge.search.rerank import RerankingSearcher
    from gigachat_server.models.endpoints.reranker import EndpointReranker

    access = endpoint_access(settings)
    reranker = EndpointReranker(settings.reranker_url, settings.reranker_model, settings.reranker_key, access=access)
    return RerankingSearcher(searcher, reranker)


# The HTTP client takes 0.2 s and 9 MB to import, so only those who call an endpoint do.


def make_embedder(settings: Settings) -> Embedder:
    """The embedder that the settings name, with the scale of relevance that they name. Raises `SetupError`."""
    embedder = _own_embedder(settings)
    if settings.relevance:
        fitted = relevance_file.read(expanded(settings.relevance), embedder=embedder.name)
        embedder.scale = fitted.applied_to(embedder.scale)
    return embedder


def _own_embedder(settings: Settings) -> HashingEmbedder | LocalEmbedder | OpenAIEmbedder:
    if settings.embedding_url:
        from gigachat_server.models.endpoints.openai_embedder import OpenAIEmbedder

        # One provider often serves both; its key is none of another host's business.
        is_one_host = urlsplit(settings.embedding_url)[:2] == urlsplit(settings.model_url)[:2]  # scheme and address
        key = settings.embedding_key or (settings.model_key if is_one_host else "")
        access = endpoint_access(settings, key_header=settings.embedding_key_header, headers=settings.embedding_headers)
        return OpenAIEmbedder(settings.embedding_url, settings.embedding_model, key, access=access)
    if settings.embedder == "hashing":
        return HashingEmbedder()
    built_in = BUILT_IN[settings.embedder]
    return LocalEmbedder(
        built_in, weights.find(built_in.published, configured=settings.embedding_folder, data_folder=settings.data_folder)
    )


def make_model(settings: Settings, embedder: Embedder) -> ChatModel:
    """The model that the settings name; without any the extractive one."""
    if settings.model_url or settings.model_providers:
        from gigachat_server.models.endpoints.providers import Providers

        default, others = make_endpoints(settings)
        first = next(iter(others.values()), None)
        if default is not None:
            return Providers(default, others)
        assert first is not None  # a file without providers is refused
        return Providers(first, others, default_name=settings.model or next(iter(others)))
    return ExtractiveModel(embedder)


def make_endpoints(settings: Settings) -> tuple[OpenAIModel | None, dict[str, OpenAIModel]]:
    """The endpoint of GIGACHAT_MODEL_URL, if there is one, and those of the file. Raises `SetupError`."""
    from gigachat_server.models.endpoints.chat_completions import OpenAIModel, Timeouts
    from gigachat_server.models.endpoints.providers import open_provider, read_providers

    access = endpoint_access(settings)
    timeouts = Timeouts(
        first_token_s=settings.model_first_token_timeout_s,
        idle_s=settings.model_idle_timeout_s,
        total_s=settings.model_timeout_s,
    )
    providers = read_providers(settings.model_providers) if settings.model_providers else {}
    others = {
        name: open_provider(provider, access=access, timeouts=timeouts, secret=secret_of) for name, provider in providers.items()
    }
    if not settings.model_url:
        return None, others
    default = OpenAIModel(
        settings.model_url,
        settings.model,
        settings.model_key,
        timeouts=timeouts,
        access=endpoint_access(settings, key_header=settings.model_key_header, headers=settings.model_headers),
        omit=settings.omitted_parameters,
        context_tokens=settings.model_context_tokens,
    )
    return default, others


def endpoint_access(settings: Settings, *, key_header: str = "Authorization", headers: str = "") -> Access:
    """How endpoints are reached. Raises `SetupError`."""
    from gigachat_server.models.endpoints.connection import Access, parse_headers

    return Access(
        key_header=key_header,
        headers=parse_headers(headers),
        proxy=settings.endpoint_proxy,
        ca_file=settings.endpoint_ca_file,
    )
