"""A token bucket: a rate with a burst."""

import time


class TokenBucket:
    """Earns `rate` tokens per second, up to `capacity`. Starts full."""

    __slots__ = ("_capacity", "_rate", "_tokens", "_updated_at")

    def __init__(self, rate: float, capacity: float) -> None:
        self._rate = rate
        self._capacity = capacity
        self._tokens = capacity
        self._updated_at = time.monotonic()

    def consume(self, cost: float) -> float:
        """Take `cost` tokens. Return the seconds until none is owed, 0.0 if none is."""
        now = time.monotonic()
        earned = (now - self._updated_at) * self._rate
        self._tokens = min(self._capacity, self._tokens + earned) - cost
        self._updated_at = now
        return max(0.0, -self._tokens / self._rate)
