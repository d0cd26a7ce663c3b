-- What of a document was not read, or not for certain; and which pages of sites are left out for which others.

-- `warnings` is JSON, a list of objects with `code`, `count` and `where`; NULL if there are none.
ALTER TABLE documents ADD COLUMN warnings TEXT;

-- `instead` is the address that a page calls its own, as long as it is left out for that one.
ALTER TABLE site_pages ADD COLUMN instead TEXT COLLATE "C";

-- `size` is how many bytes a file has, or characters a text, so that what is small need not wait for what is large.
ALTER TABLE documents ADD COLUMN size BIGINT NOT NULL DEFAULT 0;
