"""The inbox as its templates show it: rows of the list, what a thread tells between messages, who the end user is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from gigachat_server.chat.conversations import BOT
from gigachat_server.inbox.overview import MOST_COUNTED, Desk, Listed, Person, Thread, Wait
from gigachat_server.pages.views import MessageView, view
from gigachat_server.records import Chatbot, Conversation, Event, Message, Note, Proposal

_SPEAKERS = {"assistant": "Bot: ", "operator": "You: "}
_REASONS = {
    "asked": "asked for a human",
    "no_match": "The documents had no answer",
    "review": "A proposed reply was not looked at in time",
    "silence": "No operator wrote for a while",
}
_MISSED = {"nothing_matched": "Nothing in the documents answers this.", "refused": "The chatbot declined to answer."}


class RowView(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the list. `at`: when the end user began to wait, or when something was last said.

    `is_unread`: something was said since who looks had it open, and it is theirs to know: they answer it, look after it, or
    somebody waits there. What the chatbot alone talks about is no news.
    """

    key: str
    path: str
    name: str
    chatbot: str
    by: str
    text: str
    at: int
    is_waiting: bool
    operator: str
    status: str
    snoozed_until: int | None
    last_seq: int
    is_unread: bool


class LineView(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between messages. `who` did it."""

    id: str
    seq: int
    who: str
    text: str
    kind: str
    note: str
    created_at: int


class NoteView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    seq: int
    operator: str
    content: str
    created_at: int


class ProposalView(msgspec.Struct, frozen=True, kw_only=True):
    """`is_made`: the chatbot has written it; until then there is nothing to decide."""

    id: str
    is_made: bool
    message: MessageView


class DeskView(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers, and what can be done about it. `handoff`: why a human is wanted."""

    name: str
    operator: str
    assigned_to: str
    status: str
    snoozed_until: int | None
    release_at: int | None
    waiting_since: int | None
    handoff: str
    handoff_note: str
    proposals: list[ProposalView]


class PersonView(msgspec.Struct, frozen=True, kw_only=True):
    """The end user, as far as they are known: `facts` is what was told of them besides, by name."""

    name: str
    called: str  # by their own name; empty while it is not known
    user_id: str
    email: str
    is_known: bool
    is_verified: bool
    facts: list[tuple[str, str]]
    others: list[RowView]
    missed: str
    missed_prompt: str
    missed_id: str
    conversation_id: str
    created_at: int
    chatbot: str


class ThreadView(msgspec.Struct, frozen=True, kw_only=True):
    items: list[MessageView | LineView | NoteView]
    desk: DeskView
    person: PersonView
    first_seq: int
    last_seq: int


def row_of(listed: Listed, chatbots: Mapping[str, Chatbot], *, me: str, view_name: str) -> RowView:
    conversation = listed.conversation
    is_waiting = conversation.waiting_since is not None and conversation.status == "open"
    operator = conversation.controlled_by if conversation.controlled_by != BOT else conversation.assigned_to or ""
    by = _SPEAKERS.get(listed.said_by, "")
    if listed.said_by == "operator" and operator != me:
        by = f"{operator}: " if operator else "Operator: "
    is_mine = bool(me) and me in (conversation.controlled_by, conversation.assigned_to)
    has_more = conversation.last_message_seq > listed.read_seq and not (listed.said_by == "operator" and operator == me)
    at = conversation.waiting_since if is_waiting and view_name == "waiting" else conversation.last_at
    return RowView(
        key=f"{conversation.chatbot_id}/{quote(conversation.conversation_id, safe='')}",
        path=path_of(conversation),
        name=listed.name or _visitor(conversation),
        chatbot=chatbots[conversation.chatbot_id].name if len(chatbots) > 1 else "",
        by=by,
        text=" ".join(listed.said.split()),
        at=at or conversation.last_at,
        is_waiting=is_waiting,
        operator=operator,
        status=conversation.status,
        snoozed_until=conversation.snoozed_until,
        last_seq=conversation.last_message_seq,
        is_unread=bool(me) and has_more and (is_waiting or is_mine),
    )


def path_of(conversation: Conversation) -> str:
    """Behind the root: where it is opened."""
    return f"/inbox/{conversation.chatbot_id}/{quote(conversation.conversation_id, safe='')}"


def counts_of(waits: Sequence[Wait], mine: int) -> dict[str, str]:
    """As they are shown: what is more than is counted is "99+"."""
    return {"waiting": _counted(len(waits)), "mine": _counted(mine)}


def thread_of(thread: Thread, chatbot: Chatbot, *, me: str) -> ThreadView:
    items: list[MessageView | LineView | NoteView] = [
        *(said(each, thread.desk, thread.person) for each in thread.messages),
        *map(line_of, thread.lines),
        *map(note_of, thread.notes),
    ]
    return ThreadView(
        items=sorted(items, key=lambda each: each.seq),
        desk=desk_of(thread.desk, thread.person, chatbot),
        person=person_of(thread.person, thread.desk.conversation, chatbot, me=me),
        first_seq=thread.first_seq,
        last_seq=thread.desk.conversation.last_seq,
    )


def said(message: Message, desk: Desk, person: Person) -> MessageView:
    """The message; what the end user of the conversation says, under the name by which they are known."""
    shown = view(message)
    is_theirs = message.role == "user" and message.user_id == desk.conversation.user_id
    return msgspec.structs.replace(shown, speaker=_name(person, desk.conversation)) if is_theirs else shown


def desk_of(desk: Desk, person: Person, chatbot: Chatbot) -> DeskView:
    conversation = desk.conversation
    handoff = desk.handoff.data if desk.handoff is not None else {}
    return DeskView(
        name=_name(person, conversation),
        operator="" if conversation.controlled_by == BOT else conversation.controlled_by,
        assigned_to=conversation.assigned_to or "",
        status=conversation.status,
        snoozed_until=conversation.snoozed_until,
        release_at=conversation.release_at,
        waiting_since=conversation.waiting_since,
        handoff=_reason(handoff) if handoff else "",
        handoff_note=str(handoff.get("note") or ""),
        proposals=[_proposal(each, chatbot) for each in desk.proposals],
    )


def person_of(person: Person, conversation: Conversation, chatbot: Chatbot, *, me: str) -> PersonView:
    user, missed = person.user, person.unanswered
    chatbots = {chatbot.id: chatbot}
    return PersonView(
        name=_name(person, conversation),
        called=(user.name if user else None) or "",
        user_id=conversation.user_id or "",
        email=(user.email or "") if user else "",
        is_known=user is not None and bool(user.name or user.email or user.metadata),
        is_verified=user is not None and user.is_verified,
        facts=[(name, _shown(value)) for name, value in ((user.metadata if user else None) or {}).items()][:30],
        others=[row_of(Listed(each, "", "", ""), chatbots, me=me, view_name="") for each in person.others],
        missed=_MISSED.get(missed.reason, "This prompt went unanswered.") if missed else "",
        missed_prompt=missed.content if missed else "",
        missed_id=missed.prompt_id if missed else "",
        conversation_id=conversation.conversation_id,
        created_at=conversation.created_at,
        chatbot=chatbot.name,
    )


def line_of(event: Event) -> LineView:
    data = event.data
    who, text = str(data.get("operator") or data.get("by") or ""), ""
    match event.type:
        case "conversation.taken_over":
            text = "took over. The chatbot is silent."
        case "conversation.released":
            text = "released it. The chatbot answers again." if who else "The chatbot answers again."
        case "conversation.assigned":
            who, to = str(data.get("by") or ""), str(data.get("operator") or "")
            text = f"gave it to {to}." if to and to != who else "looks after it." if to else "gave it back to all."
        case "conversation.closed":
            text = "closed it."
        case "conversation.snoozed":
            text = "snoozed it."
        case "conversation.reopened":
            text = _REOPENED.get(str(data.get("reason")), "Open again.")
        case "conversation.identified":
            text = "The visitor has signed in."
        case "handoff.requested":
            text = f"{_reason(data)}."
    return LineView(
        id=f"event-{event.seq}",
        seq=event.seq,
        who=who,
        text=text,
        kind=event.type.partition(".")[2].replace("_", "-"),
        note=str(data.get("note") or ""),
        created_at=event.created_at,
    )


_REOPENED = {
    "prompt": "Open again: the end user wrote.",
    "operator": "Open again: an operator opened it.",
    "handoff": "Open again: a human is wanted.",
    "snooze": "Open again: the snooze is over.",
}


def note_of(note: Note) -> NoteView:
    return NoteView(
        id=f"note-{note.id}",
        seq=note.after_seq + 1,  # where the event stands that tells of it
        operator=note.operator,
        content=note.content,
        created_at=note.created_at,
    )


def _proposal(proposal: Proposal, chatbot: Chatbot) -> ProposalView:
    as_message = Message(
        chatbot_id=proposal.chatbot_id,
        conversation_id=proposal.conversation_id,
        seq=0,
        id=proposal.id,
        role="assistant",
        user_id="",
        name=chatbot.name,
        content=proposal.content,
        status="completed",
        in_reply_to=proposal.prompt_id,
        alternative=0,
        replaced_by=None,
        metadata={},
        sources=proposal.sources,
        citations=proposal.citations,
        created_at=proposal.created_at,
        updated_at=proposal.created_at,
    )
    return ProposalView(id=proposal.id, is_made=proposal.state == "open", message=view(as_message))


def _reason(data: Mapping[str, Any]) -> str:
    reason = str(data.get("reason") or "asked")
    return "A human is wanted" if reason == "asked" else _REASONS.get(reason, f"A human is wanted: {reason}")


def _name(person: Person, conversation: Conversation) -> str:
    return (person.user.name if person.user else None) or _visitor(conversation)


def _visitor(conversation: Conversation) -> str:
    return conversation.user_id or "No word yet"


def _counted(count: int) -> str:
    return f"{MOST_COUNTED - 1}+" if count >= MOST_COUNTED else str(count)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
