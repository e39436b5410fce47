"""Decides what the interviewer does after a message. The persona has no influence."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from coach_ai.domain import Feedback
from coach_ai.interview.company_style import get_depth
from coach_ai.interview.gaps import find_gap
from coach_ai.interview.model import (
    MAX_FOLLOW_UPS,
    MAX_TURNS,
    Gap,
    Intent,
    Interview,
    PlannedQuestion,
    Turn,
)


class Step(StrEnum):
    """What the interviewer does next."""

    NEXT = "next"
    FOLLOW_UP = "follow_up"
    WAIT = "wait"
    LISTEN = "listen"
    REPEAT = "repeat"
    ASK_AGAIN = "ask_again"
    HINT = "hint"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step. `question` is the question that is open afterwards, or None at the end.

    `follow_ups` counts the earlier follow-ups to it. `repeated` is the follow-up to repeat.
    """

    step: Step
    question_number: int
    question: PlannedQuestion | None = None
    gap: Gap | None = None
    follow_ups: int = 0
    is_skipped: bool = False
    repeated: str | None = None


def decide(
    interview: Interview,
    turns: Sequence[Turn],
    intent: Intent,
    answer: str,
    feedback: Feedback | None,
) -> Decision:
    """Return the next step after a message.

    Args:
        interview: The interview before the message.
        turns: Its stored turns, oldest first.
        intent: What the message asks for.
        answer: All parts of the answer to the open question, the message included.
        feedback: The score of `answer`, or None if the message is no answer.
    """
    number, current = interview.question_number, interview.current
    probed = list_probed_gaps(turns, number)
    if interview.turn_count >= MAX_TURNS - 1:
        return Decision(Step.CLOSE, number)
    match intent:
        case Intent.MOMENT:
            return Decision(Step.WAIT, number, current)
        case Intent.ACKNOWLEDGEMENT:
            return Decision(Step.LISTEN, number, current)
        case Intent.REPEAT:
            return Decision(Step.REPEAT, number, current, repeated=_find_open_probe(turns, number))
        case Intent.NO_ANSWER:
            return Decision(
                Step.ASK_AGAIN, number, current, repeated=_find_open_probe(turns, number)
            )
        case Intent.HINT:
            return Decision(Step.HINT, number, current)
        case _:
            pass
    if feedback is not None and len(probed) < MAX_FOLLOW_UPS:
        depth = get_depth(interview.setup.style)
        gap = find_gap(answer, feedback, current.question.type, probed, max_depth=depth)
        if gap is not None:
            return Decision(Step.FOLLOW_UP, number, current, gap, follow_ups=len(probed))
    if interview.is_last_question:
        return Decision(Step.CLOSE, number)
    return Decision(
        Step.NEXT,
        number + 1,
        interview.plan.questions[number],
        is_skipped=intent is Intent.SKIP,
    )


def list_probed_gaps(turns: Sequence[Turn], question_number: int) -> list[Gap]:
    """Return the gaps that follow-ups to a question probed, oldest first."""
    return [
        turn.gap
        for turn in turns
        if turn.question_number == question_number and turn.gap is not None
    ]


def list_answer_turns(turns: Sequence[Turn], question_number: int) -> list[Turn]:
    """Return the turns with parts of the answer to a question, oldest first."""
    return [
        turn
        for turn in turns
        if turn.question_number == question_number and turn.intent is Intent.ANSWER
    ]


def join_answer(turns: Sequence[Turn], question_number: int, message: str = "") -> str:
    """Return all parts of the answer to a question as one text."""
    parts = [turn.message for turn in list_answer_turns(turns, question_number)]
    return "\n\n".join(part for part in (*parts, message) if part)


def _find_open_probe(turns: Sequence[Turn], question_number: int) -> str | None:
    """Return the last follow-up to a question, or None if there is none."""
    for turn in reversed(turns):
        if turn.question_number == question_number and turn.gap is not None:
            return turn.response
    return None
