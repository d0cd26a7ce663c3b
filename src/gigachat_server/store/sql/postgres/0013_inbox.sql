-- The schema as the embedded store has it after its migration of the same number: see there.

ALTER TABLE conversations ADD COLUMN status TEXT COLLATE "C" NOT NULL DEFAULT 'open';
ALTER TABLE conversations ADD COLUMN snoozed_until BIGINT;
ALTER TABLE conversations ADD COLUMN closed_at BIGINT;
ALTER TABLE conversations ADD COLUMN assigned_to TEXT COLLATE "C";
ALTER TABLE conversations ADD COLUMN waiting_since BIGINT;
ALTER TABLE conversations ADD COLUMN opened_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN last_message_seq BIGINT NOT NULL DEFAULT 0;
UPDATE conversations SET waiting_since = handoff_requested_at WHERE handoff_requested_at IS NOT NULL;
CREATE INDEX conversations_waiting ON conversations (chatbot_id, waiting_since, conversation_id) WHERE waiting_since IS NOT NULL;
CREATE INDEX conversations_of_operator ON conversations (chatbot_id, controlled_by, last_at) WHERE controlled_by <> 'bot';
CREATE INDEX conversations_assigned ON conversations (chatbot_id, assigned_to, last_at) WHERE assigned_to IS NOT NULL;
CREATE INDEX conversations_by_status ON conversations (chatbot_id, status, last_at);
CREATE INDEX conversations_snoozed ON conversations (snoozed_until) WHERE snoozed_until IS NOT NULL;

CREATE TABLE notes (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    conversation_id  TEXT COLLATE "C" NOT NULL,
    id               TEXT COLLATE "C" NOT NULL,
    after_seq        BIGINT NOT NULL,
    operator         TEXT COLLATE "C" NOT NULL,
    content          TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, id)
);

CREATE TABLE proposals (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    conversation_id  TEXT COLLATE "C" NOT NULL,
    prompt_id        TEXT COLLATE "C" NOT NULL,
    id               TEXT COLLATE "C" NOT NULL,
    content          TEXT NOT NULL,
    sources          TEXT NOT NULL,
    citations        TEXT NOT NULL,
    metadata         TEXT NOT NULL,
    control_epoch    BIGINT NOT NULL,
    state            TEXT COLLATE "C" NOT NULL,
    decided_by       TEXT COLLATE "C",
    message_id       TEXT COLLATE "C",
    created_at       BIGINT NOT NULL,
    decided_at       BIGINT,
    lease            TEXT COLLATE "C",
    lease_until      BIGINT NOT NULL DEFAULT 0,
    tries            BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (chatbot_id, conversation_id, id)
);
CREATE INDEX proposals_open ON proposals (chatbot_id, created_at) WHERE state = 'open';
CREATE INDEX proposals_wanted ON proposals (lease_until) WHERE state = 'wanted';

CREATE TABLE canned_replies (
    chatbot_id  TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    shortcut    TEXT COLLATE "C" NOT NULL,
    content     TEXT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, id)
);
CREATE UNIQUE INDEX canned_replies_by_shortcut ON canned_replies (chatbot_id, shortcut);

ALTER TABLE conversations ADD COLUMN indexed_seq BIGINT NOT NULL DEFAULT 0;
UPDATE conversations SET last_message_seq = last_seq;
CREATE INDEX conversations_unindexed ON conversations (chatbot_id, conversation_id) WHERE indexed_seq < last_message_seq;
CREATE TABLE message_texts (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    message_id       TEXT COLLATE "C" NOT NULL,
    place            BIGINT NOT NULL,
    conversation_id  TEXT COLLATE "C" NOT NULL,
    role             TEXT COLLATE "C" NOT NULL,
    user_id          TEXT COLLATE "C" NOT NULL,
    words            BIGINT[] NOT NULL,
    PRIMARY KEY (chatbot_id, message_id)
);
CREATE INDEX message_texts_by_conversation ON message_texts (chatbot_id, conversation_id);
CREATE INDEX message_texts_by_word ON message_texts USING GIN (words);

CREATE TABLE presence (
    account_id   TEXT COLLATE "C" NOT NULL,
    operator_id  TEXT COLLATE "C" NOT NULL,
    status       TEXT COLLATE "C" NOT NULL,
    seen_at      BIGINT NOT NULL,
    PRIMARY KEY (account_id, operator_id)
);

CREATE TABLE mails (
    chatbot_id   TEXT COLLATE "C" NOT NULL,
    id           TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL,
    recipient    TEXT COLLATE "C" NOT NULL,
    ref          TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    due_at       BIGINT NOT NULL,
    lease        TEXT COLLATE "C",
    lease_until  BIGINT NOT NULL DEFAULT 0,
    reason       TEXT,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, id)
);
CREATE INDEX mails_due ON mails (due_at) WHERE state = 'waiting';
CREATE INDEX mails_by_ref ON mails (chatbot_id, ref);

CREATE TABLE figures (
    chatbot_id  TEXT COLLATE "C" NOT NULL,
    day         BIGINT NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    dimension   TEXT COLLATE "C" NOT NULL,
    value       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, day, name, dimension)
);

CREATE TABLE figure_days (
    chatbot_id   TEXT COLLATE "C" NOT NULL,
    next_day     BIGINT NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    due_at       BIGINT NOT NULL,
    lease        TEXT COLLATE "C",
    lease_until  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (chatbot_id)
);
