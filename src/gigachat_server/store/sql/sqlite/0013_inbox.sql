-- What a support team needs to know of conversations, and what it writes beside them.

-- `status` is open, snoozed or closed. `waiting_since` is when the end user first spoke, since a human is wanted or in control,
-- without being answered by one; NULL if nobody waits. `opened_seq` is the place of the message that last reopened it.
ALTER TABLE conversations ADD COLUMN status TEXT NOT NULL DEFAULT 'open';
ALTER TABLE conversations ADD COLUMN snoozed_until BIGINT;
ALTER TABLE conversations ADD COLUMN closed_at BIGINT;
ALTER TABLE conversations ADD COLUMN assigned_to TEXT;
ALTER TABLE conversations ADD COLUMN waiting_since BIGINT;
ALTER TABLE conversations ADD COLUMN opened_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN last_message_seq BIGINT NOT NULL DEFAULT 0;
UPDATE conversations SET waiting_since = handoff_requested_at WHERE handoff_requested_at IS NOT NULL;
CREATE INDEX conversations_waiting ON conversations (chatbot_id, waiting_since, conversation_id) WHERE waiting_since IS NOT NULL;
CREATE INDEX conversations_of_operator ON conversations (chatbot_id, controlled_by, last_at) WHERE controlled_by <> 'bot';
CREATE INDEX conversations_assigned ON conversations (chatbot_id, assigned_to, last_at) WHERE assigned_to IS NOT NULL;
CREATE INDEX conversations_by_status ON conversations (chatbot_id, status, last_at);
CREATE INDEX conversations_snoozed ON conversations (snoozed_until) WHERE snoozed_until IS NOT NULL;

-- Notes are no messages, so that nothing that reads messages can show one to an end user. `after_seq` is their place.
CREATE TABLE notes (
    chatbot_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    id               TEXT NOT NULL,
    after_seq        BIGINT NOT NULL,
    operator         TEXT NOT NULL,
    content          TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, id)
);

-- Replies that an operator looks at before the end user does. `sources`, `citations` and `metadata` are JSON. Those that are
-- `wanted` are a queue: whoever makes one holds it by its lease.
CREATE TABLE proposals (
    chatbot_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    prompt_id        TEXT NOT NULL,
    id               TEXT NOT NULL,
    content          TEXT NOT NULL,
    sources          TEXT NOT NULL,
    citations        TEXT NOT NULL,
    metadata         TEXT NOT NULL,
    control_epoch    BIGINT NOT NULL,
    state            TEXT NOT NULL,
    decided_by       TEXT,
    message_id       TEXT,
    created_at       BIGINT NOT NULL,
    decided_at       BIGINT,
    lease            TEXT,
    lease_until      BIGINT NOT NULL DEFAULT 0,
    tries            BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (chatbot_id, conversation_id, id)
);
CREATE INDEX proposals_open ON proposals (chatbot_id, created_at) WHERE state = 'open';
CREATE INDEX proposals_wanted ON proposals (lease_until) WHERE state = 'wanted';

CREATE TABLE canned_replies (
    chatbot_id  TEXT NOT NULL,
    id          TEXT NOT NULL,
    shortcut    TEXT NOT NULL,
    content     TEXT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, id)
);
CREATE UNIQUE INDEX canned_replies_by_shortcut ON canned_replies (chatbot_id, shortcut);

-- What the words of messages are found by. It is derived from the messages, so copies leave it out, and `indexed_seq` tells up to
-- where it was made. A word stands there as a hash: no text can be read from it. `place` is the time of the message in
-- microseconds, or the next that is free.
ALTER TABLE conversations ADD COLUMN indexed_seq BIGINT NOT NULL DEFAULT 0;
UPDATE conversations SET last_message_seq = last_seq;
CREATE INDEX conversations_unindexed ON conversations (chatbot_id, conversation_id) WHERE indexed_seq < last_message_seq;
CREATE TABLE message_texts (
    place            INTEGER PRIMARY KEY,
    chatbot_id       TEXT NOT NULL,
    message_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    role             TEXT NOT NULL,
    user_id          TEXT NOT NULL,
    UNIQUE (chatbot_id, message_id)
);
CREATE INDEX message_texts_by_conversation ON message_texts (chatbot_id, conversation_id);
CREATE VIRTUAL TABLE message_words USING fts5(words, content='', contentless_delete=1, detail=none);
CREATE TRIGGER message_texts_deleted AFTER DELETE ON message_texts BEGIN DELETE FROM message_words WHERE rowid = old.place; END;

-- Which operators are there: those whose `status` is available and whom a page of theirs has shown to be there a moment ago.
CREATE TABLE presence (
    account_id   TEXT NOT NULL,
    operator_id  TEXT NOT NULL,
    status       TEXT NOT NULL,
    seen_at      BIGINT NOT NULL,
    PRIMARY KEY (account_id, operator_id)
);

-- Mail that is to be sent, as a queue: who sends one holds it by its lease. A row holds no words of a mail, only what it is made
-- from: its kind, for whom it is (an address, or an operator or end user of that id), and what it is about. The chatbot of an
-- invitation, which belongs to none, is empty.
CREATE TABLE mails (
    chatbot_id   TEXT NOT NULL,
    id           TEXT NOT NULL,
    kind         TEXT NOT NULL,
    recipient    TEXT NOT NULL,
    ref          TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    due_at       BIGINT NOT NULL,
    lease        TEXT,
    lease_until  BIGINT NOT NULL DEFAULT 0,
    reason       TEXT,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, id)
);
CREATE INDEX mails_due ON mails (due_at) WHERE state = 'waiting';
CREATE INDEX mails_by_ref ON mails (chatbot_id, ref);

-- What a whole day (UTC, its number since 1970) came to. `dimension` is a reason, a score or a percentile; empty where there is none.
CREATE TABLE figures (
    chatbot_id  TEXT NOT NULL,
    day         BIGINT NOT NULL,
    name        TEXT NOT NULL,
    dimension   TEXT NOT NULL,
    value       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, day, name, dimension)
);

-- The first day of each chatbot whose figures are still to be counted, as a queue. A chatbot without a row has none counted.
CREATE TABLE figure_days (
    chatbot_id   TEXT NOT NULL,
    next_day     BIGINT NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    due_at       BIGINT NOT NULL,
    lease        TEXT,
    lease_until  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (chatbot_id)
);
