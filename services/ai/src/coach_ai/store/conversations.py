"""Queries about conversations with the coach."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, delete, insert, or_, select, update

from coach_ai.domain import Conversation, Message
from coach_ai.tables import CONVERSATIONS, MESSAGES
from coach_common.db.transaction import Transaction
from coach_common.errors import NotFound
from coach_common.ids import new_id


def conversation_not_found() -> NotFound:
    """Return the error for a conversation that does not exist or belongs to another user."""
    return NotFound("Conversation not found", code="conversation_not_found")


async def get_conversation(tx: Transaction, conversation_id: UUID, user_id: UUID) -> Conversation:
    """Return the user's conversation. Raises NotFound if it does not exist."""
    row = await tx.fetch_one(select(CONVERSATIONS).where(*_is_owned_by(conversation_id, user_id)))
    if row is None:
        raise conversation_not_found()
    return _conversation_from_row(row)


async def list_conversations(
    tx: Transaction, user_id: UUID, *, limit: int, before: tuple[datetime, UUID] | None
) -> list[Conversation]:
    """Return the user's conversations, most recently used first."""
    columns = CONVERSATIONS.c
    query = select(CONVERSATIONS).where(columns.user_id == user_id)
    if before is not None:
        at, conversation_id = before
        # Not a row constructor: MariaDB does not use an index range for one.
        query = query.where(
            columns.updated_at <= at, or_(columns.updated_at < at, columns.id < conversation_id)
        )
    rows = await tx.fetch_all(
        query.order_by(columns.updated_at.desc(), columns.id.desc()).limit(limit)
    )
    return [_conversation_from_row(row) for row in rows]


async def list_messages(
    tx: Transaction,
    conversation_id: UUID,
    *,
    limit: int,
    before: UUID | None = None,
    after: UUID | None = None,
) -> list[Message]:
    """Return the newest messages before `before` and after `after`, oldest first."""
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
    """Insert a conversation."""
    await tx.execute(
        insert(CONVERSATIONS).values(
            id=conversation.id,
            user_id=user_id,
            title=conversation.title,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
        )
    )


async def update_conversation(
    tx: Transaction,
    conversation: Conversation,
    user_id: UUID,
    *,
    at: datetime,
) -> None:
    """Store the time of the newest turn and the summary. Raises NotFound if it was deleted."""
    updated = await tx.execute(
        update(CONVERSATIONS)
        .where(*_is_owned_by(conversation.id, user_id))
        .values(
            updated_at=at,
            summary=conversation.summary,
            summarised_up_to_id=conversation.summarised_up_to_id,
        )
    )
    if updated.rowcount == 0:
        raise conversation_not_found()


async def add_messages(
    tx: Transaction,
    conversation_id: UUID,
    user_id: UUID,
    messages: Sequence[Message],
    *,
    at: datetime,
) -> None:
    """Insert messages."""
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
    """Delete the user's conversation with its messages. Raises NotFound if it does not exist."""
    erased = await tx.execute(delete(CONVERSATIONS).where(*_is_owned_by(conversation_id, user_id)))
    if erased.rowcount == 0:
        raise conversation_not_found()
    await tx.execute_bulk(delete(MESSAGES).where(MESSAGES.c.conversation_id == conversation_id))


def _is_owned_by(
    conversation_id: UUID, user_id: UUID
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (CONVERSATIONS.c.id == conversation_id, CONVERSATIONS.c.user_id == user_id)


def _conversation_from_row(row: RowMapping) -> Conversation:
    return Conversation(
        id=row["id"],
        title=row["title"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        summary=row["summary"] or "",
        summarised_up_to_id=row["summarised_up_to_id"],
    )
