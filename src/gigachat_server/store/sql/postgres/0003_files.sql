-- Documents that come as files: their bytes until there is a text, how far reading and embedding them has come, and why not.

-- `state` is 'uploaded' (a file nobody has begun to read), 'pending' (a text nobody has begun to embed), 'extracting',
-- 'embedding', 'ready' or 'failed'. `upload_id` names the bytes that are still to be read, `file_sha256` is theirs;
-- `chunks_sha256` is that of the text the chunks were cut from. `places` is JSON: where in the text pages and headings begin.
ALTER TABLE documents ADD COLUMN reason TEXT;
ALTER TABLE documents ADD COLUMN progress BIGINT NOT NULL DEFAULT 0;
ALTER TABLE documents ADD COLUMN title TEXT;
ALTER TABLE documents ADD COLUMN media_type TEXT;
ALTER TABLE documents ADD COLUMN origin TEXT COLLATE "C";
ALTER TABLE documents ADD COLUMN upload_id TEXT COLLATE "C";
ALTER TABLE documents ADD COLUMN file_sha256 TEXT;
ALTER TABLE documents ADD COLUMN chunks_sha256 TEXT;
ALTER TABLE documents ADD COLUMN places TEXT;
CREATE INDEX documents_to_ingest ON documents (lease_until) WHERE state IN ('uploaded', 'pending', 'extracting', 'embedding');

-- `text_sha256` is the first half of the SHA-256 of `content`, by which a text that was embedded before is found.
ALTER TABLE chunks ADD COLUMN page BIGINT;
ALTER TABLE chunks ADD COLUMN heading TEXT;
ALTER TABLE chunks ADD COLUMN text_sha256 TEXT COLLATE "C";
CREATE INDEX chunks_by_text ON chunks (chatbot_id, text_sha256, id) WHERE text_sha256 IS NOT NULL;

CREATE TABLE uploads (
    chatbot_id  TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    number      BIGINT NOT NULL,
    content     BYTEA NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (chatbot_id, id, number)
);
CREATE INDEX uploads_by_time ON uploads (created_at);

-- Embeddings of a document's texts, from when they are made until the document's chunks have them.
CREATE TABLE made_embeddings (
    chatbot_id       TEXT COLLATE "C" NOT NULL,
    document_id      TEXT COLLATE "C" NOT NULL,
    text_sha256      TEXT COLLATE "C" NOT NULL,
    embedding_model  TEXT COLLATE "C" NOT NULL,
    embedding        BYTEA NOT NULL,
    PRIMARY KEY (chatbot_id, document_id, text_sha256)
);
