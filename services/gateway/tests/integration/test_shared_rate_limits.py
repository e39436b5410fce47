"""Rate limits shared through Redis, and during a Redis outage."""

import pytest
from redis.exceptions import RedisError

from coach_common.testing.harness import wait_until
from coach_common.testing.servers import PrivateRedis
from coach_gateway.limits import RateLimitExceeded, RateLimits

pytestmark = pytest.mark.servers


async def test_replicas_share_counts_through_redis(redis: PrivateRedis) -> None:
    one, other = (RateLimits({"user": 10}, redis.url) for _ in range(2))
    for _ in range(6):
        one.hit("user", "somebody")
    await one.sync_once()
    other.hit("user", "somebody")
    await other.sync_once()

    assert other.hit("user", "somebody").remaining == 2
    other.hit("user", "somebody")
    other.hit("user", "somebody")
    with pytest.raises(RateLimitExceeded):
        other.hit("user", "somebody")
    assert other.hit("user", "somebody else").remaining == 9
    await one.close()
    await other.close()


async def test_replicas_count_locally_without_redis_and_share_after_recovery() -> None:
    with PrivateRedis.run() as redis:
        one, other = (RateLimits({"user": 10}, redis.url) for _ in range(2))
        one.hit("user", "somebody")
        redis.stop()
        with pytest.raises(RedisError):
            await one.sync_once()
        assert one.hit("user", "somebody").remaining == 8
        redis.start()

        async def is_known() -> bool:
            await one.sync_once()
            other.hit("user", "somebody")
            await other.sync_once()
            return other.hit("user", "somebody").remaining <= 6

        await wait_until(is_known, description="the exchange", timeout_seconds=10)
        await one.close()
        await other.close()
