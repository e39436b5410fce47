"""Sliding-window counter, shared between replicas through Redis, with an in-memory fallback.

    counter = SlidingWindowCounter.from_redis_url(settings.redis_url)
    await counter.record("failed:…", window_seconds=900)
    recent = await counter.count("failed:…", window_seconds=900)

Keeps the timestamps of the last 128 events per key, so counts up to 128 are exact. If Redis fails
or takes longer than 250 ms, each replica counts locally and retries Redis after 5 s: limits become
per replica, requests never fail. `limits` stores the timestamps in Redis. Its memory storage is not
used, because it scans all keys on each call and has no bound.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from prometheus_client import Counter, Gauge

from coach_common import logs

log = logs.get_logger(__name__)
T = TypeVar("T")

REDIS_FAILURES = Counter(
    "coach_sliding_window_redis_failures", "Redis calls that failed or timed out."
)
FALLBACK_ACTIVE = Gauge(
    "coach_sliding_window_fallback_active",
    "1 while REDIS_URL is set but Redis is unavailable, else 0.",
)

_MAX_TIMESTAMPS = 128
_MAX_KEYS = 50_000
_REDIS_TIMEOUT_SECONDS = 0.25
_REDIS_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WindowCount:
    """The number of events within the window, and the seconds since the last one."""

    count: int
    seconds_since_last: float


class InMemoryWindow:
    """The counts of this process. Bounded: the least recently used keys are evicted first."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._timestamps: OrderedDict[str, deque[float]] = OrderedDict()

    async def record(self, key: str, window_seconds: int) -> None:
        self._timestamps.setdefault(key, deque(maxlen=_MAX_TIMESTAMPS)).appendleft(self._now())
        self._timestamps.move_to_end(key)
        if len(self._timestamps) > _MAX_KEYS:
            self._timestamps.popitem(last=False)

    async def count(self, key: str, window_seconds: int) -> WindowCount:
        timestamps = self._timestamps.get(key, deque())
        now = self._now()
        while timestamps and timestamps[-1] < now - window_seconds:
            timestamps.pop()
        return WindowCount(len(timestamps), now - timestamps[0] if timestamps else 0.0)

    async def reset(self, key: str) -> None:
        self._timestamps.pop(key, None)

    async def close(self) -> None:
        return None


class RedisWindow:
    """The counts of all replicas, in Redis. Raises StorageError if Redis is unavailable."""

    def __init__(self, url: str, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._redis = RedisStorage(
            f"async+{url}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="coach",
            socket_timeout=_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
        )

    async def record(self, key: str, window_seconds: int) -> None:
        # A full list accepts an event only if its oldest one has left the window. No limit is
        # near 128, so the difference does not matter.
        await self._redis.acquire_entry(key, _MAX_TIMESTAMPS, window_seconds)

    async def count(self, key: str, window_seconds: int) -> WindowCount:
        _, number = await self._redis.get_moving_window(key, _MAX_TIMESTAMPS, window_seconds)
        newest, _ = await self._redis.get_moving_window(key, 1, window_seconds)
        return WindowCount(number, self._now() - newest)

    async def reset(self, key: str) -> None:
        await self._redis.clear(key)

    async def close(self) -> None:
        await self._redis.bridge.get_connection().aclose()  # type: ignore[attr-defined]


class SlidingWindowCounter:
    """Counts in Redis, or in memory while Redis is unavailable. Never raises."""

    def __init__(self, memory: InMemoryWindow, shared: RedisWindow | None = None) -> None:
        self._fallback = memory
        self._redis = shared
        self._retry_redis_at = float("-inf")

    @classmethod
    def from_redis_url(cls, redis_url: str | None, now: Callable[[], float] = time.time) -> Self:
        """Return a counter shared through `redis_url`, or of this process if it is None."""
        return cls(InMemoryWindow(now), RedisWindow(redis_url, now) if redis_url else None)

    async def record(self, key: str, *, window_seconds: int) -> None:
        """Record one event now."""
        await self._with_fallback(lambda store: store.record(key, window_seconds))

    async def count(self, key: str, *, window_seconds: int) -> WindowCount:
        """Return how many events the last `window_seconds` contain, up to 128."""
        return await self._with_fallback(lambda store: store.count(key, window_seconds))

    async def reset(self, key: str) -> None:
        """Delete the events of a key."""
        await self._with_fallback(lambda store: store.reset(key))

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.close()

    async def _with_fallback(self, operation: Callable[[Any], Awaitable[T]]) -> T:
        if self._redis is None or time.monotonic() < self._retry_redis_at:
            return await operation(self._fallback)
        try:
            result = await operation(self._redis)
        except StorageError as error:
            REDIS_FAILURES.inc()
            FALLBACK_ACTIVE.set(1)
            self._retry_redis_at = time.monotonic() + _REDIS_RETRY_SECONDS
            log.warning(
                "sliding_window.redis_unavailable", reason=type(error.storage_error).__name__
            )
            return await operation(self._fallback)
        FALLBACK_ACTIVE.set(0)
        return result
