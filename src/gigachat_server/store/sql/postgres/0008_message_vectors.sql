-- Which embedding model made a message's vector (NULL: not known). Only vectors of one model compare.
ALTER TABLE messages ADD COLUMN embedding_model TEXT COLLATE "C";
