"""Dead letters of the embedded profile's broker, which may be running in another process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import Delete, RowMapping, Update, bindparam, delete, select, update

from coach_common.db.database import Database
from coach_common.db.transaction import Transaction
from coach_common.messaging.dead_letters import DeadLetter, Selection, read_event
from coach_common.messaging.sqlite_broker import EPOCH, MESSAGES

_BY_ID = MESSAGES.c.id == bindparam("message_id")


class SqliteDeadLetters:
    """The dead letters in `broker.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, selection: Selection) -> list[DeadLetter]:
        """Return the selected dead letters, oldest first."""
        async with self._database.read_only() as tx:
            return [letter for _, letter in await _select(tx, selection)]

    async def replay(self, selection: Selection) -> int:
        """Make the selected dead letters due at their first attempt; return how many.

        Their consumers read them within a second.
        """
        due = {"dead_at": None, "reason": None, "attempt": 1, "due_at": self._database.clock()}
        return await self._change(selection, update(MESSAGES).where(_BY_ID).values(due))

    async def drop(self, selection: Selection) -> int:
        """Delete the selected dead letters; return how many."""
        return await self._change(selection, delete(MESSAGES).where(_BY_ID))

    async def _change(self, selection: Selection, statement: Update | Delete) -> int:
        async with self._database.transaction() as tx:
            ids = [{"message_id": message_id} for message_id, _ in await _select(tx, selection)]
            if ids:
                await tx.execute(statement, ids)
        return len(ids)


@asynccontextmanager
async def open_sqlite_dead_letters(url: str) -> AsyncIterator[SqliteDeadLetters]:
    """Open the file of the broker."""
    database = Database(url, source="broker")
    try:
        yield SqliteDeadLetters(database)
    finally:
        await database.close()


async def _select(tx: Transaction, selection: Selection) -> list[tuple[UUID, DeadLetter]]:
    """Return the selected dead letters, each with the id of its message."""
    # A range of `dead_at`, because `is not null` would not use its index.
    query = select(MESSAGES).where(MESSAGES.c.dead_at > EPOCH).order_by(MESSAGES.c.dead_at)
    if selection.queue is not None:
        query = query.where(MESSAGES.c.queue == selection.queue)
    letters = [(row["id"], _letter(row)) for row in await tx.fetch_all(query)]
    return [
        (message_id, letter)
        for message_id, letter in letters
        if selection.includes(letter.queue, letter.event)
    ]


def _letter(row: RowMapping) -> DeadLetter:
    event = read_event(row["body"].encode())
    return DeadLetter(row["queue"], row["reason"] or "", row["dead_at"], event)
