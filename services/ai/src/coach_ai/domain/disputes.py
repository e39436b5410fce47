"""A dispute: the user doubts the score, and the answer is scored a second time."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from coach_ai.domain.feedback import Feedback
from coach_common.errors import Conflict

MAX_REASON_CHARACTERS = 1000
DEFAULT_SPREAD = 10.0
"""Points by which two scorings of an answer may differ if no spread was measured. Nine of ten
graded answers have a smaller spread (docs/quality.md)."""
_LEVEL_POINTS = 20
"""Points of a score that one level of a dimension is worth."""


class AlreadyDisputed(Conflict):
    """The score of a session can be disputed once."""

    code = "already_disputed"

    def __init__(self) -> None:
        super().__init__("This score is disputed already. Its feedback shows the second scoring.")


class DisputeStatus(StrEnum):
    """How far a dispute is."""

    SCORING = "scoring"
    DONE = "done"
    FAILED = "failed"


class DisputeOutcome(StrEnum):
    """What the second scoring shows."""

    CONFIRMED = "confirmed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute of a session's score. `second` is None until the second scoring is done."""

    session_id: UUID
    user_id: UUID
    created_at: datetime
    status: DisputeStatus = DisputeStatus.SCORING
    second: Feedback | None = None
    failure_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second scoring compared with the first.

    Attributes:
        difference: Points of the second overall score minus those of the first. None if the second
            scoring has no score.
        spread: Points by which scorings of the same answer differ.
        text: The result in sentences for the user.
    """

    difference: int | None
    spread: float
    outcome: DisputeOutcome
    text: str


def compare(first: Feedback, second: Feedback) -> Comparison:
    """Return how the second scoring differs. `first` has a score.

    Raises:
        ValueError: If `first` has no score.
    """
    before, after = first.overall_score, second.overall_score
    if before is None:
        raise ValueError("the first feedback has no score")
    spreads = [one.score_spread for one in (first, second) if one.score_spread is not None]
    spread = max(spreads, default=DEFAULT_SPREAD)
    if after is None:
        text = f"The second scoring has no score: {second.detailed_feedback}"
        return Comparison(None, spread, DisputeOutcome.CHANGED, text)
    difference = after - before
    is_changed = abs(difference) > spread
    sentences = [f"The second scoring gives {after} points, the first one {before}."]
    if is_changed:
        sentences.append(f"The difference is larger than the usual spread of {spread:g} points.")
    else:
        sentences.append(f"This is within the usual spread of {spread:g} points.")
    sentences += _describe_dimensions(first, second, spread)
    if (first.provider, first.model, first.rubric_version) != (
        second.provider, second.model, second.rubric_version,
    ):  # fmt: skip
        sentences.append("Another version of the scorer gave the second score.")
    elif second.provider == "local":
        sentences.append(
            "The local scorer gives the same words the same score. The spread is how far its"
            " readings of them differ."
        )
    sentences.append("The first score stays in your history.")
    outcome = DisputeOutcome.CHANGED if is_changed else DisputeOutcome.CONFIRMED
    return Comparison(difference, spread, outcome, " ".join(sentences))


def _describe_dimensions(first: Feedback, second: Feedback, spread: float) -> list[str]:
    """Return a sentence per dimension whose level differs by more than the spread."""
    before = {one.name: one.level for one in first.dimensions}
    sentences = []
    for one in second.dimensions:
        level = before.get(one.name)
        if one.level is None or level is None:
            continue
        if abs(one.level - level) * _LEVEL_POINTS > spread:
            sentences.append(f"{one.name.capitalize()}: level {one.level:g} instead of {level:g}.")
    return sentences
