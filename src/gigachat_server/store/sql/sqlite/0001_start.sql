-- Every table below `chatbots` has chatbot_id first in its primary key and in every unique key: each turn touches one
-- chatbot, so the same schema can be distributed by it. Times are microseconds since 1970; JSON is stored as text.

CREATE TABLE accounts (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id             TEXT PRIMARY KEY,
    account_id     TEXT NOT NULL,
    name           TEXT NOT NULL,
    secret_sha256  BLOB NOT NULL,
    last4          TEXT NOT NULL,
    scopes         TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT,
    revoked_at     BIGINT
);
CREATE INDEX api_keys_by_account ON api_keys (account_id, id);

CREATE TABLE chatbots (
    id                 TEXT PRIMARY KEY,
    account_id         TEXT NOT NULL,
    name               TEXT NOT NULL,
    config             TEXT NOT NULL,
    knowledge_version  BIGINT NOT NULL DEFAULT 0,
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL
);
CREATE INDEX chatbots_by_account ON chatbots (account_id, id);

-- `version` is the chatbot's knowledge_version when the document's chunks last changed.
CREATE TABLE documents (
    chatbot_id       TEXT NOT NULL,
    id               TEXT NOT NULL,
    name             TEXT NOT NULL,
    content          TEXT NOT NULL,
    content_sha256   TEXT NOT NULL,
    state            TEXT NOT NULL,
    error            TEXT,
    chunk_count      BIGINT NOT NULL,
    characters       BIGINT NOT NULL,
    embedding_model  TEXT,
    version          BIGINT NOT NULL,
    lease_until      BIGINT NOT NULL DEFAULT 0,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, id),
    UNIQUE (chatbot_id, name)
);
CREATE INDEX documents_waiting ON documents (lease_until) WHERE state = 'pending';

-- `stems` is what lexical retrieval needs of the content, so that an index can be loaded without stemming again.
CREATE TABLE chunks (
    chatbot_id   TEXT NOT NULL,
    document_id  TEXT NOT NULL,
    number       BIGINT NOT NULL,
    id           TEXT NOT NULL,
    content      TEXT NOT NULL,
    line_from    BIGINT NOT NULL,
    line_to      BIGINT NOT NULL,
    stems        TEXT NOT NULL,
    embedding    BLOB NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, document_id, number),
    UNIQUE (chatbot_id, id)
);

CREATE TABLE conversations (
    chatbot_id            TEXT NOT NULL,
    conversation_id       TEXT NOT NULL,
    user_id               TEXT,
    last_seq              BIGINT NOT NULL,
    last_at               BIGINT NOT NULL,
    controlled_by         TEXT NOT NULL DEFAULT 'bot',
    control_epoch         BIGINT NOT NULL DEFAULT 0,
    handoff_requested_at  BIGINT,
    created_at            BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id)
) WITHOUT ROWID;
CREATE INDEX conversations_by_time ON conversations (chatbot_id, last_at, conversation_id);

-- `sources` is last: it is long, and what a model remembers of a message lies before it.
CREATE TABLE messages (
    chatbot_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    seq              BIGINT NOT NULL,
    id               TEXT NOT NULL,
    role             TEXT NOT NULL,
    user_id          TEXT NOT NULL,
    name             TEXT NOT NULL,
    content          TEXT NOT NULL,
    status           TEXT NOT NULL,
    in_reply_to      TEXT,
    alternative      BIGINT NOT NULL DEFAULT 0,
    replaced_by      TEXT,
    metadata         TEXT NOT NULL,
    embedding        BLOB,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    sources          TEXT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, seq),
    UNIQUE (chatbot_id, id)
);
CREATE INDEX messages_by_user ON messages (chatbot_id, user_id, conversation_id);

CREATE TABLE drafts (
    chatbot_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    message_id       TEXT NOT NULL,
    control_epoch    BIGINT NOT NULL,
    content          TEXT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, message_id)
) WITHOUT ROWID;

CREATE TABLE events (
    chatbot_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    seq              BIGINT NOT NULL,
    type             TEXT NOT NULL,
    data             TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, seq)
) WITHOUT ROWID;

-- For routes without a chatbot the account's id stands in chatbot_id.
CREATE TABLE idempotency (
    chatbot_id   TEXT NOT NULL,
    principal    TEXT NOT NULL,
    route        TEXT NOT NULL,
    key          TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    state        TEXT NOT NULL,
    response     TEXT,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, principal, route, key)
) WITHOUT ROWID;
