"""When a question is due again: the scheduler `fsrs`, rated by the scores of the answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from fsrs import Card as FsrsCard
from fsrs import Rating, Scheduler

from coach_ai.domain import Feedback, Importance, PointStatus
from coach_ai.scoring.rubric import load_rubric

MAX_REVIEWS = 50
"""Answers to one question that are kept. They alone decide when it is due."""

_RETRY_DELAY = timedelta(minutes=10)
"""A weak answer is due again after the time it takes to read its feedback. The first step of
fsrs, one minute, suits a flashcard and not an answer of several minutes."""
_MISSING_STATUSES = (PointStatus.MISSING, PointStatus.CONTRADICTED)


@dataclass(frozen=True, slots=True)
class Review:
    """The score of one answer to a question, 0 to 100, and codes of what it lacks.

    `answer_id` is the session or the interview of the answer.
    """

    answer_id: UUID
    answered_at: datetime
    score: int
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """The card of the scheduler: how well a question is known, and when it is due again."""

    state: int
    step: int | None
    stability_days: float
    difficulty: float
    due_at: datetime
    reviewed_at: datetime
    last_score: int


@dataclass(frozen=True, slots=True)
class Card:
    """The part of a user's schedule of a question that suggestions need.

    `competence` is what the question tests.
    """

    question_id: str
    competence: str
    stability_days: float
    due_at: datetime
    reviewed_at: datetime
    last_score: int

    def is_due(self, at: datetime) -> bool:
        """Return True if the question should be asked again."""
        return self.due_at <= at

    @property
    def is_weak(self) -> bool:
        """True if the last answer is below level 3 of the rubric."""
        return self.last_score < weak_below()

    def retrievability(self, at: datetime) -> float:
        """Return the estimated probability, 0 to 1, that a good answer is still known."""
        card = FsrsCard(
            card_id=0,
            stability=self.stability_days,
            due=self.due_at,
            last_review=self.reviewed_at,
        )
        return _scheduler().get_card_retrievability(card, at)


def rate(score: int) -> Rating:
    """Return the rating of a score.

    The limits are the points of the rubric's levels: below level 2 is `Again`, below level 3 is
    `Hard`, below level 4 is `Good`, the rest is `Easy`. docs/quality.md has the measured mean score
    of each level.
    """
    points = load_rubric().points
    for level, rating in ((2, Rating.Again), (3, Rating.Hard), (4, Rating.Good)):
        if score < points[level]:
            return rating
    return Rating.Easy


def weak_below() -> int:
    """Return the points of level 3. An answer with a lower score is weak."""
    return load_rubric().points[3]


def compute_schedule(reviews: Sequence[Review]) -> Schedule:
    """Return the schedule after these reviews, oldest first. There is at least one.

    The same reviews always give the same schedule.
    """
    scheduler = _scheduler()
    # An id of its own makes the library sleep.
    card = FsrsCard(card_id=0, due=reviews[0].answered_at)
    for review in reviews:
        card, _ = scheduler.review_card(card, rate(review.score), review.answered_at)
    if card.stability is None or card.difficulty is None:
        raise ValueError("a reviewed card has a stability and a difficulty")
    return Schedule(
        state=card.state.value,
        step=card.step,
        stability_days=card.stability,
        difficulty=card.difficulty,
        due_at=card.due,
        reviewed_at=reviews[-1].answered_at,
        last_score=reviews[-1].score,
    )


def list_gaps(feedback: Feedback) -> tuple[str, ...]:
    """Return codes of what an answer lacks: `part:result`, `point:p1` or `level:structure`.

    They are the missing story parts, the required points that are missing or contradicted, and the
    dimensions below level 3.
    """
    return (
        *(f"part:{name}" for name, quote in feedback.star.items() if quote is None),
        *(
            f"point:{one.id}"
            for one in feedback.points
            if one.importance is Importance.MUST and one.status in _MISSING_STATUSES
        ),
        *(
            f"level:{one.name}"
            for one in feedback.dimensions
            if one.level is not None and one.level < 3
        ),
    )


def describe_gap(code: str) -> str:
    """Return a gap in words. Points are not quoted, because they are the solution."""
    kind, _, name = code.partition(":")
    if kind == "part":
        return f"{name} missing"
    if kind == "point":
        return "the same expected point missing"
    return f"{name} below level 3"


@cache
def _scheduler() -> Scheduler:
    # Without fuzzing the same answers give the same plan.
    return Scheduler(
        learning_steps=(_RETRY_DELAY,), relearning_steps=(_RETRY_DELAY,), enable_fuzzing=False
    )
