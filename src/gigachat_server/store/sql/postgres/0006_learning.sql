-- What the documents did not answer, and what operators had to say to it.

-- A prompt that got no answer. What was said is in the message of that id; `seq` is its place in the conversation. `answered_by`
-- is the id of what an operator made of it.
CREATE TABLE unanswered (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    prompt_id        TEXT COLLATE "C" NOT NULL,
    conversation_id  TEXT COLLATE "C" NOT NULL,
    seq              BIGINT NOT NULL,
    reason           TEXT NOT NULL,
    state            TEXT COLLATE "C" NOT NULL,
    answered_by      TEXT COLLATE "C",
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, prompt_id)
);
CREATE INDEX unanswered_by_state ON unanswered (chatbot_id, state, created_at);
CREATE INDEX unanswered_by_conversation ON unanswered (chatbot_id, conversation_id);

-- An answer that is said word for word to whoever asks one of its prompts.
CREATE TABLE fixed_answers (
    chatbot_id  TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    answer      TEXT NOT NULL,
    is_enabled  BIGINT NOT NULL,
    use_count   BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, id)
);

-- Its phrasings. Without a vector one waits to be embedded, and is matched by its words alone until then.
CREATE TABLE fixed_answer_prompts (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    fixed_answer_id  TEXT COLLATE "C" NOT NULL,
    number           BIGINT NOT NULL,
    content          TEXT NOT NULL,
    embedding        BYTEA,
    embedding_model  TEXT COLLATE "C",
    PRIMARY KEY (chatbot_id, fixed_answer_id, number)
);
CREATE INDEX fixed_answer_prompts_waiting ON fixed_answer_prompts (chatbot_id) WHERE embedding_model IS NULL;
