"""The settings pages: one place to run a chatbot, a section a module."""
