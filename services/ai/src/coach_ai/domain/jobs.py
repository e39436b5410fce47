"""Jobs: transcribing a recording or scoring a session, once or again, claimed under a lease."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from coach_common.errors import Unavailable

LEASE_DURATION = timedelta(seconds=30)
LEASE_RENEWAL_SECONDS = 10.0
RETRY_WINDOW = timedelta(hours=24)
"""How long a job is retried. Only its own attempts and the delays between them count."""
MAX_BACKOFF = timedelta(minutes=15)
FREE_CLAIMS = 5
"""Claims in a row that may be interrupted before the next one is delayed."""
INTERRUPTION_DELAY = timedelta(seconds=1)

_MIN_BACKOFF_SECONDS = 2.0


class JobInterrupted(Unavailable):
    """The machine or an operator ended the work. It says nothing about the job itself."""


class JobKind(StrEnum):
    """What a job does."""

    TRANSCRIPTION = "transcription"
    FEEDBACK = "feedback"
    DISPUTE = "dispute"


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job. `lease_token` proves that the caller still owns the lease."""

    id: UUID
    kind: JobKind
    subject_id: UUID
    """The upload id of a transcription, the session id of feedback and disputes."""
    user_id: UUID
    created_at: datetime
    lease_token: UUID
    claims: int
    """Claims since the last attempt that the job itself ended, this one included."""
    tries: int
    """Attempts that the job itself ended without a result."""
    retried_seconds: float
    """Time spent on those attempts and on the delays after them."""
    reason: str | None
    traceparent: str | None = None
    """The trace context of the request or event that queued the job last."""

    @property
    def is_retry_window_over(self) -> bool:
        """Return whether the job was retried for 24 hours."""
        return self.retried_seconds >= RETRY_WINDOW.total_seconds()

    @property
    def has_spent_interruptions(self) -> bool:
        """Return whether so many claims were interrupted that the next one is delayed."""
        return self.claims > FREE_CLAIMS

    def backoff(self, jitter: float) -> timedelta:
        """Return the delay before the next try.

        It doubles from 2 s to 15 minutes. `jitter` (0 to 1) shortens it by up to a quarter, so that
        jobs that failed together are not retried together.
        """
        return exponential_backoff(self.tries) * (1 - jitter / 4)


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why an attempt failed. `reason` is a sentence for the user."""

    reason: str
    is_final: bool
    is_restartable: bool = False
    """Whether a final failure has a cause other than the answer, so that a restart may help."""


@dataclass(frozen=True, slots=True)
class ClaimableJob:
    """A user's first waiting job, with the number of that user's jobs that are running."""

    id: UUID
    user_id: UUID
    running: int


def exponential_backoff(tries: int) -> timedelta:
    """Return 2 s, doubled for each try, at most 15 minutes."""
    # The exponent is bounded, because a float overflows after 1,000 tries.
    return min(MAX_BACKOFF, timedelta(seconds=_MIN_BACKOFF_SECONDS * 2.0 ** min(tries, 20)))


def interruption_backoff(claims: int) -> timedelta:
    """Return the delay after the claim with this number if it is interrupted without a trace.

    A process that died cannot schedule the next claim, so the claim itself does.
    """
    return exponential_backoff(claims - FREE_CLAIMS) if claims > FREE_CLAIMS else timedelta()
