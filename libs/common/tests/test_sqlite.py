"""SQLite files of the embedded profile: deleted text, driver errors, clock changes."""

import asyncio
import itertools
import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import Column, String, Table, delete, event, func, insert, select, text, update
from structlog.testing import CapturingLogger

from coach_common import service
from coach_common.clock import utc_now
from coach_common.db import sqlite
from coach_common.db.database import Database
from coach_common.db.tables import new_metadata
from coach_common.errors import Unavailable
from coach_common.http.app import create_app
from coach_common.ids import new_id
from coach_common.messaging.sqlite_broker import MESSAGES, SqliteBroker
from coach_common.messaging.subscriptions import UNROUTED_QUEUE, UNROUTED_TTL_SECONDS, OutboxMessage

METADATA = new_metadata()
NOTES = Table("notes", METADATA, Column("text", String(200), primary_key=True))


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    broker = SqliteBroker(f"sqlite:///{tmp_path}/broker.db")
    await broker.open()
    yield broker
    await broker.close()


async def test_deleted_text_leaves_database_file_and_wal(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/notes.db", source="test")
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    text = "what only this person said " * 5
    async with database.transaction() as tx:
        await tx.execute(insert(NOTES).values(text=text))
    async with database.transaction() as tx:
        await tx.execute(delete(NOTES))
    files = [tmp_path / "notes.db", tmp_path / "notes.db-wal"]
    assert any(text.encode() in file.read_bytes() for file in files)

    await database.truncate_wal()

    assert not any(text.encode() in file.read_bytes() for file in files)
    await database.close()


@pytest.fixture
async def notes(tmp_path: Path) -> AsyncIterator[Database]:
    """A database with an empty table of notes."""
    database = Database(f"sqlite:///{tmp_path}/notes.db", source="test")
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield database
    await database.close()


async def _add_note(database: Database, text: str, *, is_durable: bool = True) -> None:
    async with database.transaction(is_durable=is_durable) as tx:
        await tx.execute(insert(NOTES).values(text=text))


async def test_truncation_that_a_full_disk_prevents_is_tried_again(
    notes: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coach_common.db.database.WAL_TRUNCATE_SECONDS", 0.0)
    monkeypatch.setattr(service, "_RESTART_DELAY_SECONDS", 0.0)
    failures = 0

    def fail_twice(cursor: object, statement: str, *_: object) -> None:
        nonlocal failures
        if "wal_checkpoint" in statement and failures < 2:
            failures += 1
            raise sqlite3.OperationalError("database or disk is full")

    event.listen(notes.engine.sync_engine, "do_execute", fail_twice)
    await _add_note(notes, "text")

    logger = CapturingLogger()
    monkeypatch.setattr(service, "log", logger)
    worker = asyncio.create_task(
        service._run_with_restarts("test", "truncate_wal", lambda: service._truncate_wal(notes))
    )
    async with asyncio.timeout(60):
        while failures < 2 or (tmp_path / "notes.db-wal").stat().st_size > 0:
            await asyncio.sleep(0.01)
    worker.cancel()
    await asyncio.wait({worker})

    assert [call.args[0] for call in logger.calls] == ["worker.unavailable"] * 2


async def test_commit_returns_after_sync_that_concurrent_commits_share(
    notes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced_sizes: list[int] = []
    wal = Path(f"{notes.statement_engine.url.database}-wal")

    def sync_slowly(file: int) -> None:
        synced_sizes.append(os.fstat(file).st_size)
        time.sleep(0.02)

    monkeypatch.setattr(sqlite, "_fdatasync", sync_slowly)
    await _add_note(notes, "first")
    assert synced_sizes == [wal.stat().st_size]
    await asyncio.gather(*(_add_note(notes, str(number)) for number in range(30)))

    assert synced_sizes[-1] == wal.stat().st_size
    assert 2 <= len(synced_sizes) < 20


async def test_commit_that_may_be_lost_is_synced_with_the_next_one(
    notes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    monkeypatch.setattr(sqlite, "_fdatasync", syncs.append)

    await _add_note(notes, "may be lost", is_durable=False)
    assert syncs == []
    await notes.sync()
    await notes.sync()

    assert len(syncs) == 1


async def test_callbacks_of_a_commit_do_not_wait_for_the_disk(
    notes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(sqlite, "_fdatasync", lambda _: calls.append("sync"))

    async with notes.transaction() as tx:
        tx.after_commit(lambda: calls.append("callback"))
        await tx.execute(insert(NOTES).values(text="first"))
        assert calls == []

    assert calls == ["callback", "sync"]


async def test_callbacks_of_a_rollback_are_not_called(notes: Database) -> None:
    calls: list[str] = []

    with pytest.raises(ZeroDivisionError):
        async with notes.transaction() as tx:
            tx.after_commit(lambda: calls.append("callback"))
            raise ZeroDivisionError

    assert calls == []


async def test_failed_sync_raises_unavailable_and_is_replaced_by_a_checkpoint(
    notes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sqlite, "_fdatasync", fail)
    with pytest.raises(Unavailable):
        await _add_note(notes, "first")
    monkeypatch.undo()
    path = Path(str(notes.statement_engine.url.database))

    await _add_note(notes, "second")

    # The kernel may have dropped what it could not write to the log.
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    assert _read_notes(copy) == {"first", "second"}


async def test_write_lock_of_another_process_does_not_block_the_event_loop(notes: Database) -> None:
    other = sqlite3.connect(str(notes.statement_engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    adding = asyncio.create_task(_add_note(notes, "waits"))
    async with notes.read_only() as tx:
        assert await tx.fetch_all(select(NOTES)) == []
    for _ in range(3):
        await asyncio.sleep(0.01)
    assert not adding.done()

    other.execute("COMMIT")
    other.close()
    await adding

    async with notes.read_only() as tx:
        assert await tx.scalar(select(NOTES.c.text)) == "waits"


async def test_cancelled_commit_leaves_the_connection_usable(notes: Database) -> None:
    for number in range(20):
        adding = asyncio.create_task(_add_note(notes, str(number)))
        for _ in range(number):
            await asyncio.sleep(0)
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)

    await _add_note(notes, "last")

    async with notes.read_only() as tx:
        texts = {row["text"] for row in await tx.fetch_all(select(NOTES))}
    assert "last" in texts


_LONG_QUERY = (
    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 300000)"
    " SELECT max(n) + pause() FROM numbers"
)
_PING = "/health/live"


class Pause:
    """The SQL function `pause`, which blocks its thread until `end` is set."""

    def __init__(self, database: Database) -> None:
        self.started = threading.Event()
        self.end = threading.Event()
        self.has_timed_out = False
        event.listen(database.statement_engine, "checkout", self._install)

    def _install(self, connection: sqlite3.Connection, *_: object) -> None:
        connection.create_function("pause", 0, self)

    def __call__(self) -> int:
        self.started.set()
        self.has_timed_out |= not self.end.wait(10)
        return 0


@pytest.fixture
async def health() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that runs on the same event loop."""
    transport = httpx.ASGITransport(app=create_app("test", checks={}))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def _until_started(pause: Pause) -> None:
    async with asyncio.timeout(60):
        while not pause.started.is_set():
            await asyncio.sleep(0.01)


async def test_long_query_does_not_hold_other_requests(
    notes: Database, health: httpx.AsyncClient
) -> None:
    pause = Pause(notes)

    async def query_after_change() -> tuple[int, int]:
        async with notes.transaction() as tx:
            await tx.execute(insert(NOTES).values(text="before"))
            maximum = await tx.scalar(text(_LONG_QUERY))
        async with notes.read_only() as tx:
            return maximum, await tx.scalar(select(func.count()).select_from(NOTES))

    querying = asyncio.create_task(query_after_change())
    await _until_started(pause)
    response = await health.get(_PING)
    async with notes.read_only() as tx:
        assert await tx.fetch_all(select(NOTES)) == []
    assert response.status_code == 200
    assert not querying.done()

    pause.end.set()

    assert not pause.has_timed_out
    # The interrupted query has not rolled back the change before it.
    assert await querying == (300_000, 1)


@pytest.mark.parametrize("slow", ["sync", "commit"])
async def test_slow_disk_does_not_hold_other_requests(
    notes: Database, health: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    pause = Pause(notes)
    if slow == "sync":
        monkeypatch.setattr(sqlite, "_fdatasync", lambda file: pause())
    else:
        event.listen(notes.statement_engine, "commit", lambda connection: pause())

    adding = asyncio.create_task(_add_note(notes, "slow"))
    await _until_started(pause)
    response = await health.get(_PING)
    async with notes.read_only() as tx:
        await tx.fetch_all(select(NOTES))
    assert response.status_code == 200
    assert not adding.done()

    pause.end.set()
    await adding
    assert not pause.has_timed_out


async def test_statements_run_in_threads_after_one_waited_for_the_disk(
    notes: Database, health: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "count_disk_reads", itertools.count(10**9).__next__)
    pause = Pause(notes)
    waiting = threading.Timer(2 * sqlite.SLOW_STATEMENT_SECONDS, pause.end.set)
    waiting.start()
    async with notes.read_only() as tx:
        await tx.scalar(text("SELECT pause()"))
    pause.end.clear()
    pause.started.clear()

    second = asyncio.create_task(_add_note_slowly(notes))
    await _until_started(pause)
    response = await health.get(_PING)
    assert response.status_code == 200
    assert not second.done()

    pause.end.set()
    await second
    assert not pause.has_timed_out


async def _add_note_slowly(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute(insert(NOTES).values(text=func.pause()))


async def test_power_failure_keeps_every_acknowledged_transaction(
    notes: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sync copies the files as they are on the disk then."""
    path = str(notes.statement_engine.url.database)
    copies: list[Path] = []

    def copy_files(_: int) -> None:
        target = tmp_path / f"copy{len(copies)}.db"
        shutil.copy(path, target)
        shutil.copy(f"{path}-wal", f"{target}-wal")
        time.sleep(0.02)  # Other transactions commit meanwhile.
        copies.append(target)

    monkeypatch.setattr(sqlite, "_fdatasync", copy_files)
    acknowledged: list[tuple[str, Path]] = []

    async def add(text: str) -> None:
        await _add_note(notes, text)
        acknowledged.append((text, copies[-1]))

    for batch in range(3):
        await asyncio.gather(*(add(f"{batch} {number}") for number in range(10)))

    kept = {copy: _read_notes(copy) for copy in copies}
    assert len(acknowledged) == 30
    assert [text for text, copy in acknowledged if text not in kept[copy]] == []


def _read_notes(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT text FROM notes")}


async def test_killed_process_keeps_every_acknowledged_transaction(tmp_path: Path) -> None:
    path = tmp_path / "killed.db"
    writer = await asyncio.create_subprocess_exec(
        sys.executable, __file__, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    try:
        async with asyncio.timeout(60):
            acknowledged = [(await writer.stdout.readline()).decode().strip() for _ in range(50)]
    finally:
        writer.kill()
    acknowledged += (await writer.stdout.read()).decode().split("\n")[:-1]
    await writer.wait()

    assert acknowledged[0] == "0"
    assert set(acknowledged) <= _read_notes(path)


async def _write_until_killed(path: str) -> None:
    database = Database(f"sqlite:///{path}", source="test")
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    for number in itertools.count():
        await _add_note(database, str(number))
        print(number, flush=True)


class BrokenEngine:
    """An engine whose driver raises an undocumented error while it connects."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        raise RuntimeError("Transport does not expose socket instance")
        yield


async def test_driver_error_while_connecting_raises_unavailable() -> None:
    database = Database("mysql://127.0.0.1/notes", source="test")
    await database.close()
    database.engine = BrokenEngine()  # type: ignore[assignment]

    with pytest.raises(Unavailable, match="database is temporarily unavailable"):
        await database.check()


async def test_message_scheduled_before_a_clock_step_is_due(broker: SqliteBroker) -> None:
    await broker.enqueue([OutboxMessage(new_id(), "session.completed", b"{}")])
    async with broker.database.transaction() as tx:
        await tx.execute(update(MESSAGES).values(due_at=utc_now() + timedelta(days=1)))

    due_messages, _ = await broker.fetch_due("ai.session.completed", set())

    assert len(due_messages) == 1


async def test_old_unrouted_events_are_purged_while_running(broker: SqliteBroker) -> None:
    await broker.enqueue([OutboxMessage(new_id(), "user.registered", b"{}")])
    old = utc_now() - timedelta(seconds=UNROUTED_TTL_SECONDS + 1)
    async with broker.database.transaction() as tx:
        await tx.execute(update(MESSAGES).values(due_at=old))
        assert await tx.scalar(select(MESSAGES.c.queue)) == UNROUTED_QUEUE

    await broker.purge_unrouted()

    async with broker.database.read_only() as tx:
        assert await tx.scalar(select(func.count()).select_from(MESSAGES)) == 0


async def test_backlog_of_10000_events_slows_no_delivery_and_no_deletion(
    broker: SqliteBroker,
) -> None:
    ids = [new_id() for _ in range(10_000)]
    await broker.enqueue([OutboxMessage(one, "session.completed", b"{}") for one in ids])
    plans: list[str] = []

    def explain(connection: Any, _: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.startswith(("SELECT", "DELETE")):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(str(row[3]) for row in rows)

    sqlite_engine = cast(Any, broker.database)._sqlite.engine
    event.listen(sqlite_engine, "before_cursor_execute", explain)
    due_messages, _ = await broker.fetch_due("ai.session.completed", set())
    await broker.delete_messages_about(new_id())
    event.remove(sqlite_engine, "before_cursor_execute", explain)

    assert due_messages and len(plans) >= 3
    assert all("USING INDEX" in plan or "USING COVERING INDEX" in plan for plan in plans), plans


if __name__ == "__main__":
    asyncio.run(_write_until_killed(sys.argv[1]))
