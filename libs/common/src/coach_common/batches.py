"""Workers that process due rows in batches."""

import asyncio
from collections.abc import Awaitable, Callable

from coach_common.errors import Unavailable


async def run_batches(run_batch: Callable[[], Awaitable[int]], *, idle_seconds: float) -> None:
    """Run batches one after the other until cancelled.

    Args:
        run_batch: Processes what is due, up to a limit, and returns how many rows were due.
        idle_seconds: The wait after a batch without rows, or that ended with Unavailable.
    """
    while True:
        try:
            count = await run_batch()
        except Unavailable:
            count = 0
        if not count:
            await asyncio.sleep(idle_seconds)
