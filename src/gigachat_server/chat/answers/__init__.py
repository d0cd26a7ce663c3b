"""From a prompt to what the chatbot says: what it remembers, what it is told, what it cites."""
