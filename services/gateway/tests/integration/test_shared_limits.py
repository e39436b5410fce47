"""Rate limits that replicas share through a Redis, and what happens while it is away."""

import pytest
from redis.exceptions import RedisError

from coach_common.testing.harness import wait_until
from coach_common.testing.servers import PrivateRedis
from coach_gateway.limits import OverLimit, RateLimits

pytestmark = pytest.mark.servers


async def test_what_one_replica_counts_another_knows(redis: PrivateRedis) -> None:
    one, other = (RateLimits({"user": 10}, redis.url) for _ in range(2))
    for _ in range(6):
        one.take("user", "somebody")
    await one.exchange()
    other.take("user", "somebody")
    await other.exchange()

    assert other.take("user", "somebody").remaining == 2
    other.take("user", "somebody")
    other.take("user", "somebody")
    with pytest.raises(OverLimit):
        other.take("user", "somebody")
    assert other.take("user", "somebody else").remaining == 9
    await one.close()
    await other.close()


async def test_without_redis_each_replica_counts_alone_and_shares_once_it_is_back() -> None:
    with PrivateRedis.run() as redis:
        one, other = (RateLimits({"user": 10}, redis.url) for _ in range(2))
        one.take("user", "somebody")
        redis.stop()
        with pytest.raises(RedisError):
            await one.exchange()
        assert one.take("user", "somebody").remaining == 8
        redis.start()

        async def is_known() -> bool:
            await one.exchange()
            other.take("user", "somebody")
            await other.exchange()
            return other.take("user", "somebody").remaining <= 6

        await wait_until(is_known, description="the exchange", timeout_seconds=10)
        await one.close()
        await other.close()
