"""A time-out that is moved with every request and hardly ever reached: moving it is an assignment.

A timer of the loop for each request, made and cancelled, costs a tenth of what a request costs.
"""

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `act` once the time has come that was set last; one timer of the loop at most."""

    __slots__ = ("_act", "_at", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
        self._loop = loop
        self._act = act
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether it will come."""
        return self._at is not None

    def set(self, seconds: float) -> None:
        """Have it come in so many seconds, instead of when it was to come before."""
        self._at = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._at:
            self._arm()

    def clear(self) -> None:
        """Have it not come; the loop's timer stays until its time and then finds nothing to do."""
        self._at = None

    def close(self) -> None:
        """Have it not come, and take the loop's timer away."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._at is not None:
            self._timer = self._loop.call_at(self._at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._arm()
        else:
            self._at = None
            self._act()
