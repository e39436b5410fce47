"""The backoff after failed logins."""

import pytest

from coach_auth.login_throttle import LoginThrottle
from coach_auth.sliding_window import SlidingWindowCounter
from coach_common.errors import TooManyRequests
from coach_common.testing.fakes import FakeClock


@pytest.fixture
def limits(clock: FakeClock) -> LoginThrottle:
    return LoginThrottle(SlidingWindowCounter.from_redis_url(None, lambda: clock().timestamp()))


async def test_backoff_starts_at_sixth_failure_and_grows(
    limits: LoginThrottle, clock: FakeClock
) -> None:
    for _ in range(5):
        await limits.check("alice", "1.1.1.1")
        await limits.record_failure("alice", "1.1.1.1")

    with pytest.raises(TooManyRequests) as first:
        await limits.check("alice", "1.1.1.1")
    clock.advance(first.value.retry_after_seconds)
    await limits.check("alice", "1.1.1.1")
    await limits.record_failure("alice", "1.1.1.1")
    with pytest.raises(TooManyRequests) as second:
        await limits.check("alice", "1.1.1.1")

    assert second.value.retry_after_seconds > first.value.retry_after_seconds


async def test_other_ip_is_delayed_but_never_locked_out(limits: LoginThrottle) -> None:
    for number in range(98):
        await limits.record_failure("alice", f"1.1.{number}.1")
    before = await limits.check("alice", "9.9.9.9")
    for number in range(98, 250):
        await limits.record_failure("alice", f"1.1.{number}.1")

    assert before == 0
    assert 0 < await limits.check("alice", "9.9.9.9") <= 5
    assert await limits.check("bob", "9.9.9.9") == 0


async def test_one_ip_trying_many_accounts_is_throttled(limits: LoginThrottle) -> None:
    for number in range(29):
        await limits.check(f"person{number}", "1.1.1.1")
        await limits.record_failure(f"person{number}", "1.1.1.1")

    with pytest.raises(TooManyRequests):
        await limits.check("somebody else", "1.1.1.1")


async def test_failures_expire_after_fifteen_minutes(
    limits: LoginThrottle, clock: FakeClock
) -> None:
    for _ in range(20):
        await limits.record_failure("alice", "1.1.1.1")
    clock.advance(901)

    assert await limits.check("alice", "1.1.1.1") == 0


async def test_backoff_is_capped_at_fifteen_minutes(
    limits: LoginThrottle, clock: FakeClock
) -> None:
    for _ in range(400):
        await limits.record_failure("alice", "1.1.1.1")

    with pytest.raises(TooManyRequests) as refused:
        await limits.check("alice", "1.1.1.1")
    assert refused.value.retry_after_seconds <= 901


async def test_success_resets_failures_for_that_ip(limits: LoginThrottle) -> None:
    for _ in range(4):
        await limits.record_failure("alice", "1.1.1.1")
    await limits.record_success("alice", "1.1.1.1")
    for _ in range(4):
        await limits.record_failure("alice", "1.1.1.1")

    assert await limits.check("alice", "1.1.1.1") == 0
