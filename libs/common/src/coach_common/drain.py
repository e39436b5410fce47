"""Lets background work that has started end at shutdown."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Drain:
    """Counts work under way. After `close` workers must not start new work."""

    def __init__(self) -> None:
        self.is_closed = False
        self._running = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count the block as work under way."""
        self._running += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._is_idle.set()

    async def close(self) -> None:
        """Admit no new work, and return when no work is under way."""
        self.is_closed = True
        await self._is_idle.wait()
