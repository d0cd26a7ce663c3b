-- What of a document was not read, or not for certain.

-- `warnings` is JSON, a list of objects with `code`, `count` and `where`; NULL if there are none.
ALTER TABLE documents ADD COLUMN warnings TEXT;
