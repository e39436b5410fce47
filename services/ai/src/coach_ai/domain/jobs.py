"""Jobs: transcribing a recording or scoring a session, claimed under a lease."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

LEASE_DURATION = timedelta(seconds=30)
LEASE_RENEWAL_SECONDS = 10.0
MAX_CLAIMS = 3
"""Claims without an outcome (the worker died each time) after which a job fails."""
RETRY_WINDOW = timedelta(hours=24)
"""How long a job is retried while its provider is unavailable."""

_MIN_BACKOFF_SECONDS = 2.0
_MAX_BACKOFF_SECONDS = 15 * 60.0


class JobKind(StrEnum):
    """What a job does."""

    TRANSCRIPTION = "transcription"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job. `lease_token` proves that the caller still owns the lease."""

    id: UUID
    kind: JobKind
    subject_id: UUID
    """The upload id of a transcription, the session id of feedback."""
    user_id: UUID
    created_at: datetime
    lease_token: UUID
    claims: int
    tries: int
    reason: str | None

    def backoff(self, jitter: float) -> timedelta:
        """Return the delay before the next try.

        It doubles from 2 s to 15 minutes. `jitter` (0 to 1) shortens it by up to a quarter, so that
        jobs that failed together are not retried together.
        """
        seconds = min(_MAX_BACKOFF_SECONDS, _MIN_BACKOFF_SECONDS * 2.0**self.tries)
        return timedelta(seconds=seconds * (1 - jitter / 4))


@dataclass(frozen=True, slots=True)
class ClaimableJob:
    """A user's first waiting job, with the number of that user's jobs that are running."""

    id: UUID
    user_id: UUID
    running: int
