"""Ratings, intervals and gaps of reviewed questions."""

from datetime import UTC, datetime, timedelta

import pytest
from fsrs import Rating

from coach_ai.domain import (
    DimensionLevel,
    Feedback,
    Importance,
    PointCoverage,
    PointStatus,
)
from coach_ai.practice.schedule import (
    Card,
    Review,
    compute_schedule,
    describe_gap,
    list_gaps,
    rate,
    weak_below,
)
from coach_common.ids import new_id

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def _reviews(*answers: tuple[int, timedelta]) -> list[Review]:
    """Return reviews of scores, each given at a distance from AT."""
    return [Review(new_id(), AT + distance, score) for score, distance in answers]


def _card(score: int) -> Card:
    """Return the card after one answer at AT."""
    schedule = compute_schedule(_reviews((score, 0 * DAY)))
    return Card("q", "databases", schedule.stability_days, schedule.due_at, AT, score)


@pytest.mark.parametrize(
    ("score", "rating"),
    [
        (0, Rating.Again),
        (39, Rating.Again),
        (40, Rating.Hard),
        (59, Rating.Hard),
        (60, Rating.Good),
        (79, Rating.Good),
        (80, Rating.Easy),
        (100, Rating.Easy),
    ],
)
def test_rating_follows_points_of_rubric_levels(score: int, rating: Rating) -> None:
    assert rate(score) is rating


@pytest.mark.parametrize(
    ("score", "interval"), [(30, 10 * MINUTE), (50, 15 * MINUTE), (70, 2 * DAY), (85, 8 * DAY)]
)
def test_first_answer_is_due_again_the_later_the_better_it_was(
    score: int, interval: timedelta
) -> None:
    assert compute_schedule(_reviews((score, 0 * DAY))).due_at - AT == interval


def test_repeated_good_answers_lengthen_the_interval() -> None:
    once = compute_schedule(_reviews((70, 0 * DAY)))
    twice = compute_schedule(_reviews((70, 0 * DAY), (70, 2 * DAY)))

    assert twice.due_at - twice.reviewed_at > once.due_at - once.reviewed_at
    assert twice.difficulty == pytest.approx(once.difficulty, abs=0.5)


def test_weak_answer_brings_a_known_question_back_the_same_day() -> None:
    schedule = compute_schedule(_reviews((85, 0 * DAY), (85, 8 * DAY), (30, 60 * DAY)))

    assert schedule.due_at == AT + 60 * DAY + 10 * MINUTE
    assert schedule.last_score == 30


def test_same_reviews_give_the_same_schedule() -> None:
    reviews = _reviews((70, 0 * DAY), (50, 3 * DAY), (90, 3 * DAY + MINUTE))

    assert compute_schedule(reviews) == compute_schedule(reviews)


def test_retrievability_falls_with_time() -> None:
    card = _card(70)
    values = [card.retrievability(AT + days * DAY) for days in (0, 2, 30)]

    assert values[0] == 1
    assert values[1] == pytest.approx(0.9, abs=0.02)
    assert values[2] < values[1]


def test_answer_below_level_3_is_weak() -> None:
    scores = (weak_below() - 1, weak_below())

    assert [_card(one).is_weak for one in scores] == [True, False]


def test_gaps_are_missing_parts_required_points_and_low_dimensions() -> None:
    points = tuple(
        PointCoverage(f"p{number}", "A point.", importance, status)
        for number, (importance, status) in enumerate(
            [
                (Importance.MUST, PointStatus.MISSING),
                (Importance.BONUS, PointStatus.MISSING),
                (Importance.MUST, PointStatus.PARTLY),
                (Importance.MUST, PointStatus.CONTRADICTED),
            ]
        )
    )
    dimensions = (
        DimensionLevel("structure", 2.5, 0.5),
        DimensionLevel("clarity", 3.0, 0.5),
        DimensionLevel("delivery", None, 0.0),
    )
    feedback = Feedback(
        50, None, None, None, (), "", "local", "m", "4",
        star={"action": "I did it.", "result": None}, points=points, dimensions=dimensions,
    )  # fmt: skip

    assert list_gaps(feedback) == ("part:result", "point:p0", "point:p3", "level:structure")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("part:result", "result missing"),
        ("point:p1", "the same expected point missing"),
        ("level:structure", "structure below level 3"),
    ],
)
def test_gap_is_described_in_words(code: str, words: str) -> None:
    assert describe_gap(code) == words
