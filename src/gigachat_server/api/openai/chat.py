"""Chat completions: the oldest of OpenAI's calls, and the one that most clients make."""

from __future__ import annotations

from starlette.responses import Response

from gigachat_server.api.openai import bodies, callers, wire
from gigachat_server.api.openai.asking import Asked, ask, most_earlier, replies_of, stream
from gigachat_server.api.openai.stream import ChatStream
from gigachat_server.api.views import shown_to
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request
from gigachat_server.services import Services


async def complete(request: Request[bodies.ChatInput], services: Services) -> Answer | Response:
    callers.refuse_task(request.headers)
    body, chatbot = request.body, request.chatbot
    bodies.refuse_unsupported_chat(body, n=chatbot.config.response.n)
    said = bodies.said_in(body.messages, "messages", most_earlier=most_earlier(request))
    asked = Asked(
        said=said,
        metadata=body.metadata or {},
        user=body.user,
        safety_identifier=body.safety_identifier,
        ignored=bodies.ignored_fields(body, said),
    )
    turn = await ask(request, services, asked)
    started, shown = turn.started, shown_to(request.principal)
    if body.stream:
        ids = started.turn.speech.message_ids if started.turn is not None else [each.id for each in started.replies]
        frames = ChatStream(
            chatbot,
            started.prompt,
            message_id=ids[0] if ids else started.prompt.id,
            with_usage=bool(body.stream_options and body.stream_options.include_usage),
            shown=shown,
        )
        return stream(started, request, frames, turn.headers)
    replies = await replies_of(started)
    return Answer(wire.chat_completion(chatbot, started.prompt, replies, shown), 200, turn.headers)
