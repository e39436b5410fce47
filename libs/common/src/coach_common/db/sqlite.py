"""SQLite without a thread per statement: statements run at once, commits and syncs in threads.

A statement takes microseconds, because its pages are in memory. Handing it to a thread takes
longer than the statement itself. What waits for the disk runs in a thread: commits, which may
checkpoint, syncs of the write-ahead log, and statements that touch many rows.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from coach_common.errors import DatabaseUnavailable, TransactionConflict

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 5.0
"""How long a transaction waits for another process that writes."""

_BUSY_POLL_SECONDS = 0.005
_STATEMENT_BUSY_TIMEOUT_MS = 100
"""How long a statement may block the event loop while another process recovers the file."""
_MAX_THREADS = 8

_threads = ThreadPoolExecutor(_MAX_THREADS, "sqlite")
_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class SqliteConnections:
    """Connections to one file whose statements run on the event loop.

    Commits use `synchronous = NORMAL`, which writes the write-ahead log but does not sync it.
    `sync` then makes them durable. Transactions that commit at the same time share one sync, and
    the next writer need not wait for it.
    """

    def __init__(self, url: URL, *, pool_size: int, pool_overflow: int) -> None:
        self.engine: Engine = create_engine(
            url.set(drivername="sqlite"),
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=pool_overflow,
            # The driver must not begin transactions: ours use BEGIN IMMEDIATE.
            connect_args={"isolation_level": None, "check_same_thread": False},
        )
        event.listen(self.engine, "connect", _set_pragmas)
        self._wal_path = f"{url.database}-wal"
        self.commit_count = 0
        self._synced_commits = 0
        self._next_sync: asyncio.Task[None] | None = None
        self._sync_lock = asyncio.Lock()

    async def begin(self, connection: Connection, *, is_write: bool) -> None:
        """Begin a transaction, and take the write lock of the file if it writes.

        Raises:
            TransactionConflict: If another process holds the write lock for 5 s.
        """
        driver_connection: Any = connection.connection.driver_connection
        statement = "BEGIN IMMEDIATE" if is_write else "BEGIN"
        deadline = asyncio.get_running_loop().time() + BUSY_TIMEOUT_SECONDS
        while True:
            try:
                driver_connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise DatabaseUnavailable("The database is temporarily unavailable.") from error
                if asyncio.get_running_loop().time() > deadline:
                    raise TransactionConflict(
                        "This item is being changed by another request. Please try again."
                    ) from error
            await asyncio.sleep(_BUSY_POLL_SECONDS)

    async def commit(self, connection: Connection) -> None:
        """Commit. Other connections see the changes, and `sync` makes them durable."""
        try:
            await run_in_thread(connection.commit)
        finally:
            self.commit_count += 1

    async def sync(self, commit_count: int) -> None:
        """Wait until the first `commit_count` commits survive a power failure.

        Raises:
            OSError: If the file cannot be written.
        """
        if self._synced_commits >= commit_count:
            return
        if self._next_sync is None:
            self._next_sync = asyncio.create_task(self._sync_once(), name="sqlite.sync")
        await asyncio.shield(self._next_sync)

    async def _sync_once(self) -> None:
        async with self._sync_lock:
            # Later commits need another sync.
            self._next_sync = None
            commits = self.commit_count
            await run_in_thread(self._sync_file)
            self._synced_commits = commits

    def _sync_file(self) -> None:
        try:
            file = os.open(self._wal_path, os.O_RDWR)
        except FileNotFoundError:
            return  # The last connection was closed, which wrote everything to the database file.
        try:
            _fdatasync(file)
        finally:
            os.close(file)


async def run_in_thread(function: Callable[..., T], *args: object) -> T:
    """Run a function in a thread. If it is cancelled, it still returns only after the function."""
    work = asyncio.get_running_loop().run_in_executor(_threads, function, *args)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError:
                continue
        raise


def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "secure_delete = ON",
        f"busy_timeout = {_STATEMENT_BUSY_TIMEOUT_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
