"""gigachat: the self-hosted conversation backend."""

__version__ = "0.1.0"
