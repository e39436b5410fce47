"""Leases: rows that one replica works on until a time, measured by the database's clock."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_

from coach_common.db.tables import UtcDateTime


def is_lease_free(
    leased_until: ColumnElement[UtcDateTime], *, now: datetime, duration: timedelta
) -> ColumnElement[bool]:
    """Return a condition that holds if no replica holds the lease.

    A lease further in the future than its own duration was taken before the clock was set back.
    It counts as expired, so that a corrected clock blocks no row.
    """
    return or_(
        leased_until.is_(None),
        leased_until < now,
        leased_until > now + duration,
    )
