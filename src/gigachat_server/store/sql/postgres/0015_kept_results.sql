-- What was kept under an Idempotency-Key is erased with the conversation that its route names.

ALTER TABLE idempotency ADD COLUMN conversation_id TEXT COLLATE "C";
CREATE INDEX idempotency_by_conversation ON idempotency (chatbot_id, conversation_id) WHERE conversation_id IS NOT NULL;
