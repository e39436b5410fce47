"""Rate limits: fixed windows of one minute per class and key, counted in memory.

If replicas share a Redis, they exchange counts four times per second, so no request waits for it
and a limit is exact to what arrives within 250 ms. Without Redis each replica counts alone.
"""

import asyncio
import hashlib
import time
from collections import Counter as Amounts
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from coach_common import logs
from coach_common.errors import TooManyRequests, Unavailable
from coach_gateway.request_head import Headers

log = logs.get_logger(__name__)

RATE_LIMITED = Counter("coach_gateway_rate_limited", "Requests over a limit.", ["kind"])
REDIS_SYNC_FAILURES = Counter(
    "coach_gateway_rate_limit_sync_failures", "Failed exchanges with Redis."
)

_WINDOW_SECONDS = 60
_MAX_KEYS = 100_000
_SYNC_INTERVAL_SECONDS = 0.25
_REDIS_TIMEOUT_SECONDS = 1.0


@dataclass(slots=True)
class Allowance:
    """What remains of a window."""

    limit: int
    remaining: int
    reset_seconds: int

    def headers(self) -> Headers:
        """Return the RateLimit headers."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset_seconds),
        ]


class RateLimitExceeded(TooManyRequests):
    """The window is exhausted."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(
            "Too many requests. Please slow down.",
            code="rate_limited",
            retry_after_seconds=max(1, allowance.reset_seconds),
        )
        self.allowance = allowance


@dataclass(slots=True)
class Window:
    """One minute, starting with a key's first request."""

    ends_at: float
    count: int = 0
    published_count: int = 0
    """The part of `count` that Redis has."""
    remote_count: int = 0


class RateLimits:
    """Counts requests per class and key. The number of keys is bounded."""

    def __init__(self, limits: dict[str, int], redis_url: str | None = None) -> None:
        self._limits = limits
        self._windows: OrderedDict[tuple[str, str], Window] = OrderedDict()
        self._unpublished: set[tuple[str, str]] = set()
        self._redis: Any = None
        if redis_url:
            self._redis = Redis.from_url(
                redis_url,
                socket_timeout=_REDIS_TIMEOUT_SECONDS,
                socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
            )

    def hit(self, kind: str, key: str) -> Allowance:
        """Count one request. Raises RateLimitExceeded if its window is exhausted."""
        now = time.monotonic()
        slot = (kind, key)
        window = self._windows.get(slot)
        if window is None or now >= window.ends_at:
            window = self._windows[slot] = Window(now + _WINDOW_SECONDS)
            self._windows.move_to_end(slot)
            if len(self._windows) > _MAX_KEYS:
                self._windows.popitem(last=False)
        window.count += 1
        if self._redis is not None:
            self._unpublished.add(slot)
        limit = self._limits[kind]
        remaining = limit - window.count - window.remote_count
        allowance = Allowance(limit, max(0, remaining), int(window.ends_at - now) + 1)
        if remaining < 0:
            RATE_LIMITED.labels(kind).inc()
            raise RateLimitExceeded(allowance)
        return allowance

    async def sync_forever(self) -> None:
        """Exchange counts with the other replicas until cancelled."""
        is_redis_down = False
        while self._redis is not None:
            try:
                await self.sync_once()
                is_redis_down = False
            except (RedisError, OSError) as error:
                REDIS_SYNC_FAILURES.inc()
                if not is_redis_down:
                    log.warning("rate_limits.redis_unavailable", why=type(error).__name__)
                is_redis_down = True
            await asyncio.sleep(_SYNC_INTERVAL_SECONDS)
        await asyncio.Event().wait()

    async def sync_once(self) -> None:
        """Publish the counts since the last exchange and read those of the other replicas."""
        slots = [slot for slot in self._unpublished if slot in self._windows]
        self._unpublished.clear()
        if not slots:
            return
        windows = [self._windows[slot] for slot in slots]
        counts = [window.count for window in windows]
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for slot, window, count in zip(slots, windows, counts, strict=True):
                    name = _redis_key(slot)
                    pipe.set(name, 0, px=_WINDOW_SECONDS * 1000, nx=True)
                    pipe.incrby(name, count - window.published_count)
                    pipe.pttl(name)
                replies = await pipe.execute()
        except BaseException:
            self._unpublished.update(slots)
            raise
        now = time.monotonic()
        # The reply for a window that was replaced during the call is not used for the new one.
        for index, (window, count) in enumerate(zip(windows, counts, strict=True)):
            window.published_count = count
            window.remote_count = replies[index * 3 + 1] - count
            window.ends_at = now + max(0, replies[index * 3 + 2]) / 1000

    async def close(self) -> None:
        """Close the Redis connections."""
        if self._redis is not None:
            await self._redis.aclose()


class Shares:
    """Bounds an amount in use, in total and per client."""

    def __init__(self, total: int, per_client: int) -> None:
        self._total = total
        self._per_client = per_client
        self._used: Amounts[str] = Amounts()
        self._used_total = 0

    def take(self, client: str, amount: int = 1) -> None:
        """Take an amount. Raises TooManyRequests over the share, Unavailable over the total."""
        if self._used[client] + amount > self._per_client:
            raise TooManyRequests(
                "Too many requests at the same time. Please wait for earlier ones.",
                code="too_many_in_flight",
                retry_after_seconds=1,
            )
        if self._used_total + amount > self._total:
            raise Unavailable("The service is busy. Please try again in a moment.")
        self._used[client] += amount
        self._used_total += amount

    @contextmanager
    def reserved(self, client: str) -> Iterator[None]:
        """Take one for the duration of the block. Raises as `take` does."""
        self.take(client)
        try:
            yield
        finally:
            self.free(client)

    def free(self, client: str, amount: int = 1) -> None:
        """Return what was taken."""
        self._used_total -= amount
        self._used[client] -= amount
        if self._used[client] <= 0:
            del self._used[client]


def _redis_key(slot: tuple[str, str]) -> str:
    kind, key = slot
    return f"coach:rate:{kind}:{hashlib.sha256(key.encode()).hexdigest()[:32]}"
