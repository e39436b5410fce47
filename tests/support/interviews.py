"""A turn of an interview about databases, for the tests of interviewers."""

from datetime import UTC, datetime

from coach_ai.domain import Importance, PointCoverage, PointStatus
from coach_ai.interview.flow import Decision, Step
from coach_ai.interview.model import (
    Gap,
    GapKind,
    Intent,
    Interview,
    InterviewPlan,
    InterviewSetup,
    InterviewType,
    Manner,
    Persona,
    PlannedQuestion,
    Position,
    Turn,
)
from coach_ai.interview.rule_interviewer import TurnToWord
from coach_ai.interview.wording import write_opening
from coach_ai.questions.question_bank import load_question_bank
from coach_common.ids import new_id

NOW = datetime(2026, 11, 27, tzinfo=UTC)
ANSWER = (
    "An index lets the database find the matching rows at once. It does not read the whole table."
    " We used one for the orders of a shop."
)
QUOTE = "It does not read the whole table."


def make_turn_to_word(
    *, is_follow_up: bool = False, answer: str = ANSWER, gap: Gap | None = None
) -> TurnToWord:
    """Return a turn after an answer about indexes with one covered point.

    It asks for a missing point, or it asks the next question, which is about a failure.
    """
    persona = Persona(Manner.NEUTRAL, Position.ENGINEER)
    setup = InterviewSetup("T", InterviewType.TECHNICAL, persona)
    bank = load_question_bank()
    questions = [bank[one] for one in ("db-index", "behavioral-failure", "db-deadlock")]
    plan = InterviewPlan(tuple(PlannedQuestion(one, "databases", 4) for one in questions))
    interview = Interview(new_id(), new_id(), setup, plan, NOW, NOW)
    opening = Turn(0, 1, Intent.ANSWER, "", write_opening(persona, plan.questions[0]), NOW)
    covered = PointCoverage(
        "no-full-scan", "It reads less.", Importance.MUST, PointStatus.COVERED, QUOTE
    )
    decision = Decision(Step.NEXT, 2, plan.questions[1])
    if is_follow_up:
        gap = gap or Gap(GapKind.POINT_NOT_COVERED, QUOTE, "sorted-tree")
        decision = Decision(Step.FOLLOW_UP, 1, plan.questions[0], gap)
    return TurnToWord(interview, (opening,), Intent.ANSWER, answer, decision, (covered,))
