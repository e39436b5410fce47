"""Every query about conversations with the coach: a transaction and values in, domain out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, insert, or_, select, update

from coach_ai.domain import Conversation, Message
from coach_ai.tables import CONVERSATIONS, MESSAGES
from coach_common.db.transaction import Transaction
from coach_common.errors import NotFound
from coach_common.ids import new_id


def not_found() -> NotFound:
    """Return what is raised for a conversation that is not there, or somebody else's."""
    return NotFound("Conversation not found", code="conversation_not_found")


async def get_conversation(tx: Transaction, conversation_id: UUID, user_id: UUID) -> Conversation:
    """Return the person's conversation, or raise NotFound."""
    row = await tx.fetch_one(select(CONVERSATIONS).where(*_owned(conversation_id, user_id)))
    if row is None:
        raise not_found()
    return _conversation(row)


async def list_conversations(
    tx: Transaction, user_id: UUID, *, limit: int, before: tuple[datetime, UUID] | None
) -> list[Conversation]:
    """Return the person's conversations, the one used last first."""
    columns = CONVERSATIONS.c
    query = select(CONVERSATIONS).where(columns.user_id == user_id)
    if before is not None:
        at, conversation_id = before
        # Expanded: MariaDB takes a row constructor for no range at all.
        query = query.where(
            columns.updated_at <= at, or_(columns.updated_at < at, columns.id < conversation_id)
        )
    rows = await tx.fetch_all(
        query.order_by(columns.updated_at.desc(), columns.id.desc()).limit(limit)
    )
    return [_conversation(row) for row in rows]


async def list_messages(
    tx: Transaction,
    conversation_id: UUID,
    *,
    limit: int,
    before: UUID | None = None,
    after: UUID | None = None,
) -> list[Message]:
    """Return the last messages of a conversation between two of them, oldest first."""
    columns = MESSAGES.c
    query = select(MESSAGES).where(columns.conversation_id == conversation_id)
    if before is not None:
        query = query.where(columns.id < before)
    if after is not None:
        query = query.where(columns.id > after)
    rows = await tx.fetch_all(query.order_by(columns.id.desc()).limit(limit))
    return [
        Message(row["role"], row["text"], row["id"], row["created_at"]) for row in reversed(rows)
    ]


async def add_conversation(tx: Transaction, conversation: Conversation, user_id: UUID) -> None:
    """Begin a conversation."""
    await tx.execute(
        insert(CONVERSATIONS).values(
            id=conversation.id,
            user_id=user_id,
            title=conversation.title,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
        )
    )


async def mark_continued(
    tx: Transaction,
    conversation: Conversation,
    user_id: UUID,
    *,
    at: datetime,
) -> None:
    """Note the newest turn and the summary; NotFound where it was deleted meanwhile."""
    continued = await tx.execute(
        update(CONVERSATIONS)
        .where(*_owned(conversation.id, user_id))
        .values(
            updated_at=at,
            summary=conversation.summary,
            summarised_to=conversation.summarised_to,
        )
    )
    if continued.rowcount == 0:
        raise not_found()


async def add_messages(
    tx: Transaction,
    conversation_id: UUID,
    user_id: UUID,
    messages: Sequence[Message],
    *,
    at: datetime,
) -> None:
    """Keep what was said."""
    for message in messages:
        await tx.execute(
            insert(MESSAGES).values(
                id=new_id(),
                conversation_id=conversation_id,
                user_id=user_id,
                role=message.role,
                text=message.text,
                created_at=at,
            )
        )


async def erase_conversation(tx: Transaction, conversation_id: UUID, user_id: UUID) -> None:
    """Remove the person's conversation with all that was said; NotFound where there is none."""
    erased = await tx.execute(delete(CONVERSATIONS).where(*_owned(conversation_id, user_id)))
    if erased.rowcount == 0:
        raise not_found()
    await tx.execute(delete(MESSAGES).where(MESSAGES.c.conversation_id == conversation_id))


def _owned(conversation_id: UUID, user_id: UUID) -> tuple[Any, Any]:
    return (CONVERSATIONS.c.id == conversation_id, CONVERSATIONS.c.user_id == user_id)


def _conversation(row: RowMapping) -> Conversation:
    return Conversation(
        id=row["id"],
        title=row["title"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        summary=row["summary"] or "",
        summarised_to=row["summarised_to"],
    )
