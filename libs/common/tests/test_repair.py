"""When the repair sweep checks a row again."""

from datetime import UTC, datetime, timedelta

import pytest

from coach_common.repair import SETTLING_TIME, is_settled, next_repair_at

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("waited", "interval"),
    [
        (timedelta(0), MINUTE),
        (timedelta(minutes=5), timedelta(minutes=5)),
        (timedelta(days=9), timedelta(days=1)),
        (-timedelta(days=1), MINUTE),
    ],
)
def test_interval_doubles_up_to_a_day(waited: timedelta, interval: timedelta) -> None:
    assert next_repair_at(NOW, waiting_since=NOW - waited, delay=MINUTE) == NOW + interval


def test_row_is_left_alone_after_30_days() -> None:
    assert next_repair_at(NOW, waiting_since=NOW - timedelta(days=31), delay=MINUTE) is None


def test_fact_is_settled_after_ten_seconds_or_if_the_clock_was_set_back() -> None:
    assert not is_settled(NOW, NOW)
    assert is_settled(NOW - SETTLING_TIME, NOW)
    assert is_settled(NOW + timedelta(days=1), NOW)
    assert is_settled(None, NOW)
