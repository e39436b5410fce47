"""Counts in memory and in Redis are equal; without Redis nothing fails."""

from collections.abc import AsyncIterator

import pytest

from coach_auth import sliding_window as counts_module
from coach_auth.sliding_window import FALLBACK_ACTIVE, InMemoryWindow, SlidingWindowCounter
from coach_common.ids import new_id
from coach_common.testing.servers import PrivateRedis


class ManualTime:
    """A clock in seconds that tests set."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def counts(request: pytest.FixtureRequest) -> AsyncIterator[SlidingWindowCounter]:
    url = None if request.param == "memory" else request.getfixturevalue("redis").url
    counts = SlidingWindowCounter.from_redis_url(url)
    yield counts
    await counts.close()


@pytest.fixture
def key() -> str:
    return str(new_id())


async def test_events_are_counted_and_can_be_reset(counts: SlidingWindowCounter, key: str) -> None:
    before = await counts.count(key, window_seconds=900)
    for _ in range(6):
        await counts.record(key, window_seconds=900)
    during = await counts.count(key, window_seconds=900)
    await counts.reset(key)

    assert before.count == 0
    assert during.count == 6
    assert 0 <= during.seconds_since_last < 300
    assert (await counts.count(key, window_seconds=900)).count == 0


async def test_count_is_capped_at_128(counts: SlidingWindowCounter, key: str) -> None:
    for _ in range(300):
        await counts.record(key, window_seconds=900)

    assert (await counts.count(key, window_seconds=900)).count == 128


async def test_events_expire_individually() -> None:
    now = ManualTime()
    counts = SlidingWindowCounter.from_redis_url(None, now)
    await counts.record("a", window_seconds=900)
    now.at += 600
    await counts.record("a", window_seconds=900)
    now.at += 400

    assert (await counts.count("a", window_seconds=900)).count == 1
    assert (await counts.count("a", window_seconds=900)).seconds_since_last == 400


async def test_in_memory_counter_evicts_oldest_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts_module, "_MAX_KEYS", 3)
    memory = InMemoryWindow()
    for number in range(10):
        await memory.record(str(number), 60)

    assert (await memory.count("9", 60)).count == 1
    assert (await memory.count("0", 60)).count == 0


@pytest.mark.servers
async def test_replicas_share_counts_through_redis(redis: PrivateRedis, key: str) -> None:
    one, other = (
        SlidingWindowCounter.from_redis_url(redis.url),
        SlidingWindowCounter.from_redis_url(redis.url),
    )
    await one.record(key, window_seconds=900)

    assert (await other.count(key, window_seconds=900)).count == 1
    await one.close()
    await other.close()


@pytest.mark.servers
async def test_falls_back_to_memory_while_redis_is_down_and_recovers(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(counts_module, "_REDIS_RETRY_SECONDS", 0.0)
    with PrivateRedis.run() as server:
        counts = SlidingWindowCounter.from_redis_url(server.url)
        await counts.record(key, window_seconds=900)
        server.stop()
        alone = await counts.count(key, window_seconds=900)
        was_local = FALLBACK_ACTIVE.collect()[0].samples[0].value
        await counts.record(key, window_seconds=900)
        still = await counts.count(key, window_seconds=900)
        server.start()
        again = await counts.count(key, window_seconds=900)
        await counts.close()

    assert (alone.count, still.count, again.count) == (0, 1, 0)
    assert was_local == 1
    assert FALLBACK_ACTIVE.collect()[0].samples[0].value == 0
