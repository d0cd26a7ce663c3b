"""The HTTP API: one file of handlers a noun, each of which reads a request, calls a use case and shapes the answer."""
