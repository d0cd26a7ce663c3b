-- Documents are embedded in units, smaller than the chunks that are handed on: a chunk is as near as the nearest of its units.

-- `vector` is a direction: a signed byte for each number. `text_sha256` is the first half of the SHA-256 of the text that was
-- embedded, by which its vector is found again. The unit belongs to the chunks `first_chunk` to `last_chunk` of its document.
CREATE TABLE units (
    chatbot_id   TEXT COLLATE "C" NOT NULL,
    document_id  TEXT COLLATE "C" NOT NULL,
    number       BIGINT NOT NULL,
    first_chunk  BIGINT NOT NULL,
    last_chunk   BIGINT NOT NULL,
    text_sha256  TEXT COLLATE "C" NOT NULL,
    vector       BYTEA NOT NULL,
    PRIMARY KEY (chatbot_id, document_id, number)
);
CREATE INDEX units_by_text ON units (chatbot_id, text_sha256);

-- All units of a chunk are among these numbers; NULL where a chunk was embedded as a whole, by an earlier version.
ALTER TABLE chunks ADD COLUMN first_unit BIGINT;
ALTER TABLE chunks ADD COLUMN last_unit BIGINT;

-- In which language a document is; NULL where that cannot be told.
ALTER TABLE documents ADD COLUMN language TEXT COLLATE "C";
