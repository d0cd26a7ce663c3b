-- Which secret this store's derived keys come from: a value that only its holder can make, and that tells nothing of it.
CREATE TABLE secret_checks (
    name         TEXT PRIMARY KEY,
    check_value  TEXT NOT NULL,
    created_at   BIGINT NOT NULL
);

-- How much users see of the sources of replies: full, titles or none. NULL for a session: as its widget key says.
ALTER TABLE identity_keys ADD COLUMN sources TEXT NOT NULL DEFAULT 'titles';
ALTER TABLE user_sessions ADD COLUMN sources TEXT;

-- When the token was issued, or the call made, that told the profile: an older one does not change it back.
ALTER TABLE end_users ADD COLUMN profile_at BIGINT NOT NULL DEFAULT 0;
