"""Blocking calls in threads that outlive no caller."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def run_in_thread(executor: Executor, function: Callable[..., T], *args: object) -> T:
    """Run a function in a thread. If it is cancelled, it still returns only after the function."""
    work = asyncio.get_running_loop().run_in_executor(executor, function, *args)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError:
                continue
        raise
