"""How often something happened lately: shared between replicas in Redis, or in memory.

    counts = Counts.of(settings.redis_url)
    await counts.note("failed:…", window_seconds=900)
    recent = await counts.recent("failed:…", window_seconds=900)

Moments are remembered, at most 128 a key, so that "the sixth in 15 minutes" is exact. Where Redis
does not answer, each replica counts in its own memory and asks Redis again after five seconds: a
limit gets looser, nothing fails. `limits` keeps the moments in Redis; its memory storage is not
used, for it looks at every key each time and forgets none under pressure.
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
    """How many moments lie within the window, and how long ago the last one was."""

    count: int
    seconds_since_last: float


class InMemoryWindow:
    """The counts of this process alone. Bounded: the keys made longest ago are forgotten first."""

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
    """The counts of all replicas, in Redis; raises StorageError where it does not answer."""

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
        # A full list takes a new moment only where its oldest has left the window; one more
        # or less of 128 changes nothing that is decided.
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
    """Counts in Redis while it answers, else in memory. Never raises."""

    def __init__(self, memory: InMemoryWindow, shared: RedisWindow | None = None) -> None:
        self._fallback = memory
        self._redis = shared
        self._retry_redis_at = float("-inf")

    @classmethod
    def from_redis_url(cls, redis_url: str | None, now: Callable[[], float] = time.time) -> Self:
        """Return counts shared through `redis_url`, or of this process alone where it is None."""
        return cls(InMemoryWindow(now), RedisWindow(redis_url, now) if redis_url else None)

    async def record(self, key: str, *, window_seconds: int) -> None:
        """Remember that it happened now."""
        await self._with_fallback(lambda store: store.record(key, window_seconds))

    async def count(self, key: str, *, window_seconds: int) -> WindowCount:
        """Tell how often it happened within the last `window_seconds`, counted up to 128."""
        return await self._with_fallback(lambda store: store.count(key, window_seconds))

    async def reset(self, key: str) -> None:
        """Forget the moments of a key."""
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
