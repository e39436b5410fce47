"""Repair of lost events: when a sweep checks a waiting row again, and what it has repaired."""

from datetime import datetime, timedelta

from prometheus_client import Counter

REPAIRS = Counter(
    "coach_repairs", "Effects of lost events that were restored.", ["service", "effect"]
)

DEFAULT_DELAY = timedelta(minutes=1)
"""How long a row waits for the effect of an event before the sweep checks it."""

SETTLING_TIME = timedelta(seconds=10)
"""A fact that is younger than this may still be on its way to its consumers."""

MAX_DELAY = timedelta(days=1)
"""The longest interval between two checks of a row."""

REPUBLICATION_GROWTH = 3
"""`growth` of events that are published again until nothing can have lost them. With a first delay
of one minute, that is after 1, 4, 16, … minutes, and once per day in the end."""

_REPAIR_WINDOW = timedelta(days=30)


def next_repair_at(
    now: datetime,
    *,
    waiting_since: datetime,
    delay: timedelta,
    growth: int = 1,
    max_delay: timedelta = MAX_DELAY,
) -> datetime | None:
    """Return when the sweep checks a row again, or None if it has waited for 30 days.

    The interval grows from `delay` to `max_delay`, because some rows wait for days without a fault:
    a session whose recording is on an offline phone. It is the time waited multiplied by `growth`,
    so with 1 it doubles.
    """
    waited = now - waiting_since
    if waited > _REPAIR_WINDOW:
        return None
    return now + min(max(growth * waited, delay), max_delay)


def is_settled(changed_at: datetime | None, now: datetime) -> bool:
    """Return whether consumers had the time to receive a fact.

    A time in the future was written before the clock was set back, and counts as settled.
    """
    return changed_at is None or not now - SETTLING_TIME < changed_at <= now
