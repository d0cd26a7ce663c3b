-- Who may reach a chatbot besides API keys: its end users, by keys, tokens and sessions; and the operators of an account.
-- Nothing here can be turned back into a credential, but for widget keys, which are public. Secrets that the server must know
-- again are derived from its own: see access/secrets.py.

-- What verifies the tokens that a client's server signs for its users. `public_key` is NULL for a shared secret, which is
-- derived anew from `version`.
CREATE TABLE identity_keys (
    chatbot_id  TEXT NOT NULL,
    id          TEXT NOT NULL,
    algorithm   TEXT NOT NULL,
    public_key  TEXT,
    version     BIGINT NOT NULL,
    name        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    revoked_at  BIGINT,
    PRIMARY KEY (chatbot_id, id)
);

-- `hostnames` and `settings` are JSON.
CREATE TABLE widget_keys (
    chatbot_id  TEXT NOT NULL,
    id          TEXT NOT NULL,
    key         TEXT NOT NULL,
    name        TEXT NOT NULL,
    hostnames   TEXT NOT NULL,
    settings    TEXT NOT NULL,
    is_enabled  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    revoked_at  BIGINT,
    PRIMARY KEY (chatbot_id, id)
);

-- `conversation_ids` is JSON, or NULL where the session is not narrowed to some.
CREATE TABLE user_sessions (
    chatbot_id        TEXT NOT NULL,
    id                TEXT NOT NULL,
    secret_sha256     BLOB NOT NULL,
    user_id           TEXT NOT NULL,
    widget_key_id     TEXT,
    conversation_ids  TEXT,
    created_at        BIGINT NOT NULL,
    seen_at           BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    revoked_at        BIGINT,
    PRIMARY KEY (chatbot_id, id)
);
CREATE INDEX user_sessions_by_user ON user_sessions (chatbot_id, user_id);
CREATE INDEX user_sessions_by_end ON user_sessions (expires_at);

-- What is known of an end user. A token that was issued before `tokens_valid_from` is refused.
CREATE TABLE end_users (
    chatbot_id         TEXT NOT NULL,
    user_id            TEXT NOT NULL,
    name               TEXT,
    email              TEXT,
    metadata           TEXT,
    is_verified        BIGINT NOT NULL DEFAULT 0,
    tokens_valid_from  BIGINT NOT NULL DEFAULT 0,
    blocked_at         BIGINT,
    seen_at            BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, user_id)
);

-- When a subject would again have its whole quota of a policy (GCRA).
CREATE TABLE rates (
    chatbot_id  TEXT NOT NULL,
    policy      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    full_at     BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, policy, subject)
);
CREATE INDEX rates_by_end ON rates (full_at);

-- What a chatbot has spent on a day (UTC): `day` is the number of days since 1970.
CREATE TABLE budgets (
    chatbot_id  TEXT NOT NULL,
    day         BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    turns       BIGINT NOT NULL DEFAULT 0,
    tokens      BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (chatbot_id, day, kind)
);

-- `password` is its argon2id hash. Who is deleted leaves a row behind without name and address, so that nobody else ever
-- speaks under the same `handle`.
CREATE TABLE operators (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL,
    handle        TEXT NOT NULL,
    email         TEXT NOT NULL,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL,
    password      TEXT,
    oidc_issuer   TEXT,
    oidc_subject  TEXT,
    created_at    BIGINT NOT NULL,
    seen_at       BIGINT,
    disabled_at   BIGINT,
    deleted_at    BIGINT
);
CREATE UNIQUE INDEX operators_by_handle ON operators (account_id, handle);
CREATE UNIQUE INDEX operators_by_email ON operators (account_id, email);
CREATE UNIQUE INDEX operators_by_identity ON operators (oidc_issuer, oidc_subject, account_id) WHERE oidc_issuer IS NOT NULL;

CREATE TABLE memberships (
    chatbot_id   TEXT NOT NULL,
    operator_id  TEXT NOT NULL,
    role         TEXT NOT NULL,
    PRIMARY KEY (chatbot_id, operator_id)
);
CREATE INDEX memberships_by_operator ON memberships (operator_id);

-- Who is signed in to the pages: an operator, or the holder of an API key; neither is the local operator of the machine.
-- A session ends at `expires_at`, and earlier if it was not used for a while since `seen_at`.
CREATE TABLE operator_sessions (
    id_sha256    BLOB PRIMARY KEY,
    account_id   TEXT NOT NULL,
    operator_id  TEXT,
    key_id       TEXT,
    created_at   BIGINT NOT NULL,
    seen_at      BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    peer         TEXT
);
CREATE INDEX operator_sessions_by_operator ON operator_sessions (operator_id);
CREATE INDEX operator_sessions_by_end ON operator_sessions (expires_at);

-- Links that sign in, invite or reset a password, once. No `operator_id`: the local operator of the machine.
CREATE TABLE one_time_tokens (
    token_sha256  BLOB PRIMARY KEY,
    account_id    TEXT NOT NULL,
    operator_id   TEXT,
    purpose       TEXT NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX one_time_tokens_by_end ON one_time_tokens (expires_at);

-- A browser that is on its way to the provider and back. Its nonce and its verifier are derived from what its cookie holds;
-- `next` is the page that is opened after signing in.
CREATE TABLE oidc_logins (
    state_sha256  BLOB PRIMARY KEY,
    next          TEXT NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX oidc_logins_by_end ON oidc_logins (expires_at);

-- Who did what, written in the transaction of the act. `detail` is JSON.
CREATE TABLE audit (
    account_id  TEXT NOT NULL,
    id          TEXT NOT NULL,
    at          BIGINT NOT NULL,
    actor       TEXT NOT NULL,
    action      TEXT NOT NULL,
    target      TEXT NOT NULL,
    detail      TEXT,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX audit_by_account ON audit (account_id, at, id);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_target ON audit (account_id, target);

CREATE INDEX conversations_by_user ON conversations (chatbot_id, user_id, last_at);
