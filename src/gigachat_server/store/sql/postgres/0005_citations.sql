-- Which spans of its sources a reply cites, and where; of a draft only where the model itself says so (NULL: it does not).
ALTER TABLE messages ADD COLUMN citations TEXT NOT NULL DEFAULT '[]';
ALTER TABLE drafts ADD COLUMN citations TEXT;
