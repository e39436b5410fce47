"""A time limit that a lost cancellation does not end."""

import asyncio
from types import TracebackType


class TimeLimit:
    """Cancels the `async with` block after `seconds`, and again every `seconds` until it ends.

    The block then raises TimeoutError. `asyncio.timeout` cancels once, and `asyncio.wait_for` of
    Python 3.11 loses a cancellation that arrives together with its result. asyncmy connects through
    `wait_for`, and would then wait for the first packet of the server without any limit.
    """

    __slots__ = ("_cancel_count", "_cancelling", "_loop", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cancel_count = 0

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._seconds, self._cancel)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if not self._cancel_count:
            return
        for _cancelled in range(self._cancel_count):
            self._task.uncancel()
        is_own = self._task.cancelling() <= self._cancelling
        if is_own and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def _cancel(self) -> None:
        self._cancel_count += 1
        self._task.cancel()
        self._timer = self._loop.call_later(self._seconds, self._cancel)
