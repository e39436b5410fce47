"""Who must wait after failed logins."""

import pytest

from coach_auth.limits import FailedLogins
from coach_common.counts import Counts
from coach_common.errors import TooMany
from coach_common.testing.fakes import FakeClock


@pytest.fixture
def limits(clock: FakeClock) -> FailedLogins:
    return FailedLogins(Counts.of(None, lambda: clock().timestamp()))


async def test_the_sixth_failure_from_one_address_pauses_with_growing_pauses(
    limits: FailedLogins, clock: FakeClock
) -> None:
    for _ in range(5):
        await limits.check("alice", "1.1.1.1")
        await limits.failed("alice", "1.1.1.1")

    with pytest.raises(TooMany) as first:
        await limits.check("alice", "1.1.1.1")
    clock.advance(first.value.retry_after_seconds)
    await limits.check("alice", "1.1.1.1")
    await limits.failed("alice", "1.1.1.1")
    with pytest.raises(TooMany) as second:
        await limits.check("alice", "1.1.1.1")

    assert second.value.retry_after_seconds > first.value.retry_after_seconds


async def test_the_owner_elsewhere_is_never_locked_out(limits: FailedLogins) -> None:
    for number in range(98):
        await limits.failed("alice", f"1.1.{number}.1")
    before = await limits.check("alice", "9.9.9.9")
    for number in range(98, 250):
        await limits.failed("alice", f"1.1.{number}.1")

    assert before == 0
    assert 0 < await limits.check("alice", "9.9.9.9") <= 5
    assert await limits.check("bob", "9.9.9.9") == 0


async def test_an_address_that_tries_many_accounts_pauses(limits: FailedLogins) -> None:
    for number in range(29):
        await limits.check(f"person{number}", "1.1.1.1")
        await limits.failed(f"person{number}", "1.1.1.1")

    with pytest.raises(TooMany):
        await limits.check("somebody else", "1.1.1.1")


async def test_a_quarter_of_an_hour_forgets(limits: FailedLogins, clock: FakeClock) -> None:
    for _ in range(20):
        await limits.failed("alice", "1.1.1.1")
    clock.advance(901)

    assert await limits.check("alice", "1.1.1.1") == 0


async def test_a_pause_is_at_most_a_quarter_of_an_hour(
    limits: FailedLogins, clock: FakeClock
) -> None:
    for _ in range(400):
        await limits.failed("alice", "1.1.1.1")

    with pytest.raises(TooMany) as refused:
        await limits.check("alice", "1.1.1.1")
    assert refused.value.retry_after_seconds <= 901


async def test_who_signs_in_starts_afresh_from_there(limits: FailedLogins) -> None:
    for _ in range(4):
        await limits.failed("alice", "1.1.1.1")
    await limits.succeeded("alice", "1.1.1.1")
    for _ in range(4):
        await limits.failed("alice", "1.1.1.1")

    assert await limits.check("alice", "1.1.1.1") == 0
