"""A process that is killed at any step loses no event and applies none twice."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from coach_common.db.database import Database
from coach_common.testing.servers import PrivateMariaDB, PrivateRabbitMQ

POINTS = (
    "transaction.before_commit",
    "transaction.committed",
    "relay.claimed",
    "broker.kept",
    "relay.published",
    "broker.handled",
)


@dataclass
class CrashTestProcess:
    """The small service, with a broker and a database that outlive its process."""

    broker_url: str
    database_url: str

    async def run(self, *words: str, crash_at: str | None = None) -> int:
        env = dict(os.environ) | ({"COACH_CRASH_AT": crash_at} if crash_at else {})
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).parent / "crash_process.py"),
            self.broker_url,
            self.database_url,
            *words,
            env=env,
        )
        try:
            async with asyncio.timeout(90):
                return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def applied(self) -> tuple[int, int]:
        """Return the counter and the number of outbox rows."""
        from crash_process import APPLIED, OUTBOX

        database = Database(self.database_url, source="test")
        async with database.read_only() as tx:
            count = await tx.scalar(select(APPLIED.c.count))
            left = await tx.scalar(select(func.count()).select_from(OUTBOX))
        await database.close()
        return count, left


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.servers)])
async def program(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[CrashTestProcess]:
    with ExitStack() as stack:
        if request.param == "embedded":
            yield CrashTestProcess(
                f"sqlite:///{tmp_path}/broker.db", f"sqlite:///{tmp_path}/service.db"
            )
        else:
            mariadb: PrivateMariaDB = request.getfixturevalue("mariadb")
            rabbitmq: PrivateRabbitMQ = request.getfixturevalue("rabbitmq")
            yield CrashTestProcess(
                stack.enter_context(rabbitmq.vhost()), stack.enter_context(mariadb.database())
            )


@pytest.mark.parametrize("point", POINTS)
async def test_event_is_applied_exactly_once_after_crash_at(
    program: CrashTestProcess, point: str
) -> None:
    if point == "broker.kept" and program.broker_url.startswith("amqp"):
        pytest.skip("RabbitMQ keeps it: relay.published is the next step of ours")
    has_event = point not in ("transaction.before_commit",)

    crashed = await program.run("emit", crash_at=point)
    if not has_event:
        # Killed before its first commit, there is no event to lose. Publish it again.
        assert (await program.applied())[1] == 0
        await _clear_applied(program)
    finished = await program.run(*([] if has_event else ["emit"]))

    assert crashed == 137
    assert finished == 0
    assert await program.applied() == (101, 0)


async def _clear_applied(program: CrashTestProcess) -> None:
    from crash_process import APPLIED
    from sqlalchemy import delete

    database = Database(program.database_url, source="test")
    async with database.transaction() as tx:
        await tx.execute(delete(APPLIED))
    await database.close()
