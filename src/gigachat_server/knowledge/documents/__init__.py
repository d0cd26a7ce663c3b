"""From pushed text to searchable chunks, all at once or not at all."""
