"""A transaction as use cases see it: statements, and events that are committed with them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import CursorResult, Executable, Insert, RowMapping, Table, TextClause, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from coach_common import telemetry, tracing
from coach_common.clock import Clock, rfc3339
from coach_common.db.committed_events import CommittedEvents
from coach_common.db.dialect import Dialect
from coach_common.db.sqlite import SqliteConnection
from coach_common.db.time_limit import TimeLimit
from coach_common.events.base import Envelope, Event
from coach_common.ids import new_id
from coach_common.messaging.message import AlreadyProcessed as AlreadyProcessed
from coach_common.messaging.message import MessageContext as MessageContext
from coach_common.messaging.subscriptions import OutboxMessage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EventWriter:
    """Where and how a service's transactions write events."""

    source: str
    """The name of the service."""
    outbox: Table | None
    clock: Clock
    committed: CommittedEvents


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
        self.handed_over: list[OutboxMessage] = []
        """Events that the relay of this process gets after the commit."""
        self.callbacks: list[Callable[[], None]] = []
        """Called after the commit."""
        self.rollback_callbacks: list[Callable[[], None]] = []
        """Called instead if the transaction is not committed."""
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

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call this once others see the changes. SQLite may still lose them in a power failure."""
        self.callbacks.append(callback)

    def after_rollback(self, callback: Callable[[], None]) -> None:
        """Call this if the transaction is not committed, or if that is not known."""
        self.rollback_callbacks.append(callback)

    async def emit(self, event: Event) -> UUID:
        """Write the event to the outbox in this transaction and return its id.

        The relay publishes it after the commit, at least once and always with this id. A relay in
        this process gets it directly: then the row is claimed from the start.
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
        body = envelope.to_json()
        claim = self._events.committed.new_claim
        row = {
            "id": envelope.id,
            "type": envelope.type,
            "user_id": getattr(event, "user_id", None),
            "body": body.decode(),
        }
        await self.execute(*_insert_event(self._events.outbox, row, claim, self.dialect))
        if claim is not None:
            self.handed_over.append(OutboxMessage(envelope.id, envelope.type, body))
        span.end()
        return envelope.id


def _insert_event(
    outbox: Table, row: dict[str, Any], claim: timedelta | None, dialect: Dialect
) -> tuple[Insert, dict[str, Any]]:
    """Return the statement that inserts an outbox row, and its parameters."""
    claimed_until = None if claim is None else dialect.time_after(claim)
    if isinstance(claimed_until, TextClause):
        return _insert_into(outbox, str(claimed_until)), row
    return _insert_into(outbox), row | {"claimed_until": claimed_until}


@cache
def _insert_into(outbox: Table, claimed_until: str | None = None) -> Insert:
    """Return an INSERT that is built once: building it takes longer than SQLite takes to run it."""
    statement = insert(outbox)
    return (
        statement if claimed_until is None else statement.values(claimed_until=text(claimed_until))
    )
