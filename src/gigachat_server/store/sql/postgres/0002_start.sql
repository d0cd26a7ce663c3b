-- The schema as the embedded store has it after its migration of the same number. What differs: ids and names are compared
-- byte by byte, whatever the database's collation, and the vectors of chunks are pgvector's.

CREATE TABLE accounts (
    id          TEXT COLLATE "C" PRIMARY KEY,
    name        TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id             TEXT COLLATE "C" PRIMARY KEY,
    account_id     TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    secret_sha256  BYTEA NOT NULL,
    last4          TEXT NOT NULL,
    scopes         TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT,
    revoked_at     BIGINT
);
CREATE INDEX api_keys_by_account ON api_keys (account_id, id);

CREATE TABLE chatbots (
    id                 TEXT COLLATE "C" PRIMARY KEY,
    account_id         TEXT COLLATE "C" NOT NULL,
    name               TEXT COLLATE "C" NOT NULL,
    config             TEXT NOT NULL,
    knowledge_version  BIGINT NOT NULL DEFAULT 0,
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL
);
CREATE INDEX chatbots_by_account ON chatbots (account_id, id);

CREATE TABLE documents (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    id               TEXT COLLATE "C" NOT NULL,
    name             TEXT COLLATE "C" NOT NULL,
    content          TEXT NOT NULL,
    content_sha256   TEXT NOT NULL,
    state            TEXT NOT NULL,
    error            TEXT,
    chunk_count      BIGINT NOT NULL,
    characters       BIGINT NOT NULL,
    embedding_model  TEXT COLLATE "C",
    version          BIGINT NOT NULL,
    lease_until      BIGINT NOT NULL DEFAULT 0,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, id),
    UNIQUE (chatbot_id, name)
);
CREATE INDEX documents_waiting ON documents (lease_until) WHERE state = 'pending';
CREATE INDEX documents_by_model ON documents (chatbot_id, embedding_model);

CREATE TABLE chunks (
    chatbot_id   TEXT COLLATE "C" NOT NULL,
    document_id  TEXT COLLATE "C" NOT NULL,
    number       BIGINT NOT NULL,
    id           TEXT COLLATE "C" NOT NULL,
    content      TEXT NOT NULL,
    line_from    BIGINT NOT NULL,
    line_to      BIGINT NOT NULL,
    stems        TEXT NOT NULL,
    embedding    VECTOR STORAGE MAIN NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, document_id, number),
    UNIQUE (chatbot_id, id)
) WITH (toast_tuple_target = 4080);

-- A search reads the vectors and stems of hundreds of chunks: both stay in the row, two rows to a page.

-- The stems of a chunk, each with its chatbot, so that the lists of one index are of one chatbot each. It says that it is
-- expensive, for a search to use the index rather than work it out for each row.
CREATE FUNCTION stems_of_chatbot(chatbot_id TEXT, stems TEXT) RETURNS TSVECTOR LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
AS $$ BEGIN RETURN array_to_tsvector(array_remove(string_to_array(replace(' ' || translate(stems, '|', ' '), ' ', ' ' || right(chatbot_id, 12) || ':'), ' '), '')); END $$;

-- Without a pending list: what it saves the writers, every search would pay.
CREATE INDEX chunks_by_stem ON chunks USING gin (stems_of_chatbot(chatbot_id, stems)) WITH (fastupdate = off);

-- How many chunks of a chatbot hold a stem, and how often they say it; under the empty stem: all chunks, all stems.
-- Chatbots whose chunks a search reads whole have no rows here.
CREATE TABLE stem_counts (
    chatbot_id   TEXT COLLATE "C" NOT NULL REFERENCES chatbots (id) ON DELETE CASCADE,
    stem         TEXT COLLATE "C" NOT NULL,
    chunks       BIGINT NOT NULL,
    occurrences  BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, stem)
);

CREATE TABLE conversations (
    chatbot_id            TEXT COLLATE "C" NOT NULL,
    conversation_id       TEXT COLLATE "C" NOT NULL,
    user_id               TEXT COLLATE "C",
    last_seq              BIGINT NOT NULL,
    last_at               BIGINT NOT NULL,
    controlled_by         TEXT COLLATE "C" NOT NULL DEFAULT 'bot',
    control_epoch         BIGINT NOT NULL DEFAULT 0,
    handoff_requested_at  BIGINT,
    created_at            BIGINT NOT NULL,
    release_at            BIGINT,
    answering             TEXT COLLATE "C",
    lease_until           BIGINT,
    queued                BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (chatbot_id, conversation_id)
);
CREATE INDEX conversations_by_time ON conversations (chatbot_id, last_at, conversation_id);
CREATE INDEX conversations_to_release ON conversations (release_at) WHERE release_at IS NOT NULL;

CREATE TABLE messages (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    conversation_id  TEXT COLLATE "C" NOT NULL,
    seq              BIGINT NOT NULL,
    id               TEXT COLLATE "C" NOT NULL,
    role             TEXT NOT NULL,
    user_id          TEXT COLLATE "C" NOT NULL,
    name             TEXT NOT NULL,
    content          TEXT NOT NULL,
    status           TEXT NOT NULL,
    in_reply_to      TEXT COLLATE "C",
    alternative      BIGINT NOT NULL DEFAULT 0,
    replaced_by      TEXT COLLATE "C",
    turn             TEXT,
    error            TEXT,
    feedback         TEXT,
    metadata         TEXT NOT NULL,
    embedding        BYTEA,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    sources          TEXT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, seq),
    UNIQUE (chatbot_id, id)
);
CREATE INDEX messages_by_user ON messages (chatbot_id, user_id, conversation_id);
CREATE INDEX turns_open ON messages (chatbot_id, conversation_id, seq) WHERE turn IN ('queued', 'running');

CREATE TABLE drafts (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    conversation_id  TEXT COLLATE "C" NOT NULL,
    prompt_id        TEXT COLLATE "C" NOT NULL,
    alternative      BIGINT NOT NULL,
    message_id       TEXT COLLATE "C" NOT NULL,
    metadata         TEXT NOT NULL,
    content          TEXT NOT NULL,
    sources          TEXT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, prompt_id, alternative)
);

CREATE TABLE events (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    conversation_id  TEXT COLLATE "C" NOT NULL,
    seq              BIGINT NOT NULL,
    type             TEXT COLLATE "C" NOT NULL,
    data             TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, seq)
);
CREATE INDEX events_by_time ON events (chatbot_id, created_at);

CREATE TABLE idempotency (
    chatbot_id   TEXT COLLATE "C" NOT NULL,
    principal    TEXT COLLATE "C" NOT NULL,
    route        TEXT COLLATE "C" NOT NULL,
    key          TEXT COLLATE "C" NOT NULL,
    fingerprint  TEXT NOT NULL,
    kind         TEXT NOT NULL,
    status       BIGINT NOT NULL,
    response     TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, principal, route, key)
);
CREATE INDEX idempotency_by_time ON idempotency (created_at);
