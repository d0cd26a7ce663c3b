"""OpenAI's API over gigachat: clients made for that one talk to chatbots, once they are given this server's address."""
