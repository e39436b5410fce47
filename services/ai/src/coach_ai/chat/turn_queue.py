"""One chat turn at a time per user: further turns of the same user wait for a short time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from prometheus_client import Counter

from coach_common.errors import TooManyRequests

REFUSED_TURNS = Counter(
    "coach_ai_chat_turns_refused", "Chat turns refused because the user's other turns run."
)

_RETRY_AFTER_SECONDS = 5


@dataclass(slots=True)
class _UserTurns:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    count: int = 0
    """The running turn and the waiting ones."""


class TurnQueue:
    """Runs the chat turns of a user one after another. Users do not wait for each other.

    The limit holds within one process.

    Args:
        max_turns: Turns of a user that run or wait. Further ones are refused at once.
        max_wait_seconds: How long a turn waits before it is refused.
    """

    def __init__(self, *, max_turns: int = 128, max_wait_seconds: float = 40.0) -> None:
        self._max_turns = max_turns
        self._max_wait_seconds = max_wait_seconds
        self._turns: dict[UUID, _UserTurns] = {}

    @asynccontextmanager
    async def enter(self, user_id: UUID) -> AsyncIterator[None]:
        """Wait until no other turn of the user runs, and be the running one until the exit.

        Raises:
            TooManyRequests: With code `turn_in_progress`, if too many turns wait or for too long.
        """
        turns = self._turns.setdefault(user_id, _UserTurns())
        if turns.count >= self._max_turns:
            raise _refuse()
        turns.count += 1
        try:
            try:
                async with asyncio.timeout(self._max_wait_seconds):
                    await turns.lock.acquire()
            except TimeoutError:
                raise _refuse() from None
            try:
                yield
            finally:
                turns.lock.release()
        finally:
            turns.count -= 1
            if turns.count == 0:
                del self._turns[user_id]


def _refuse() -> TooManyRequests:
    REFUSED_TURNS.inc()
    return TooManyRequests(
        "The coach is still replying to your last message. Please wait for the reply.",
        code="turn_in_progress",
        retry_after_seconds=_RETRY_AFTER_SECONDS,
    )
