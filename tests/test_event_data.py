"""The data of events: one struct a type, stored and shown as the guide to following live says."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from gigachat_server.records import EventData, EventType, MessageCreated, TurnCoalesced

KINDS = {kind.__struct_config__.tag: kind for kind in EventData.__subclasses__()}
FIELDS: dict[EventType, dict[str, Any]] = {
    "message.created": {"message_id": "m", "prompt_id": "p"},
    "message.replaced": {"message_id": "m", "replaced_by": "n"},
    "message.feedback": {"message_id": "m"},
    "messages.deleted": {"message_ids": ["m", "n"]},
    "turn.started": {"prompt_id": "p"},
    "turn.queued": {"prompt_id": "p"},
    "turn.failed": {"prompt_id": "p", "code": "model_empty"},
    "turn.stopped": {"prompt_id": "p"},
    "turn.interrupted": {"prompt_id": "p"},
    "turn.intercepted": {"prompt_id": "p"},
    "turn.coalesced": {"prompt_id": "p", "with": "q"},
    "turn.recovered": {"prompt_id": "p"},
    "prompt.unanswered": {"prompt_id": "p", "reason": "refused"},
    "handoff.requested": {"reason": "asked", "note": "", "message_id": "m"},
    "conversation.taken_over": {"operator": "eve"},
    "conversation.released": {"reason": "silence"},
    "conversation.identified": {},
    "conversation.assigned": {"operator": "eve", "by": "bob"},
    "conversation.closed": {"by": "eve"},
    "conversation.reopened": {"reason": "prompt"},
    "conversation.snoozed": {"by": "eve"},
    "conversation.rated": {"closed_seq": 7, "score": 5},
    "turn.proposed": {"prompt_id": "p"},
    "proposal.created": {"proposal_id": "r", "prompt_id": "p"},
    "proposal.decided": {"proposal_id": "r", "state": "sent", "message_id": "m"},
    "note.created": {"note_id": "n"},
    "note.deleted": {"note_id": "n"},
}


@pytest.mark.parametrize("event_type", get_args(EventType))
def test_data_is_stored_as_its_fields_beside_its_type(event_type: EventType) -> None:
    data = msgspec.convert(FIELDS[event_type], KINDS[event_type])
    assert (data.type, list(data.fields().items())) == (event_type, list(FIELDS[event_type].items()))


def test_each_type_has_one_struct() -> None:
    assert len(KINDS) == len(EventData.__subclasses__())
    assert KINDS.keys() == set(get_args(EventType))


def test_a_message_that_is_no_reply_names_no_prompt() -> None:
    assert MessageCreated(message_id="m").fields() == {"message_id": "m"}


@pytest.mark.parametrize(
    "fields", [{}, {"prompt_id": "p"}, {"prompt_id": "p", "with": "q", "more": 1}, {"prompt_id": 1, "with": "q"}]
)
def test_data_of_another_form_is_no_data_of_its_type(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, TurnCoalesced)
    assert TurnCoalesced(prompt_id="p", with_="q").fields() == {"prompt_id": "p", "with": "q"}
