-- The schema as the embedded store has it after its migration of the same number: see there.

CREATE TABLE identity_keys (
    chatbot_id  TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    algorithm   TEXT COLLATE "C" NOT NULL,
    public_key  TEXT,
    version     BIGINT NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    revoked_at  BIGINT,
    PRIMARY KEY (chatbot_id, id)
);

CREATE TABLE widget_keys (
    chatbot_id  TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    hostnames   TEXT NOT NULL,
    settings    TEXT NOT NULL,
    is_enabled  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    revoked_at  BIGINT,
    PRIMARY KEY (chatbot_id, id)
);

CREATE TABLE user_sessions (
    chatbot_id        TEXT COLLATE "C" NOT NULL,
    id                TEXT COLLATE "C" NOT NULL,
    secret_sha256     BYTEA NOT NULL,
    user_id           TEXT COLLATE "C" NOT NULL,
    widget_key_id     TEXT COLLATE "C",
    conversation_ids  TEXT,
    created_at        BIGINT NOT NULL,
    seen_at           BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    revoked_at        BIGINT,
    PRIMARY KEY (chatbot_id, id)
);
CREATE INDEX user_sessions_by_user ON user_sessions (chatbot_id, user_id);
CREATE INDEX user_sessions_by_end ON user_sessions (expires_at);

CREATE TABLE end_users (
    chatbot_id         TEXT COLLATE "C" NOT NULL,
    user_id            TEXT COLLATE "C" NOT NULL,
    name               TEXT COLLATE "C",
    email              TEXT COLLATE "C",
    metadata           TEXT,
    is_verified        BIGINT NOT NULL DEFAULT 0,
    tokens_valid_from  BIGINT NOT NULL DEFAULT 0,
    blocked_at         BIGINT,
    seen_at            BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, user_id)
);

CREATE TABLE rates (
    chatbot_id  TEXT COLLATE "C" NOT NULL,
    policy      TEXT COLLATE "C" NOT NULL,
    subject     TEXT COLLATE "C" NOT NULL,
    full_at     BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, policy, subject)
);
CREATE INDEX rates_by_end ON rates (full_at);

CREATE TABLE budgets (
    chatbot_id  TEXT COLLATE "C" NOT NULL,
    day         BIGINT NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    turns       BIGINT NOT NULL DEFAULT 0,
    tokens      BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (chatbot_id, day, kind)
);

CREATE TABLE operators (
    id            TEXT COLLATE "C" PRIMARY KEY,
    account_id    TEXT COLLATE "C" NOT NULL,
    handle        TEXT COLLATE "C" NOT NULL,
    email         TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    role          TEXT COLLATE "C" NOT NULL,
    password      TEXT,
    oidc_issuer   TEXT COLLATE "C",
    oidc_subject  TEXT COLLATE "C",
    created_at    BIGINT NOT NULL,
    seen_at       BIGINT,
    disabled_at   BIGINT,
    deleted_at    BIGINT
);
CREATE UNIQUE INDEX operators_by_handle ON operators (account_id, handle);
CREATE UNIQUE INDEX operators_by_email ON operators (account_id, email);
CREATE UNIQUE INDEX operators_by_identity ON operators (oidc_issuer, oidc_subject, account_id) WHERE oidc_issuer IS NOT NULL;

CREATE TABLE memberships (
    chatbot_id   TEXT COLLATE "C" NOT NULL,
    operator_id  TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (chatbot_id, operator_id)
);
CREATE INDEX memberships_by_operator ON memberships (operator_id);

CREATE TABLE operator_sessions (
    id_sha256    BYTEA PRIMARY KEY,
    account_id   TEXT COLLATE "C" NOT NULL,
    operator_id  TEXT COLLATE "C",
    key_id       TEXT COLLATE "C",
    created_at   BIGINT NOT NULL,
    seen_at      BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    peer         TEXT COLLATE "C"
);
CREATE INDEX operator_sessions_by_operator ON operator_sessions (operator_id);
CREATE INDEX operator_sessions_by_end ON operator_sessions (expires_at);

CREATE TABLE one_time_tokens (
    token_sha256  BYTEA PRIMARY KEY,
    account_id    TEXT COLLATE "C" NOT NULL,
    operator_id   TEXT COLLATE "C",
    purpose       TEXT COLLATE "C" NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX one_time_tokens_by_end ON one_time_tokens (expires_at);

CREATE TABLE oidc_logins (
    state_sha256  BYTEA PRIMARY KEY,
    next          TEXT NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX oidc_logins_by_end ON oidc_logins (expires_at);

CREATE TABLE audit (
    account_id  TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    at          BIGINT NOT NULL,
    actor       TEXT COLLATE "C" NOT NULL,
    action      TEXT COLLATE "C" NOT NULL,
    target      TEXT COLLATE "C" NOT NULL,
    detail      TEXT,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX audit_by_account ON audit (account_id, at, id);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_target ON audit (account_id, target);

CREATE INDEX conversations_by_user ON conversations (chatbot_id, user_id, last_at);
