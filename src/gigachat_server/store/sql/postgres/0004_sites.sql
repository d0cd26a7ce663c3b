-- Sites that are crawled, and the pages found on them: rows of `sites` with a `due_at` are the queue, and the pages that are
-- `pending` the frontier of a crawl, so that any process goes on where another one stopped.

-- `lease` names who crawls it, until `lease_until`. `crawl` counts its crawls; `found` the pages of the current one.
CREATE TABLE sites (
    chatbot_id     TEXT COLLATE "C" NOT NULL,
    id             TEXT COLLATE "C" NOT NULL,
    url            TEXT COLLATE "C" NOT NULL,
    kind           TEXT COLLATE "C" NOT NULL,
    depth          BIGINT NOT NULL,
    max_pages      BIGINT NOT NULL,
    include        TEXT NOT NULL,
    exclude        TEXT NOT NULL,
    recrawl_hours  BIGINT,
    state          TEXT NOT NULL,
    reason         TEXT,
    error          TEXT,
    crawl          BIGINT NOT NULL,
    found          BIGINT NOT NULL,
    limit_reached  TEXT,
    lease          TEXT COLLATE "C",
    lease_until    BIGINT NOT NULL DEFAULT 0,
    due_at         BIGINT,
    crawled_at     BIGINT,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, id),
    UNIQUE (chatbot_id, kind, url)
);
CREATE INDEX sites_due ON sites (due_at) WHERE due_at IS NOT NULL;

-- `crawl` is the last one that found the page, `place` where in its order; a sitemap has depth -1. `links` is last: it is long.
CREATE TABLE site_pages (
    chatbot_id      TEXT COLLATE "C" NOT NULL,
    site_id         TEXT COLLATE "C" NOT NULL,
    url             TEXT COLLATE "C" NOT NULL,
    kind            TEXT COLLATE "C" NOT NULL,
    crawl           BIGINT NOT NULL,
    depth           BIGINT NOT NULL,
    hops            BIGINT NOT NULL,
    place           BIGINT NOT NULL,
    state           TEXT NOT NULL,
    reason          TEXT,
    error           TEXT,
    attempts        BIGINT NOT NULL DEFAULT 0,
    retry_at        BIGINT NOT NULL DEFAULT 0,
    document_id     TEXT COLLATE "C",
    content_sha256  TEXT COLLATE "C",
    etag            TEXT,
    last_modified   TEXT,
    fetched_at      BIGINT,
    links           TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (chatbot_id, site_id, url)
);
CREATE INDEX site_pages_pending ON site_pages (chatbot_id, site_id, depth, place) WHERE state = 'pending';
CREATE INDEX site_pages_by_document ON site_pages (chatbot_id, document_id);
CREATE INDEX site_pages_by_content ON site_pages (chatbot_id, site_id, content_sha256);

-- What a crawl has brought and cannot be found yet, without a look at all documents.
CREATE INDEX documents_not_ready ON documents (chatbot_id, state, id) WHERE state <> 'ready';
