"""SQLite without a thread per statement: short statements run at once, the rest in threads.

A short statement takes microseconds, because its pages are in memory. Handing it to a thread takes
longer than the statement itself. What may wait runs in a thread: commits, which may checkpoint,
syncs of the write-ahead log, long queries, statements that change many rows, and every statement
while the disk is slow.
"""

import asyncio
import errno
import math
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from coach_common import logs
from coach_common.errors import DatabaseUnavailable, TransactionConflict
from coach_common.threads import run_in_thread

log = logs.get_logger(__name__)

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 5.0
"""How long a transaction waits for another process that writes."""

_BUSY_POLL_SECONDS = 0.005
_STATEMENT_BUSY_TIMEOUT_MS = 100
"""How long a statement may block the event loop while another process recovers the file."""
_MAX_THREADS = 16

MAX_QUERY_SECONDS = 0.005
"""How long a query may run on the event loop. Then it is interrupted and repeated in a thread."""
_PROGRESS_OPCODES = 1_000
"""How often SQLite checks that limit; about 10 microseconds."""
SLOW_STATEMENT_SECONDS = 0.05
"""The disk is slow if a statement that read from it blocked the event loop for this long,"""
_STALLED_STATEMENT_SECONDS = 1.0
"""or if any statement did for this long, because the kernel does not count all reads."""
_SLOW_DISK_SECONDS = 10.0
"""How long all statements run in threads after that."""

_TIME_LIMIT = "time_limit"

_threads = ThreadPoolExecutor(_MAX_THREADS, "sqlite")
_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class SqliteConnections:
    """Connections to one file whose short statements run on the event loop.

    Commits use `synchronous = NORMAL`, which writes the write-ahead log but does not sync it.
    `sync` then makes them durable. Transactions that commit at the same time share one sync, and
    the next writer need not wait for it.
    """

    def __init__(self, url: URL, *, pool_size: int) -> None:
        self.engine: Engine = create_engine(
            url.set(drivername="sqlite"),
            hide_parameters=True,
            pool_size=pool_size,
            # The pool must not make callers wait, because they would block the event loop. The
            # semaphores of `Database` bound the number of connections.
            max_overflow=-1,
            # The driver must not begin transactions: ours use BEGIN IMMEDIATE.
            connect_args={"isolation_level": None, "check_same_thread": False},
        )
        event.listen(self.engine, "connect", _set_up_connection)
        self.commit_count = 0
        self._path = str(url.database)
        self._threads_until = -math.inf
        self._disk_reads = count_disk_reads()
        self._synced_commits = 0
        self._has_sync_failed = False
        self._next_sync: asyncio.Task[None] | None = None
        self._sync_lock = asyncio.Lock()

    @contextmanager
    def connect(self) -> Iterator["SqliteConnection"]:
        """Take a connection of the pool. At the end it is rolled back unless it committed."""
        with self.engine.connect() as connection:
            yield SqliteConnection(connection, self)

    @property
    def is_disk_slow(self) -> bool:
        """Whether a statement blocked the event loop in the last 10 s."""
        return time.monotonic() < self._threads_until

    def record_statement(self, seconds: float) -> None:
        """Note how long a statement blocked the event loop.

        On a busy machine it may also have waited for a processor, which threads would not improve.
        """
        if seconds < SLOW_STATEMENT_SECONDS:
            return
        disk_reads = count_disk_reads()
        if disk_reads > self._disk_reads or seconds > _STALLED_STATEMENT_SECONDS:
            self._threads_until = time.monotonic() + _SLOW_DISK_SECONDS
            log.warning("sqlite.slow_statement", seconds=round(seconds, 3))
        self._disk_reads = disk_reads

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
            await run_in_thread(_threads, self._sync_file)
            self._synced_commits = commits

    def _sync_file(self) -> None:
        if self._has_sync_failed:
            # The kernel may have dropped the pages that it could not write, and another sync would
            # not notice. A checkpoint writes the content to the database file.
            self._checkpoint()
            self._has_sync_failed = False
            return
        try:
            file = os.open(f"{self._path}-wal", os.O_RDWR)
        except FileNotFoundError:
            return  # The last connection was closed, which wrote everything to the database file.
        try:
            _fdatasync(file)
        except OSError:
            self._has_sync_failed = True
            raise
        finally:
            os.close(file)

    def _checkpoint(self) -> None:
        try:
            with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                row = connection.execute("PRAGMA wal_checkpoint").fetchone()
        except sqlite3.Error as error:
            raise OSError(errno.EIO, str(error)) from error
        is_busy, wal_frames, written_frames = row
        if is_busy or written_frames < wal_frames:
            raise OSError(errno.EIO, "a transaction prevented the checkpoint")


class SqliteConnection:
    """A connection that one transaction uses."""

    def __init__(self, connection: Connection, file: SqliteConnections) -> None:
        self._connection = connection
        self._file = file
        self._limit: _TimeLimit = connection.info[_TIME_LIMIT]

    async def begin(self, *, is_write: bool) -> None:
        """Begin a transaction, and take the write lock of the file if it writes.

        Raises:
            TransactionConflict: If another process holds the write lock for 5 s.
        """
        driver_connection: Any = self._connection.connection.driver_connection
        statement = "BEGIN IMMEDIATE" if is_write else "BEGIN"
        deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
        while True:
            try:
                driver_connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise DatabaseUnavailable("The database is temporarily unavailable.") from error
                if time.monotonic() > deadline:
                    raise TransactionConflict(
                        "This item is being changed by another request. Please try again."
                    ) from error
            await asyncio.sleep(_BUSY_POLL_SECONDS)

    async def query(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which executes a query and reads its result.

        A query that takes longer than 5 ms is interrupted, and `work` runs again in a thread.
        """
        if not self._file.is_disk_slow:
            self._limit.ends_at = time.monotonic() + MAX_QUERY_SECONDS
            try:
                return self._run(work)
            except OperationalError as error:
                if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                    raise
            finally:
                self._limit.ends_at = math.inf
        return await run_in_thread(_threads, work, self._connection)

    async def change(self, work: Callable[[Connection], T], *, is_bulk: bool = False) -> T:
        """Run `work`, which executes a statement that changes rows.

        Statements that change many rows must say so with `is_bulk`, because interrupting them would
        roll back the transaction.
        """
        if is_bulk or self._file.is_disk_slow:
            return await run_in_thread(_threads, work, self._connection)
        return self._run(work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        started_at = time.monotonic()
        try:
            return work(self._connection)
        finally:
            self._file.record_statement(time.monotonic() - started_at)

    async def commit(self) -> None:
        """Commit. Other connections see the changes, and `sync` makes them durable."""
        try:
            await run_in_thread(_threads, self._connection.commit)
        finally:
            self._file.commit_count += 1


class _TimeLimit:
    """Interrupts the statement of a connection. SQLite calls it while a statement runs."""

    def __init__(self) -> None:
        self.ends_at = math.inf

    def __call__(self) -> bool:
        return time.monotonic() > self.ends_at


def count_disk_reads() -> int:
    """Return how many times this thread, or else the process, has read from a disk."""
    return resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_inblock


def _set_up_connection(connection: Any, record: Any) -> None:
    limit = record.info[_TIME_LIMIT] = _TimeLimit()
    connection.set_progress_handler(limit, _PROGRESS_OPCODES)
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
