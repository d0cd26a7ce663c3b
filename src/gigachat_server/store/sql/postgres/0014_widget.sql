-- The schema as the embedded store has it after its migration of the same number: see there.

CREATE TABLE read_marks (
    chatbot_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    reader           TEXT NOT NULL,
    seq              BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, reader)
);

CREATE TABLE typing (
    chatbot_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    who              TEXT NOT NULL,
    until            BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, who)
);

CREATE TABLE ratings (
    chatbot_id       TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    closed_seq       BIGINT NOT NULL,
    score            BIGINT NOT NULL,
    comment          TEXT NOT NULL,
    operator         TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, conversation_id, closed_seq)
);
