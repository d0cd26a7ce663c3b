"""Extracts text from files, in a sandboxed process."""
