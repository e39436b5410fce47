"""Logs the stack of an event loop that does not run its callbacks."""

import asyncio
import sys
import threading
import time
import traceback

from coach_common import logs

log = logs.get_logger(__name__)

_CHECK_INTERVAL_SECONDS = 0.25


async def watch_event_loop(max_block_seconds: float = 1.0) -> None:
    """Log `event_loop.blocked` with the stack if the loop is held too long, until cancelled.

    A thread checks, because a blocked loop cannot. Each block is logged once.
    """
    watchdog = _Watchdog(asyncio.get_running_loop(), threading.get_ident(), max_block_seconds)
    thread = threading.Thread(target=watchdog.run, name="event-loop-watchdog", daemon=True)
    thread.start()
    try:
        await asyncio.Event().wait()
    finally:
        watchdog.stop.set()


class _Watchdog:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, thread_id: int, max_block_seconds: float
    ) -> None:
        self.stop = threading.Event()
        self._loop = loop
        self._thread_id = thread_id
        self._max_block_seconds = max_block_seconds
        self._responded = threading.Event()

    def run(self) -> None:
        """Ask the loop to respond again and again."""
        while not self.stop.wait(_CHECK_INTERVAL_SECONDS):
            self._responded.clear()
            asked_at = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._responded.set)
            except RuntimeError:
                return  # the loop is closed
            if self._responded.wait(self._max_block_seconds) or self.stop.is_set():
                continue
            frame = sys._current_frames().get(self._thread_id)
            stack = "".join(traceback.format_stack(frame)) if frame else ""
            log.error("event_loop.blocked", seconds=self._max_block_seconds, stack=stack)
            while not self._responded.wait(_CHECK_INTERVAL_SECONDS):
                if self.stop.is_set():
                    return
            log.info("event_loop.resumed", seconds=round(time.monotonic() - asked_at, 1))
