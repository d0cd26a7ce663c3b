"""The pages: sign in, try a chatbot, manage API keys, read the API's reference."""

from gigachat_server.pages.dispatch import Web

__all__ = ["Web"]
