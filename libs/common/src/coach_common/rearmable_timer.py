"""A timer that is rearmed with every request and rarely fires.

Rearming is an assignment. Creating and cancelling a loop timer per request would cost a tenth of
the whole request.
"""

import asyncio
from collections.abc import Callable


class RearmableTimer:
    """Calls `callback` at the time that was armed last. Uses at most one loop timer."""

    __slots__ = ("_callback", "_fires_at", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._fires_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_armed(self) -> bool:
        """Whether the timer will fire."""
        return self._fires_at is not None

    def arm(self, seconds: float) -> None:
        """(Re)arm the timer to fire after `seconds`."""
        self._fires_at = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._fires_at:
            self._schedule()

    def disarm(self) -> None:
        """Disarm the timer. The loop timer stays and does nothing when it fires."""
        self._fires_at = None

    def close(self) -> None:
        """Disarm the timer for good, and release its callback, which often refers to its owner."""
        self._fires_at = None
        self._callback = _do_nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._fires_at is not None:
            self._timer = self._loop.call_at(self._fires_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._fires_at is None:
            return
        if self._loop.time() < self._fires_at:
            self._schedule()
        else:
            self._fires_at = None
            self._callback()


def _do_nothing() -> None:
    pass
