"""Leases and due times of rows that replicas share, measured by the database's clock.

A time further in the future than it can have been set was set before the clock was set back. It
counts as past, so that a corrected clock blocks no row. `latest` is that furthest time.
"""

from datetime import datetime

from sqlalchemy import BindParameter, ColumnElement, and_, or_

from coach_common.db.tables import UtcDateTime

Time = datetime | BindParameter[datetime]


def is_lease_free(
    leased_until: ColumnElement[UtcDateTime], *, now: Time, latest: Time
) -> ColumnElement[bool]:
    """Return a condition that holds if no replica holds the lease."""
    return or_(leased_until.is_(None), leased_until < now, leased_until > latest)


def is_lease_held(
    leased_until: ColumnElement[UtcDateTime], *, now: Time, latest: Time
) -> ColumnElement[bool]:
    """Return a condition that holds if a replica holds the lease."""
    return and_(leased_until >= now, leased_until <= latest)


def is_due(
    due_at: ColumnElement[UtcDateTime],
    *,
    now: Time,
    latest: Time,
    is_undelayed: ColumnElement[bool] | None = None,
) -> ColumnElement[bool]:
    """Return a condition that holds if the row is due.

    A row for which `is_undelayed` holds was due when it was written, whatever the clock said then.
    """
    condition = or_(due_at <= now, due_at > latest)
    return condition if is_undelayed is None else or_(condition, is_undelayed)
