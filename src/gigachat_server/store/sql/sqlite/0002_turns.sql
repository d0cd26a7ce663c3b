-- Turns that survive: who answers what until when, how far a reply has come, and what a repeated request already did.

-- `answering` is the prompt whose turn holds the lease, until `lease_until`; `queued` counts the prompts that wait behind it.
ALTER TABLE conversations ADD COLUMN release_at BIGINT;
ALTER TABLE conversations ADD COLUMN answering TEXT;
ALTER TABLE conversations ADD COLUMN lease_until BIGINT;
ALTER TABLE conversations ADD COLUMN queued BIGINT NOT NULL DEFAULT 0;
CREATE INDEX conversations_to_release ON conversations (release_at) WHERE release_at IS NOT NULL;

-- Made anew rather than altered, so that `sources` stays last: it is long, and what a turn reads lies before it.
ALTER TABLE messages RENAME TO messages_before;
DROP INDEX messages_by_user;
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
    turn             TEXT,
    error            TEXT,
    feedback         TEXT,
    metadata         TEXT NOT NULL,
    embedding        BLOB,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    sources          TEXT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, seq),
    UNIQUE (chatbot_id, id)
);
INSERT INTO messages (chatbot_id, conversation_id, seq, id, role, user_id, name, content, status, in_reply_to, alternative,
    replaced_by, turn, metadata, embedding, created_at, updated_at, sources)
  SELECT chatbot_id, conversation_id, seq, id, role, user_id, name, content, status, in_reply_to, alternative,
    replaced_by, CASE WHEN role <> 'user' THEN NULL WHEN status = 'failed' THEN 'failed' ELSE 'done' END,
    metadata, embedding, created_at, updated_at, sources
  FROM messages_before;
DROP TABLE messages_before;
CREATE INDEX messages_by_user ON messages (chatbot_id, user_id, conversation_id);
CREATE INDEX turns_open ON messages (chatbot_id, conversation_id, seq) WHERE turn IN ('queued', 'running');

-- A reply in the making, as far as it has been said. Never shown as such: it becomes a message or is removed.
DROP TABLE drafts;
CREATE TABLE drafts (
    chatbot_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    prompt_id        TEXT NOT NULL,
    alternative      BIGINT NOT NULL,
    message_id       TEXT NOT NULL,
    metadata         TEXT NOT NULL,
    content          TEXT NOT NULL,
    sources          TEXT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, prompt_id, alternative)
);

CREATE INDEX events_by_time ON events (chatbot_id, created_at);

-- What a request with an Idempotency-Key did: its whole answer, or (`kind` = turn, document) the id of the row that tells.
-- For routes without a chatbot the account's id stands in chatbot_id.
DROP TABLE idempotency;
CREATE TABLE idempotency (
    chatbot_id   TEXT NOT NULL,
    principal    TEXT NOT NULL,
    route        TEXT NOT NULL,
    key          TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    kind         TEXT NOT NULL,
    status       BIGINT NOT NULL,
    response     TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, principal, route, key)
);
CREATE INDEX idempotency_by_time ON idempotency (created_at);
