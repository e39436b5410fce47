"""Notes that a real interviewer asked a question of the bank, and how many people noted it."""

from dataclasses import dataclass
from datetime import date

from coach_common.errors import Conflict

PEOPLE_STEP = 5
"""The number of people is shown from this number, and in steps of it, so that it identifies
no user."""


class OwnQuestionHasNoNote(Conflict):
    """The question is the user's own, whose fields state when and by whom it was asked."""

    code = "is_own_question"

    def __init__(self) -> None:
        super().__init__("Set asked_at and asked_by of an own question with PUT /questions/{id}.")


@dataclass(frozen=True, slots=True)
class InterviewNote:
    """When and by whom a question was asked in a real interview."""

    asked_at: date
    asked_by: str | None


def round_people(people: int) -> int | None:
    """Return the number of people that is shown, or None if they are too few."""
    return people // PEOPLE_STEP * PEOPLE_STEP or None
