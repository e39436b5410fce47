"""Who must wait after failed logins."""

import pytest

from coach_auth.limits import FailedLogins
from coach_common.errors import TooMany
from coach_common.testing.fakes import FakeClock


def test_the_sixth_failure_from_one_address_pauses_with_growing_pauses(clock: FakeClock) -> None:
    limits = FailedLogins(clock)
    for _ in range(5):
        limits.check("alice", "1.1.1.1")
        limits.failed("alice", "1.1.1.1")

    with pytest.raises(TooMany) as first:
        limits.check("alice", "1.1.1.1")
    clock.advance(first.value.retry_after_seconds)
    limits.check("alice", "1.1.1.1")
    limits.failed("alice", "1.1.1.1")
    with pytest.raises(TooMany) as second:
        limits.check("alice", "1.1.1.1")

    assert second.value.retry_after_seconds > first.value.retry_after_seconds


def test_the_owner_elsewhere_is_never_locked_out(clock: FakeClock) -> None:
    limits = FailedLogins(clock)
    for number in range(200):
        limits.failed("alice", f"1.1.{number}.1")

    assert 0 < limits.check("alice", "9.9.9.9") <= 5
    assert limits.check("bob", "9.9.9.9") == 0


def test_an_address_that_tries_many_accounts_pauses(clock: FakeClock) -> None:
    limits = FailedLogins(clock)
    for number in range(29):
        limits.check(f"person{number}", "1.1.1.1")
        limits.failed(f"person{number}", "1.1.1.1")

    with pytest.raises(TooMany):
        limits.check("somebody else", "1.1.1.1")


def test_a_quarter_of_an_hour_forgets(clock: FakeClock) -> None:
    limits = FailedLogins(clock)
    for _ in range(20):
        limits.failed("alice", "1.1.1.1")
    clock.advance(901)

    assert limits.check("alice", "1.1.1.1") == 0
