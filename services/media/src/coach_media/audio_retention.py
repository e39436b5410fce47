"""How long the audio of a user is kept. Plain Python: no I/O, no clock, no framework."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What decides how long the audio of a user is kept."""

    chosen: AudioRetention | None
    """The choice of the user, or None without one."""
    default: AudioRetention
    is_storage_refused: bool
    """True if the user has refused the consent to storage. No decision is no refusal."""

    @property
    def wanted(self) -> AudioRetention:
        """The choice of the user, or the default."""
        return self.chosen or self.default

    @property
    def effective(self) -> AudioRetention:
        """What applies. A refusal limits the choice, which counts again once it is withdrawn."""
        return AudioRetention.AFTER_FEEDBACK if self.is_storage_refused else self.wanted


def audio_deletion_time(
    retention: AudioRetention, *, confirmed_at: datetime, feedback_at: datetime | None
) -> datetime | None:
    """Return when the audio of a confirmed recording is deleted, or None if it is kept."""
    if retention is AudioRetention.AFTER_FEEDBACK and feedback_at is not None:
        return feedback_at
    return None if retention.max_age is None else confirmed_at + retention.max_age
