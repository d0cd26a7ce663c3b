"""Three calls with the client that openapi-python-client makes. Each answer is used by its type."""

from __future__ import annotations

import json
import sys

from generated_client import AuthenticatedClient
from generated_client.api.chatbots import chatbots_change, chatbots_create, chatbots_get
from generated_client.api.conversations import conversations_say
from generated_client.models import (
    ChatbotInput,
    ChatbotInputPart,
    Problem404,
    PromptInput,
    ResponseConfigInput,
    WireChatbot,
)

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])

made = chatbots_create.sync(client=client, body=ChatbotInput(name="Superbot"))
assert isinstance(made, WireChatbot), made

part = ChatbotInputPart(response=ResponseConfigInput(temperature=0))
assert part.to_dict() == {"response": {"temperature": 0}}, "nothing else is changed"
changed = chatbots_change.sync(made.id, client=client, body=part)
assert isinstance(changed, WireChatbot), changed
temperature: float = changed.response.temperature
tokens: int = changed.response.max_tokens

prompt = PromptInput(conversation_id="12345", user_id="someone@example.com", prompt="Hello?")
said = conversations_say.sync(made.id, client=client, body=prompt)
assert isinstance(said, list), said
role: str = said[0].role

missing = chatbots_get.sync("none", client=client)
assert isinstance(missing, Problem404), missing
code: str = missing.code

sys.stdout.write(json.dumps({"temperature": temperature, "tokens": tokens, "role": role, "code": code}))
