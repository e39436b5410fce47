"""Rate limits: windows of a minute for each class and key, counted where the request is.

Where replicas share a Redis, each tells it four times a second what it counted and learns what the
others did: a request never waits for it. A limit is then exact to what arrives in that quarter of
a second; without it, or while it is away, each replica counts what it serves.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from coach_common import logs
from coach_common.errors import TooManyRequests
from coach_gateway.head import Headers, unwire

log = logs.get_logger(__name__)

REFUSED = Counter("coach_gateway_rate_limited", "Requests over a limit.", ["kind"])
ALONE = Counter("coach_gateway_limits_unshared", "Rounds in which Redis did not answer.")

_WINDOW_SECONDS = 60
_REMEMBERED = 100_000
_SHARE_SECONDS = 0.25
_ANSWER_SECONDS = 1.0


@dataclass(slots=True)
class Allowance:
    """What is left of a window."""

    limit: int
    remaining: int
    reset_seconds: int

    def lines(self) -> bytes:
        """Return the RateLimit headers, as they are sent."""
        return b"ratelimit-limit: %d\r\nratelimit-remaining: %d\r\nratelimit-reset: %d\r\n" % (
            self.limit,
            self.remaining,
            self.reset_seconds,
        )

    def headers(self) -> Headers:
        """Return the RateLimit headers."""
        return unwire(self.lines())


class OverLimit(TooManyRequests):
    """The window is used up."""

    code = "rate_limited"

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(
            "Too many requests. Please slow down.",
            retry_after_seconds=max(1, allowance.reset_seconds),
        )
        self.allowance = allowance


@dataclass(slots=True)
class Window:
    """A minute from a key's first request on."""

    ends_at: float
    count: int = 0
    shared: int = 0
    """How many of `count` the others know of."""
    elsewhere: int = 0


class RateLimits:
    """Counts requests by class and key; a bounded number of keys."""

    def __init__(self, limits: dict[str, int], redis_url: str | None = None) -> None:
        self._limits = limits
        self._windows: OrderedDict[tuple[str, Hashable], Window] = OrderedDict()
        self._unshared: set[tuple[str, Hashable]] = set()
        self._redis: Any = None
        if redis_url:
            self._redis = Redis.from_url(
                redis_url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS
            )

    def take(self, kind: str, key: Hashable) -> Allowance:
        """Count one request; OverLimit where its window is used up."""
        now = time.monotonic()
        slot = (kind, key)
        window = self._windows.get(slot)
        if window is None or now >= window.ends_at:
            window = self._windows[slot] = Window(now + _WINDOW_SECONDS)
            if len(self._windows) > _REMEMBERED:
                self._windows.popitem(last=False)
        window.count += 1
        if self._redis is not None:
            self._unshared.add(slot)
        limit = self._limits[kind]
        left = limit - window.count - window.elsewhere
        allowance = Allowance(limit, max(0, left), int(window.ends_at - now) + 1)
        if left < 0:
            REFUSED.labels(kind).inc()
            raise OverLimit(allowance)
        return allowance

    async def share(self) -> None:
        """Exchange counts with the other replicas for ever; where there is no Redis, wait."""
        is_alone = False
        while self._redis is not None:
            try:
                await self.exchange()
                is_alone = False
            except (RedisError, OSError) as error:
                ALONE.inc()
                if not is_alone:
                    log.warning("limits.unshared", why=type(error).__name__)
                is_alone = True
            await asyncio.sleep(_SHARE_SECONDS)
        await asyncio.Event().wait()

    async def exchange(self) -> None:
        """Tell what was counted since the last time, and learn what the others counted."""
        slots = [slot for slot in self._unshared if slot in self._windows]
        self._unshared.clear()
        if not slots:
            return
        counts = [self._windows[slot].count for slot in slots]
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for slot, count in zip(slots, counts, strict=True):
                    name = _name(slot)
                    pipe.set(name, 0, px=_WINDOW_SECONDS * 1000, nx=True)
                    pipe.incrby(name, count - self._windows[slot].shared)
                    pipe.pttl(name)
                answers = await pipe.execute()
        except BaseException:
            self._unshared.update(slots)
            raise
        now = time.monotonic()
        for index, (slot, count) in enumerate(zip(slots, counts, strict=True)):
            window = self._windows.get(slot)
            if window is not None:
                window.shared = count
                window.elsewhere = answers[index * 3 + 1] - count
                window.ends_at = now + max(0, answers[index * 3 + 2]) / 1000

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.aclose()


def _name(slot: tuple[str, Hashable]) -> str:
    kind, key = slot
    return f"coach:rate:{kind}:{hashlib.sha256(str(key).encode()).hexdigest()[:32]}"
