"""Joins the scores of an interview's answers, with evidence and a study plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from coach_ai.domain import Feedback, Importance, PointStatus
from coach_ai.interview.flow import join_answer, list_probed_gaps
from coach_ai.interview.model import Intent, Interview, PlannedQuestion, Turn

_MAX_STUDY_ITEMS = 6
_WEAK_BELOW = 70
"""An answer below this score gets an exercise."""
_SKIPPED = "You skipped this question."
_NOT_REACHED = "The interview ended before this question was answered."


@dataclass(frozen=True, slots=True)
class AssessedAnswer:
    """A planned question with the answer to it.

    `feedback` is None if the question was not answered; `reason` then says why.
    """

    number: int
    question_id: str
    question: str
    competence: str
    answer: str | None
    follow_ups: int
    feedback: Feedback | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class StudyItem:
    """Something to practise, and the question that showed it."""

    question_number: int
    competence: str
    text: str
    drill: str | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """The result of an interview. A score is None if no answer has one."""

    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    summary: str
    answers: tuple[AssessedAnswer, ...]
    study_plan: tuple[StudyItem, ...]
    assessed_at: datetime


def assess(
    interview: Interview,
    turns: Sequence[Turn],
    *,
    at: datetime,
    rescored: Mapping[int, Feedback] | None = None,
) -> Assessment:
    """Return the assessment of an interview.

    Each score is the mean of the answers that have it. Questions without an answer count nowhere.
    `rescored` replaces the stored feedback of these question numbers.
    """
    answers = tuple(
        _assess_answer(number, planned, turns, rescored or {})
        for number, planned in enumerate(interview.plan.questions, 1)
    )
    found = [one.feedback for one in answers if one.feedback is not None]
    scored = [one for one in found if one.overall_score is not None]
    return Assessment(
        overall_score=_mean([one.overall_score for one in found]),
        communication_score=_mean([one.communication_score for one in found]),
        technical_score=_mean([one.technical_score for one in found]),
        clarity_score=_mean([one.clarity_score for one in found]),
        summary=_summarise(len(scored), answers),
        answers=answers,
        study_plan=_plan_study(answers),
        assessed_at=at,
    )


def _assess_answer(
    number: int,
    planned: PlannedQuestion,
    turns: Sequence[Turn],
    rescored: Mapping[int, Feedback],
) -> AssessedAnswer:
    own = [turn for turn in turns if turn.question_number == number]
    answer = join_answer(own, number) or None
    feedback = rescored.get(number) or next(
        (turn.feedback for turn in reversed(own) if turn.feedback is not None), None
    )
    reason = None
    if feedback is None:
        is_skipped = any(turn.intent is Intent.SKIP for turn in own)
        reason = _SKIPPED if is_skipped else _NOT_REACHED
    elif feedback.overall_score is None:
        reason = feedback.detailed_feedback
    return AssessedAnswer(
        number=number,
        question_id=planned.question.id,
        question=planned.question.text,
        competence=planned.competence,
        answer=answer,
        follow_ups=len(list_probed_gaps(own, number)),
        feedback=feedback,
        reason=reason,
    )


def _mean(scores: Sequence[int | None]) -> int | None:
    known = [score for score in scores if score is not None]
    # Half points are rounded up, as a reader expects.
    return (2 * sum(known) + len(known)) // (2 * len(known)) if known else None


def _summarise(scored: int, answers: Sequence[AssessedAnswer]) -> str:
    if not scored:
        return "No answer of this interview could be scored, so there are no scores."
    sentences = [f"{scored} of {len(answers)} planned questions have a scored answer."]
    ranked = sorted(
        (one for one in answers if one.feedback and one.feedback.overall_score is not None),
        key=lambda one: (one.feedback.overall_score or 0) if one.feedback else 0,
    )
    if len(ranked) > 1:
        sentences.append(
            f"Your strongest answer was to question {ranked[-1].number}, your weakest to question"
            f" {ranked[0].number}."
        )
    return " ".join(sentences)


def _plan_study(answers: Sequence[AssessedAnswer]) -> tuple[StudyItem, ...]:
    """Return what to practise, weakest answer first: its exercise, then its missing points."""
    items: list[StudyItem] = []
    for one in sorted(answers, key=_rank):
        feedback = one.feedback
        if feedback is None:
            if one.reason == _SKIPPED:
                text = f"Prepare an answer to: {one.question}"
                items.append(StudyItem(one.number, one.competence, text))
            continue
        main = feedback.main_improvement
        if main is not None and (feedback.overall_score or 0) < _WEAK_BELOW:
            items.append(StudyItem(one.number, one.competence, main.text, main.drill))
        items += [
            StudyItem(one.number, one.competence, f"Not found in your answer: {point.text}")
            for point in feedback.points
            if point.importance is Importance.MUST and point.status is not PointStatus.COVERED
        ]
    return tuple(items[:_MAX_STUDY_ITEMS])


def _rank(answer: AssessedAnswer) -> tuple[int, int]:
    feedback = answer.feedback
    score = None if feedback is None else feedback.overall_score
    return (101 if score is None else score, answer.number)
