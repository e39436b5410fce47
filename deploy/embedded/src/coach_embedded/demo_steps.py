"""The steps of a demo: durations, requirements and wrapped lines."""

import asyncio
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class DemoFailed(Exception):
    """A result is not the expected one."""


@asynccontextmanager
async def step(name: str) -> AsyncIterator[None]:
    """Print a step with its duration, and its progress every 2 s."""
    started_at = time.perf_counter()

    async def print_progress() -> None:
        while True:
            await asyncio.sleep(2)
            print(f"  {name} … {time.perf_counter() - started_at:.0f} s", flush=True)

    progress_task = asyncio.create_task(print_progress())
    try:
        yield
    finally:
        progress_task.cancel()
        await asyncio.gather(progress_task, return_exceptions=True)
    print(f"  {name:<32} {time.perf_counter() - started_at:6.2f} s", flush=True)


def show(title: str, text: str) -> None:
    """Print a titled text, wrapped."""
    print(textwrap.fill(f"{title}: {text}", 96, initial_indent="  ", subsequent_indent="    "))


def format_score(value: int | None) -> str:
    """Return a score for people."""
    return "not scored" if value is None else str(value)


def require(condition: bool, message: str) -> None:
    """Raise DemoFailed with a message unless the condition holds."""
    if not condition:
        raise DemoFailed(message)
