-- The schema as the embedded store has it after its migration of the same number: see there.

CREATE TABLE secret_checks (
    name         TEXT COLLATE "C" PRIMARY KEY,
    check_value  TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL
);

ALTER TABLE identity_keys ADD COLUMN sources TEXT COLLATE "C" NOT NULL DEFAULT 'titles';
ALTER TABLE user_sessions ADD COLUMN sources TEXT COLLATE "C";

ALTER TABLE end_users ADD COLUMN profile_at BIGINT NOT NULL DEFAULT 0;
