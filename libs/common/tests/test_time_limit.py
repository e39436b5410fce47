"""The time limit of database calls."""

import asyncio
from contextlib import suppress

import pytest

from coach_common.db.time_limit import TimeLimit

SHORT_SECONDS = 0.01


async def test_block_that_ends_in_time_is_not_cancelled() -> None:
    async with TimeLimit(60):
        await asyncio.sleep(0)


async def test_block_that_takes_longer_raises_timeout_error() -> None:
    with pytest.raises(TimeoutError):
        async with TimeLimit(SHORT_SECONDS):
            await asyncio.Event().wait()


async def test_lost_cancellation_is_repeated() -> None:
    lost = 0
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            async with TimeLimit(SHORT_SECONDS):
                for _ in range(3):
                    with suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()
                    lost += 1
                await asyncio.Event().wait()
        task = asyncio.current_task()

    assert lost == 3
    assert task is not None
    assert task.cancelling() == 0


async def test_cancellation_from_outside_is_not_a_timeout() -> None:
    async def work() -> None:
        async with TimeLimit(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_error_of_the_block_is_raised() -> None:
    with pytest.raises(ValueError, match="own error"):
        async with TimeLimit(60):
            raise ValueError("own error")
