"""The message store: one module of SQL for each noun, and the databases that run it."""
