"""Dead letters of the embedded profile's broker, which may be running in another process."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, bindparam, delete, select, update

from coach_common.db.database import Database
from coach_common.db.transaction import Transaction
from coach_common.messaging.dead_letters import DeadLetter, Selection, read_event
from coach_common.messaging.sqlite_broker import EPOCH, MESSAGES

_BY_ID = MESSAGES.c.id == bindparam("message_id")
_REPLAY = update(MESSAGES).where(_BY_ID, MESSAGES.c.dead_at.is_not(None))


class SqliteDeadLetters:
    """The dead letters in `broker.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, selection: Selection) -> list[DeadLetter]:
        """Return the selected dead letters, oldest first."""
        async with self._database.read_only() as tx:
            rows = await _select(tx, selection)
        return [
            DeadLetter(row["queue"], row["reason"] or "", row["dead_at"], _event(row))
            for row in rows
        ]

    async def replay(self, selection: Selection) -> int:
        """Make the selected dead letters due at their first attempt; return how many.

        Their consumers read them within a second.
        """
        due = {"dead_at": None, "reason": None, "attempt": 1, "due_at": self._database.clock()}
        async with self._database.transaction() as tx:
            rows = await _select(tx, selection)
            await _execute(tx, _REPLAY.values(due), rows)
        return len(rows)

    async def drop(self, selection: Selection) -> int:
        """Delete the selected dead letters; return how many."""
        async with self._database.transaction() as tx:
            rows = await _select(tx, selection)
            await _execute(tx, delete(MESSAGES).where(_BY_ID), rows)
        return len(rows)


@asynccontextmanager
async def open_sqlite_dead_letters(url: str) -> AsyncIterator[SqliteDeadLetters]:
    """Open the file of the broker."""
    database = Database(url, source="broker")
    try:
        yield SqliteDeadLetters(database)
    finally:
        await database.close()


async def _select(tx: Transaction, selection: Selection) -> list[RowMapping]:
    # A range of `dead_at`, because `is not null` would not use its index.
    query = select(MESSAGES).where(MESSAGES.c.dead_at > EPOCH).order_by(MESSAGES.c.dead_at)
    if selection.queue is not None:
        query = query.where(MESSAGES.c.queue == selection.queue)
    rows = await tx.fetch_all(query)
    return [row for row in rows if selection.includes(row["queue"], _event(row))]


async def _execute(tx: Transaction, statement: Any, rows: Sequence[RowMapping]) -> None:
    ids: list[dict[str, UUID]] = [{"message_id": row["id"]} for row in rows]
    if ids:
        await tx.execute(statement, ids)


def _event(row: RowMapping) -> Any:
    return read_event(row["body"].encode())
