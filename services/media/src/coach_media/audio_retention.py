"""How long the audio of a user is kept. Plain Python: no I/O, no clock, no framework."""

from datetime import datetime, timedelta
from enum import StrEnum


class AudioRetention(StrEnum):
    """When the audio of a recording is deleted. Its transcript and feedback stay."""

    AFTER_FEEDBACK = "after_feedback"
    """Once the feedback of its session is ready, at the latest after 30 days."""
    DAYS_30 = "30_days"
    DAYS_90 = "90_days"
    KEEP = "keep"

    @property
    def max_age(self) -> timedelta | None:
        """How long after the confirmation of the upload its audio is kept at most."""
        return _MAX_AGES.get(self)


_MAX_AGES = {
    AudioRetention.AFTER_FEEDBACK: timedelta(days=30),
    AudioRetention.DAYS_30: timedelta(days=30),
    AudioRetention.DAYS_90: timedelta(days=90),
}


def audio_deletion_time(
    retention: AudioRetention, *, confirmed_at: datetime, feedback_at: datetime | None
) -> datetime | None:
    """Return when the audio of a confirmed recording is deleted, or None if it is kept."""
    if retention is AudioRetention.AFTER_FEEDBACK and feedback_at is not None:
        return feedback_at
    return None if retention.max_age is None else confirmed_at + retention.max_age
