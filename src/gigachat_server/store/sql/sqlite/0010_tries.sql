-- How often a row of a queue was tried, and why it was given up.

-- `lease` names who works on the document, until `lease_until`. `tries` counts the claims since anything last came of one.
-- `parked_at` and `parked_reason` tell a person when it was given up for failing each time, and with what.
ALTER TABLE documents ADD COLUMN lease TEXT;
ALTER TABLE documents ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE documents ADD COLUMN parked_at BIGINT;
ALTER TABLE documents ADD COLUMN parked_reason TEXT;

ALTER TABLE sites ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN parked_at BIGINT;
ALTER TABLE sites ADD COLUMN parked_reason TEXT;
