"""Counts in memory and in Redis mean the same; without Redis nothing fails."""

from collections.abc import AsyncIterator

import pytest

from coach_common import counts as counts_module
from coach_common.counts import IS_LOCAL, Counts, Memory
from coach_common.ids import new_id
from coach_common.testing.servers import PrivateRedis


class Time:
    """Seconds that are set."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def counts(request: pytest.FixtureRequest) -> AsyncIterator[Counts]:
    url = None if request.param == "memory" else request.getfixturevalue("redis").url
    counts = Counts.of(url)
    yield counts
    await counts.close()


@pytest.fixture
def key() -> str:
    return str(new_id())


async def test_hits_are_counted_by_key_within_a_window(counts: Counts, key: str) -> None:
    numbers = [(await counts.hit(key, 86_400)).number for _ in range(3)]
    other = await counts.hit(f"{key} of somebody else", 86_400)

    assert numbers == [1, 2, 3]
    assert other.number == 1
    assert 0 < other.seconds_left <= 86_400


async def test_moments_are_counted_and_can_be_forgotten(counts: Counts, key: str) -> None:
    before = await counts.recent(key, window_seconds=900)
    for _ in range(6):
        await counts.note(key, window_seconds=900)
    during = await counts.recent(key, window_seconds=900)
    await counts.forget(key)

    assert before.number == 0
    assert during.number == 6
    assert 0 <= during.seconds_since < 300
    assert (await counts.recent(key, window_seconds=900)).number == 0


async def test_more_moments_than_are_kept_do_no_harm(counts: Counts, key: str) -> None:
    for _ in range(300):
        await counts.note(key, window_seconds=900)

    assert (await counts.recent(key, window_seconds=900)).number == 128


async def test_a_window_ends_and_moments_leave_one_by_one() -> None:
    now = Time()
    counts = Counts.of(None, now)
    first = await counts.hit("a", 60)
    await counts.note("a", window_seconds=900)
    now.at += 600
    await counts.note("a", window_seconds=900)
    now.at += 400

    assert (await counts.hit("a", 60)).number == first.number == 1
    assert (await counts.recent("a", window_seconds=900)).number == 1
    assert (await counts.recent("a", window_seconds=900)).seconds_since == 400


async def test_memory_forgets_the_oldest_keys_rather_than_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts_module, "_WINDOWS_KEPT", 3)
    monkeypatch.setattr(counts_module, "_MOMENTS_KEPT", 3)
    memory = Memory()
    for number in range(10):
        await memory.hit(str(number), 60)
        await memory.note(str(number), 60)

    assert (await memory.recent("9", 60)).number == 1
    assert (await memory.recent("0", 60)).number == 0
    assert await memory.hit("9", 60) == 2
    assert await memory.hit("0", 60) == 1


@pytest.mark.servers
async def test_replicas_count_together_in_redis(redis: PrivateRedis, key: str) -> None:
    one, other = Counts.of(redis.url), Counts.of(redis.url)
    await one.hit(key, 86_400)
    await one.note(key, window_seconds=900)

    assert (await other.hit(key, 86_400)).number == 2
    assert (await other.recent(key, window_seconds=900)).number == 1
    await one.close()
    await other.close()


@pytest.mark.servers
async def test_without_redis_each_counts_alone_and_with_it_again_together(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(counts_module, "_AWAY_SECONDS", 0.0)
    with PrivateRedis.started() as server:
        counts = Counts.of(server.url)
        await counts.note(key, window_seconds=900)
        server.stop()
        alone = await counts.recent(key, window_seconds=900)
        was_local = IS_LOCAL.collect()[0].samples[0].value
        await counts.note(key, window_seconds=900)
        still = await counts.recent(key, window_seconds=900)
        server.start()
        again = await counts.recent(key, window_seconds=900)
        await counts.close()

    assert (alone.number, still.number, again.number) == (0, 1, 0)
    assert was_local == 1
    assert IS_LOCAL.collect()[0].samples[0].value == 0
