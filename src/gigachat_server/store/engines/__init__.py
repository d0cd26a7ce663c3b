"""The databases that run the store: SQLite in this process, PostgreSQL for many nodes."""
