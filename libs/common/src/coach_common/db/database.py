"""The database of a service: engine, transactions, and the translation of driver errors."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

from sqlalchemy import Engine, Table, delete, event, select, text
from sqlalchemy.engine import Dialect as SqlDialect
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from coach_common import fault_injection
from coach_common.clock import Clock, utc_now
from coach_common.config import DatabaseSettings
from coach_common.db.committed_events import CommittedEvents
from coach_common.db.dialect import Dialect
from coach_common.db.sqlite import BUSY_TIMEOUT_SECONDS, SqliteConnection, SqliteConnections
from coach_common.db.time_limit import TimeLimit
from coach_common.db.transaction import AlreadyProcessed, EventWriter, MessageContext, Transaction
from coach_common.errors import DatabaseUnavailable, TransactionConflict

RETENTION = timedelta(days=30)
"""How long inbox rows and tombstones are kept: longer than dead letters may be replayed."""

WAL_TRUNCATE_SECONDS = 20.0
"""How often SQLite's write-ahead log is emptied, so that deleted rows do not stay in it."""

DEFAULT_TIMEOUT_SECONDS = 15.0

_MAX_CONCURRENT_TRANSACTIONS = 16
_MAX_UNCHECKED_SECONDS = 1.0
_UNAVAILABLE = "The database is temporarily unavailable. Please try again."
_MYSQL_CONFLICT_CODES = {1205, 1213, 1020}
_DISK_FULL_CODES = {1021, 1114}


class Database:
    """The tables of one service behind an engine.

    At most 16 transactions run at once; others wait in order of arrival. Without the bound, the
    last of 32 concurrent requests waited eight times as long at the same throughput.

    A transaction may wait `timeout_seconds` for its turn and a connection. On MySQL each statement
    may take as long. A database that accepts connections and sends nothing therefore counts as
    unavailable instead of blocking its callers.
    """

    def __init__(
        self,
        url: str,
        *,
        source: str,
        outbox: Table | None = None,
        inbox: Table | None = None,
        pool_size: int = 10,
        pool_overflow: int = 20,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        clock: Clock = utc_now,
    ) -> None:
        self.source = source
        self.timeout_seconds = timeout_seconds
        self.outbox = outbox
        self.inbox = inbox
        self.clock = clock
        self.committed_events = CommittedEvents()
        self.engine = _engine(url, pool_size=pool_size, pool_overflow=pool_overflow)
        """For migrations and maintenance. With SQLite its statements run in threads."""
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._sqlite = (
            SqliteConnections(make_url(url), pool_size=pool_size) if self.is_sqlite else None
        )
        self._dialect = Dialect(self.is_sqlite)
        self._events = EventWriter(source, outbox, clock, self.committed_events)
        slots = min(_MAX_CONCURRENT_TRANSACTIONS, pool_size + pool_overflow)
        self._read_slots = asyncio.Semaphore(slots)
        # SQLite has one writer and polls its lock. Waiting here instead keeps the order of arrival.
        self._write_slots = asyncio.Semaphore(1) if self.is_sqlite else self._read_slots
        self._has_wal_content = self.is_sqlite

    @classmethod
    def from_settings(
        cls, settings: DatabaseSettings, source: str, outbox: Table, inbox: Table, clock: Clock
    ) -> Self:
        """Return the database that the settings name."""
        return cls(
            settings.database_address,
            source=source,
            outbox=outbox,
            inbox=inbox,
            pool_size=settings.database_pool_size,
            pool_overflow=settings.database_pool_overflow,
            timeout_seconds=settings.database_timeout_seconds,
            clock=clock,
        )

    @property
    def statement_engine(self) -> Engine:
        """The engine that runs the statements of transactions."""
        return self.engine.sync_engine if self._sqlite is None else self._sqlite.engine

    @asynccontextmanager
    async def transaction(
        self, *, deduplicate: MessageContext | None = None, is_durable: bool = True
    ) -> AsyncIterator[Transaction]:
        """Open a transaction. Commits at the end, rolls back on any exception.

        With `deduplicate`, the first statement records the message in the inbox. Without
        `is_durable`, SQLite may lose the commit in a power failure, but not if the process is
        killed. Use that only for what is done again after a restart.

        Raises:
            AlreadyProcessed: If this consumer has processed this message before.
            TransactionConflict: If another transaction won. The same call may be repeated.
            DatabaseUnavailable: If the database cannot be reached or is overloaded.
        """
        async with self._connection(self._write_slots, is_write=True) as connection:
            tx = Transaction(
                connection, self._dialect, self._events, timeout_seconds=self.timeout_seconds
            )
            try:
                if deduplicate is not None:
                    await self._insert_inbox_row(tx, deduplicate)
                yield tx
                fault_injection.crash_point("transaction.before_commit")
                if isinstance(connection, AsyncConnection):
                    async with TimeLimit(self.timeout_seconds):
                        await connection.commit()
                else:
                    await connection.commit()
            except BaseException:
                for callback in tx.rollback_callbacks:
                    callback()
                raise
            self._has_wal_content = self.is_sqlite
            commit_count = self.commit_count
        for callback in tx.callbacks:
            callback()
        if is_durable:
            await self.sync(commit_count)
        fault_injection.crash_point("transaction.committed")
        if tx.handed_over:
            self.committed_events.add(tx.handed_over, commit_count)

    @asynccontextmanager
    async def read_only(self) -> AsyncIterator[Transaction]:
        """Open a transaction for reading. Raises DatabaseUnavailable like `transaction`."""
        async with self._connection(self._read_slots, is_write=False) as connection:
            yield Transaction(
                connection,
                self._dialect,
                self._events,
                timeout_seconds=self.timeout_seconds,
                is_read_only=True,
            )

    @property
    def commit_count(self) -> int:
        """How many transactions SQLite has committed. 0 on MySQL."""
        return 0 if self._sqlite is None else self._sqlite.commit_count

    async def sync(self, commit_count: int | None = None) -> None:
        """Make the first `commit_count` commits durable, or all. MySQL's always are.

        Raises:
            DatabaseUnavailable: If the disk cannot be written.
        """
        if self._sqlite is not None:
            try:
                await self._sqlite.sync(
                    self._sqlite.commit_count if commit_count is None else commit_count
                )
            except OSError as error:
                raise DatabaseUnavailable(_UNAVAILABLE) from error

    @asynccontextmanager
    async def _connection(
        self, slots: asyncio.Semaphore, *, is_write: bool
    ) -> AsyncIterator[AsyncConnection | SqliteConnection]:
        try:
            async with AsyncExitStack() as stack:
                async with TimeLimit(self.timeout_seconds):
                    await stack.enter_async_context(slots)
                    if self._sqlite is None:
                        connection = await self._connect()
                        stack.push_async_callback(self._return_to_pool, connection)
                if self._sqlite is not None:
                    # SQLite has a time limit for its lock.
                    local = stack.enter_context(self._sqlite.connect())
                    await local.begin(is_write=is_write)
                    yield local
                    return
                yield connection
        except IntegrityError:
            raise
        except PoolTimeout as error:
            raise DatabaseUnavailable("The database is overloaded. Please try again.") from error
        except DBAPIError as error:
            raise _translate_error(error) from error
        except OSError as error:  # TimeoutError is one.
            raise DatabaseUnavailable(_UNAVAILABLE) from error

    async def _connect(self) -> AsyncConnection:
        try:
            return await self.engine.connect()
        except (SQLAlchemyError, OSError):
            raise
        except Exception as error:
            # A driver may raise anything while it connects: asyncmy raises RuntimeError
            # if a proxy accepts the connection and resets it at once.
            raise DatabaseUnavailable(_UNAVAILABLE) from error

    async def _return_to_pool(self, connection: AsyncConnection) -> None:
        """Roll back and return the connection, also if the caller is cancelled meanwhile.

        A connection whose rollback is not acknowledged in time is closed.
        """

        async def close() -> None:
            with suppress(TimeoutError):
                async with TimeLimit(self.timeout_seconds):
                    await connection.close()

        await asyncio.shield(asyncio.create_task(close()))

    async def _insert_inbox_row(self, tx: Transaction, message: MessageContext) -> None:
        if self.inbox is None:
            raise RuntimeError(f"{self.source} has no inbox")
        claimed = await tx.execute(
            self._dialect.insert_ignore(self.inbox).values(
                consumer=message.consumer, event_id=message.event_id, handled_at=self.clock()
            )
        )
        if claimed.rowcount == 0:
            raise AlreadyProcessed(message)

    async def check(self) -> None:
        """Raise DatabaseUnavailable if the database does not respond. For the readiness check."""
        async with self.read_only() as tx:
            await tx.execute(text("SELECT 1"))

    async def require_access(self) -> None:
        """Raise DatabaseUnavailable unless the database responds and accepts this user."""
        try:
            await self.check()
        except DBAPIError as error:
            number = error.orig.args[0] if error.orig is not None and error.orig.args else None
            raise DatabaseUnavailable(
                f"The database refused the connection (error {number})."
            ) from error

    async def purge(self, *tables: Table) -> None:
        """Delete inbox rows and tombstones older than 30 days."""
        before = self.clock() - RETENTION
        for table in tables:
            column = table.c["handled_at" if "handled_at" in table.c else "deleted_at"]
            async with self.transaction() as tx:
                await tx.execute_bulk(delete(table).where(column < before))

    async def truncate_wal(self) -> None:
        """Empty SQLite's write-ahead log if anything was committed since the last call.

        Without this an idle server keeps deleted rows readable in the `-wal` file. Does nothing
        on other databases. A log that a reader still uses is emptied by a later call.

        Raises:
            DatabaseUnavailable: If the disk is full. A later call tries again.
        """
        if not self._has_wal_content:
            return
        self._has_wal_content = False
        try:
            async with self._write_slots, self.engine.connect() as connection:
                result = await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                is_busy = result.scalar()
        except DBAPIError as error:
            self._has_wal_content = True
            raise _translate_error(error) from error
        self._has_wal_content = self._has_wal_content or bool(is_busy)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        if self._sqlite is not None:
            self._sqlite.engine.dispose()


async def database_now(tx: Transaction) -> datetime:
    """Return the time of the database's clock. Leases of all replicas are measured by it."""
    if tx.dialect.is_sqlite:
        return datetime.now(UTC)  # SQLite uses the clock of this machine.
    now = await tx.scalar(select(text("UTC_TIMESTAMP(6)")))
    return now.replace(tzinfo=UTC)  # type: ignore[no-any-return]


def _engine(url: str, *, pool_size: int, pool_overflow: int) -> AsyncEngine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(
            parsed.set(drivername="sqlite+aiosqlite"),
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=pool_overflow,
            # The driver must not begin transactions: ours use BEGIN IMMEDIATE.
            connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_SECONDS},
        )
        event.listen(engine.sync_engine, "connect", _set_sqlite_pragmas)
        return engine
    engine = create_async_engine(
        parsed.set(
            drivername="mysql+asyncmy",
            query={"connect_timeout": "5"} | parsed.query | {"charset": "utf8mb4"},
        ),
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=pool_overflow,
        pool_timeout=5,
        # A connection that is closed within a transaction rolls it back without this.
        pool_reset_on_return=None,
        pool_recycle=1800,
        connect_args={"init_command": "SET time_zone = '+00:00'"},
    )
    event.listen(engine.sync_engine, "checkin", _note_return)
    event.listen(engine.sync_engine, "checkout", partial(_ping_idle_connection, engine.dialect))
    return engine


def _note_return(_: object, record: ConnectionPoolEntry) -> None:
    record.info["returned_at"] = time.monotonic()


def _ping_idle_connection(
    dialect: SqlDialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _: object
) -> None:
    """Check a connection that was not used for a second. A ping takes as long as a statement.

    Raises:
        InvalidatePoolError: The pool then opens a new connection.
    """
    if time.monotonic() - record.info.get("returned_at", math.inf) < _MAX_UNCHECKED_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except Exception as error:  # asyncmy may raise anything
        raise InvalidatePoolError from error


def _set_sqlite_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        f"busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000:.0f}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _translate_error(error: DBAPIError) -> SQLAlchemyError | DatabaseUnavailable:
    """Return our exception for a driver error, or the error itself if it is a programming error."""
    number = error.orig.args[0] if error.orig is not None and error.orig.args else None
    message = str(error.orig).lower()
    if (
        number in _MYSQL_CONFLICT_CODES
        or "database is locked" in message
        or "table is locked" in message
    ):
        return TransactionConflict(
            "This item is being changed by another request. Please try again."
        )
    if number in _DISK_FULL_CODES or "disk is full" in message:
        return DatabaseUnavailable("The database is out of disk space.", retry_after_seconds=60)
    if error.connection_invalidated or (isinstance(number, int) and 2000 <= number < 2100):
        return DatabaseUnavailable(_UNAVAILABLE)
    if isinstance(number, int) and number in {1040, 1053, 1129, 1152, 1927}:
        return DatabaseUnavailable("The database is overloaded. Please try again.")
    if "unable to open database" in message:
        return DatabaseUnavailable(_UNAVAILABLE)
    return error
