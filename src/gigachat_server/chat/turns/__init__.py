"""One turn from its prompt to its stored reply, whatever happens on the way."""
