-- What people say of a conversation without words: how far they have read, that they are typing, what a closing was worth.

-- `seq` only rises. `reader` is an end user, or an operator as `client:...`.
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

-- `closed_seq` is that of the event by which a human ended their part.
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
