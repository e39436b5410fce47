"""How often something happened lately: shared between replicas in Redis, or in memory.

    counts = Counts.of(settings.redis_url)
    seen = await counts.hit(f"user:{user_id}", 60)     # seen.number, seen.seconds_left
    await counts.note("failed:…", window_seconds=900)
    recent = await counts.recent("failed:…", window_seconds=900)

`hit` counts within windows aligned to the clock (cheap: one number a key); `note` and `recent`
remember moments, at most 128 a key, so that "the sixth in 15 minutes" is exact. Where Redis does
not answer, each replica counts in its own memory and asks Redis again after five seconds: a limit
gets looser, nothing fails. `limits` keeps the counts in Redis; its memory storage is not used, for
it looks at every key on each hit and forgets none under pressure.
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

log = logs.get(__name__)
T = TypeVar("T")

FAILURES = Counter("coach_counts_redis_failures", "Times that Redis did not answer in time.")
IS_LOCAL = Gauge("coach_counts_local", "1 while REDIS_URL is set and Redis is away, else 0.")

_MOMENTS = 128
_WINDOWS_KEPT = 100_000
_MOMENTS_KEPT = 50_000
_ANSWER_SECONDS = 0.25
_AWAY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Count:
    """What a window holds, this hit included, and how long it still lasts."""

    number: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Recent:
    """How many moments lie within the window, and how long ago the last one was."""

    number: int
    seconds_since: float


class Memory:
    """The counts of this process alone. Bounded: the keys made longest ago are forgotten first."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._windows: OrderedDict[str, int] = OrderedDict()
        self._moments: OrderedDict[str, deque[float]] = OrderedDict()

    async def hit(self, key: str, window_seconds: int) -> int:
        number = self._windows.get(key, 0) + 1
        self._windows[key] = number
        if number == 1 and len(self._windows) > _WINDOWS_KEPT:
            self._windows.popitem(last=False)
        return number

    async def note(self, key: str, window_seconds: int) -> None:
        self._moments.setdefault(key, deque(maxlen=_MOMENTS)).appendleft(self._now())
        self._moments.move_to_end(key)
        if len(self._moments) > _MOMENTS_KEPT:
            self._moments.popitem(last=False)

    async def recent(self, key: str, window_seconds: int) -> Recent:
        moments = self._moments.get(key, deque())
        now = self._now()
        while moments and moments[-1] < now - window_seconds:
            moments.pop()
        return Recent(len(moments), now - moments[0] if moments else 0.0)

    async def forget(self, key: str) -> None:
        self._moments.pop(key, None)

    async def close(self) -> None:
        return None


class Shared:
    """The counts of all replicas, in Redis; raises StorageError where it does not answer."""

    def __init__(self, url: str, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._redis = RedisStorage(
            f"async+{url}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="coach",
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
        )

    async def hit(self, key: str, window_seconds: int) -> int:
        return await self._redis.incr(key, window_seconds)

    async def note(self, key: str, window_seconds: int) -> None:
        # A full list takes a new moment only where its oldest has left the window; one more
        # or less of 128 changes nothing that is decided.
        await self._redis.acquire_entry(key, _MOMENTS, window_seconds)

    async def recent(self, key: str, window_seconds: int) -> Recent:
        _, number = await self._redis.get_moving_window(key, _MOMENTS, window_seconds)
        newest, _ = await self._redis.get_moving_window(key, 1, window_seconds)
        return Recent(number, self._now() - newest)

    async def forget(self, key: str) -> None:
        await self._redis.clear(key)

    async def close(self) -> None:
        await self._redis.bridge.get_connection().aclose()  # type: ignore[attr-defined]


class Counts:
    """Counts in Redis while it answers, else in memory. Never raises."""

    def __init__(
        self, memory: Memory, shared: Shared | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._memory = memory
        self._shared = shared
        self._now = now
        self._ask_again_at = float("-inf")

    @classmethod
    def of(cls, redis_url: str | None, now: Callable[[], float] = time.time) -> Self:
        """Return counts shared through `redis_url`, or of this process alone where it is None."""
        return cls(Memory(now), Shared(redis_url, now) if redis_url else None, now)

    async def hit(self, key: str, window_seconds: int) -> Count:
        """Count one; every key has one window length."""
        now = self._now()
        window, into = divmod(now, window_seconds)
        slot = f"{key}:{int(window)}"
        return Count(
            await self._ask(lambda store: store.hit(slot, window_seconds)), window_seconds - into
        )

    async def note(self, key: str, *, window_seconds: int) -> None:
        """Remember that it happened now."""
        await self._ask(lambda store: store.note(key, window_seconds))

    async def recent(self, key: str, *, window_seconds: int) -> Recent:
        """Tell how often it happened within the last `window_seconds`, counted up to 128."""
        return await self._ask(lambda store: store.recent(key, window_seconds))

    async def forget(self, key: str) -> None:
        """Forget the moments of a key."""
        await self._ask(lambda store: store.forget(key))

    async def close(self) -> None:
        """Close the connections."""
        if self._shared is not None:
            await self._shared.close()

    async def _ask(self, what: Callable[[Any], Awaitable[T]]) -> T:
        if self._shared is None or time.monotonic() < self._ask_again_at:
            return await what(self._memory)
        try:
            answer = await what(self._shared)
        except StorageError as error:
            FAILURES.inc()
            IS_LOCAL.set(1)
            self._ask_again_at = time.monotonic() + _AWAY_SECONDS
            log.warning("counts.redis_away", reason=type(error.storage_error).__name__)
            return await what(self._memory)
        IS_LOCAL.set(0)
        return answer
