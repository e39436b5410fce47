"""Talking with the coach."""

from dataclasses import dataclass
from uuid import UUID

from coach_ai import store
from coach_ai.deps import Deps
from coach_ai.domain import Message
from coach_common.errors import NotFound
from coach_common.identity import Identity
from coach_common.ids import new_id

_REMEMBERED_MESSAGES = 20
_KNOWN_SESSIONS = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """What the coach said, and in which conversation."""

    text: str
    conversation_id: UUID


async def chat(
    deps: Deps, caller: Identity, *, message: str, conversation_id: UUID | None
) -> Reply:
    """Answer the caller's message, in a new conversation or in one of their own."""
    async with deps.db.read() as tx:
        if conversation_id is not None and not await store.has_conversation(
            tx, conversation_id, caller.user_id
        ):
            raise NotFound("Conversation not found", code="conversation_not_found")
        said = (
            []
            if conversation_id is None
            else await store.list_messages(tx, conversation_id, limit=_REMEMBERED_MESSAGES)
        )
        past = await store.list_past_sessions(tx, caller.user_id, limit=_KNOWN_SESSIONS)
    asked = Message("user", message)
    replied = Message("assistant", await deps.coach.reply([*said, asked], past))
    now = deps.clock()
    async with deps.db.transaction() as tx:
        if await store.is_gone(tx, caller.user_id):
            raise NotFound("Conversation not found", code="conversation_not_found")
        if conversation_id is None:
            conversation_id = new_id()
            await store.add_conversation(tx, conversation_id, caller.user_id, at=now)
        await store.add_messages(tx, conversation_id, caller.user_id, [asked, replied], at=now)
    return Reply(replied.text, conversation_id)
