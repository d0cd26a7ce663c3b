"""Whole stores copied: backups, moves from one database to another, spreading over Citus."""
