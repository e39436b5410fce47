"""A transaction as use cases see it: statements, and events that are committed with them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import CursorResult, Executable, Insert, RowMapping, Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from coach_common import telemetry, tracing
from coach_common.clock import Clock, rfc3339
from coach_common.db.dialect import Dialect
from coach_common.db.sqlite import SqliteConnection
from coach_common.db.time_limit import TimeLimit
from coach_common.events.base import Envelope, Event
from coach_common.ids import new_id
from coach_common.messaging.message import AlreadyProcessed as AlreadyProcessed
from coach_common.messaging.message import MessageContext as MessageContext

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EventWriter:
    """Where and how a service's transactions write events."""

    source: str
    """The name of the service."""
    outbox: Table | None
    clock: Clock


class Transaction:
    """Statements on one connection with one commit."""

    def __init__(
        self,
        connection: AsyncConnection | SqliteConnection,
        dialect: Dialect,
        events: EventWriter,
        *,
        timeout_seconds: float,
        is_read_only: bool = False,
    ) -> None:
        self.dialect = dialect
        self.emitted_count = 0
        self._connection = connection
        self._events = events
        self._timeout_seconds = timeout_seconds
        self._is_read_only = is_read_only

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Change rows. `rowcount` is 0 if a conditional update changed no row."""
        if isinstance(self._connection, AsyncConnection):
            return await self._execute(self._connection, statement, parameters)
        return await self._connection.change(
            lambda connection: connection.execute(statement, parameters)
        )

    async def execute_bulk(self, statement: Executable) -> CursorResult[Any]:
        """Change any number of rows. SQLite does it in a thread."""
        if isinstance(self._connection, AsyncConnection):
            return await self._execute(self._connection, statement)
        return await self._connection.change(
            lambda connection: connection.execute(statement), is_bulk=True
        )

    async def scalar(self, query: Executable, parameters: Any = None) -> Any:
        """Return the first column of the first row, or None."""
        return await self._fetch(query, parameters, CursorResult.scalar)

    async def fetch_one(self, query: Executable, parameters: Any = None) -> RowMapping | None:
        """Return the first row, or None."""
        return await self._fetch(query, parameters, lambda result: result.mappings().first())

    async def fetch_all(self, query: Executable, parameters: Any = None) -> list[RowMapping]:
        """Return all rows."""
        return await self._fetch(query, parameters, lambda result: list(result.mappings()))

    async def _fetch(
        self, query: Executable, parameters: Any, read: Callable[[CursorResult[Any]], T]
    ) -> T:
        if isinstance(self._connection, AsyncConnection):
            return read(await self._execute(self._connection, query, parameters))
        return await self._connection.query(
            lambda connection: read(connection.execute(query, parameters))
        )

    async def _execute(
        self, connection: AsyncConnection, statement: Executable, parameters: Any = None
    ) -> CursorResult[Any]:
        """Run a statement. TimeoutError is DatabaseUnavailable at the end of the transaction."""
        async with TimeLimit(self._timeout_seconds):
            return await connection.execute(statement, parameters)

    async def emit(self, event: Event) -> UUID:
        """Write the event to the outbox in this transaction and return its id.

        The relay publishes it after the commit, at least once and always with this id.
        """
        if self._is_read_only or self._events.outbox is None:
            raise RuntimeError("cannot emit: read-only transaction, or the service has no outbox")
        span = tracing.start_span(
            self._events.source,
            f"create {event.type}",
            tracing.Kind.PRODUCER,
            parent=telemetry.current_traceparent.get(),
        )
        envelope = Envelope.wrap(
            event,
            id=new_id(),
            source=f"/services/{self._events.source}",
            time=rfc3339(self._events.clock()),
            traceparent=span.traceparent,
        )
        row = {
            "id": envelope.id,
            "type": envelope.type,
            "user_id": getattr(event, "user_id", None),
            "body": envelope.to_json().decode(),
            "claimed_until": None,
        }
        await self.execute(_insert_into(self._events.outbox), row)
        self.emitted_count += 1
        span.end()
        return envelope.id


@cache
def _insert_into(table: Table) -> Insert:
    return insert(table)
