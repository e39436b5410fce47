"""Exports of all data of a user. Plain Python: no I/O, no clock, no framework."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from coach_common.errors import NotFound

EXPORT_LIFETIME = timedelta(days=7)
EXPORT_SERVICES = ("auth", "sessions", "media", "ai")
"""The services whose rows an export has."""
RETRY_DELAY = timedelta(minutes=5)
"""After this time the parts are requested again."""
MIN_INTERVAL = timedelta(minutes=10)
"""A user gets the same export for so long after the request."""
POLL_SECONDS = 5


class ExportNotFound(NotFound):
    """The export does not exist, has expired, or belongs to another user."""

    code = "export_not_found"

    def __init__(self) -> None:
        super().__init__("Export not found. An export is deleted after 7 days.")


@dataclass(frozen=True, slots=True)
class Export:
    """A copy of all data of a user that is being collected, or is ready."""

    id: UUID
    user_id: UUID
    attempt: int
    requested_at: datetime
    expires_at: datetime
    completed_at: datetime | None = None

    def is_current(self, now: datetime) -> bool:
        """Return whether it is too early for another export."""
        return self.completed_at is None or now - self.requested_at < MIN_INTERVAL


@dataclass(frozen=True, slots=True)
class PartCount:
    """How many parts of a service have arrived, and the number of its last part if known."""

    arrived: int
    last: int | None


def has_all_parts(counts: Mapping[str, PartCount]) -> bool:
    """Return whether every part of every service has arrived."""
    return all(
        name in counts and counts[name].arrived == counts[name].last for name in EXPORT_SERVICES
    )
