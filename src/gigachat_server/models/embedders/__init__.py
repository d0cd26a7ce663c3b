"""The built-in embedders: their networks, files and workers."""
