"""Rate limits: fixed windows of a minute, in memory, a bounded number of them.

Each replica counts what it serves.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass

from coach_common.errors import TooMany

_WINDOW_SECONDS = 60
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a window."""

    limit: int
    remaining: int
    reset_seconds: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the RateLimit headers."""
        return [
            (b"ratelimit-limit", str(self.limit).encode()),
            (b"ratelimit-remaining", str(self.remaining).encode()),
            (b"ratelimit-reset", str(self.reset_seconds).encode()),
        ]


class OverLimit(TooMany):
    """The window is used up."""

    code = "rate_limited"

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(
            "Too many requests. Please slow down.",
            retry_after_seconds=max(1, allowance.reset_seconds),
        )
        self.allowance = allowance


class RateLimits:
    """Counts requests by class and key."""

    def __init__(self, limits: dict[str, int]) -> None:
        self._limits = limits
        self._counts: OrderedDict[tuple[str, str, int], int] = OrderedDict()

    def take(self, kind: str, key: str) -> Allowance:
        """Count one request; OverLimit where its window is used up."""
        now = time.time()
        window = int(now // _WINDOW_SECONDS)
        slot = (kind, key, window)
        count = self._counts.get(slot, 0) + 1
        self._counts[slot] = count
        if count == 1 and len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        limit = self._limits[kind]
        reset = int((window + 1) * _WINDOW_SECONDS - now) + 1
        allowance = Allowance(limit, max(0, limit - count), reset)
        if count > limit:
            raise OverLimit(allowance)
        return allowance
