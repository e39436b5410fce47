"""The clock of the open question: when it was asked, and when its answer is due."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from coach_ai.interview.model import Interview, Turn

_PRESIGNED_AT = re.compile(r"/(\d{1,14})_[0-9a-f]+\.[a-z0-9]+$")
"""The time in the key of a recording, in milliseconds since 1970. Media writes it."""


@dataclass(frozen=True, slots=True)
class AnswerClock:
    """`due_at` is None without a time limit."""

    asked_at: datetime
    due_at: datetime | None

    def get_remaining_seconds(self, now: datetime) -> int | None:
        """Return the full seconds that are left, at least 0, or None without a time limit."""
        if self.due_at is None:
            return None
        return max(0, math.floor((self.due_at - now).total_seconds()))

    def get_late_seconds(self, answered_at: datetime) -> int:
        """Return by how many seconds an answer is late, rounded up, or 0 if it is in time."""
        if self.due_at is None:
            return 0
        return max(0, math.ceil((answered_at - self.due_at).total_seconds()))

    def find_answer_time(self, audio_s3_key: str | None, *, arrived_at: datetime) -> datetime:
        """Return when an answer counts as given.

        A recording counts from the start of its upload, if the question had been asked by then. Any
        other message counts from its arrival.
        """
        found = None if audio_s3_key is None else _PRESIGNED_AT.search(audio_s3_key)
        if found is None:
            return arrived_at
        presigned_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(found[1]))
        return presigned_at if self.asked_at <= presigned_at <= arrived_at else arrived_at


def read_clock(interview: Interview, turns: Sequence[Turn]) -> AnswerClock:
    """Return the clock of the open question or follow-up.

    It starts with the turn that asked it. A moment, a hint and a repetition ask nothing new.
    `turns` are all stored turns, oldest first.
    """
    asked = find_asking_turn(interview, turns)
    limit = interview.setup.time_limit_seconds
    due_at = None if limit is None else asked.created_at + timedelta(seconds=limit)
    return AnswerClock(asked.created_at, due_at)


def find_asking_turn(interview: Interview, turns: Sequence[Turn]) -> Turn:
    """Return the turn that asked the open question or follow-up."""
    return next(turn for turn in reversed(turns) if _has_asked(turn, interview.question_number))


def _has_asked(turn: Turn, question_number: int) -> bool:
    return turn.number == 0 or turn.gap is not None or turn.question_number < question_number
