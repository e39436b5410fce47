"""The order in which questions are suggested, and the reasons in words."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from coach_ai.domain import Question, QuestionType
from coach_ai.practice.ranking import (
    ReasonCode,
    Suggestion,
    describe_reason,
    rank,
    rank_weak_points,
)
from coach_ai.practice.schedule import Card, Review, compute_schedule
from coach_common.ids import new_id

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def _question(question_id: str, field: str = "databases", **more: Any) -> Question:
    return Question(question_id, f"{question_id}?", QuestionType.KNOWLEDGE, field, **more)


def _card(
    question: Question, *scores: int, ago: timedelta = 30 * DAY, gaps: tuple[str, ...] = ()
) -> Card:
    """Return the card after answers with these scores, the last one some time ago."""
    reviews = _reviews(*scores, ago=ago, gaps=gaps)
    schedule = compute_schedule(reviews)
    return Card(
        question.id,
        question.competence,
        schedule.stability_days,
        schedule.due_at,
        schedule.reviewed_at,
        schedule.last_score,
    )


def _reviews(*scores: int, ago: timedelta = DAY, gaps: tuple[str, ...] = ()) -> list[Review]:
    first = AT - ago - len(scores) * DAY
    return [
        Review(new_id(), first + (number + 1) * DAY, score, gaps)
        for number, score in enumerate(scores)
    ]


def _ids(suggestions: list[Suggestion]) -> list[str]:
    return [one.question.id for one in suggestions]


def test_due_questions_come_weak_first_then_least_retrievable() -> None:
    weak, old, recent, later, new = (
        _question(name) for name in ("weak", "old", "recent", "later", "new")
    )
    cards = {
        "weak": _card(weak, 50, ago=DAY),
        "old": _card(old, 70, ago=90 * DAY),
        "recent": _card(recent, 70, ago=3 * DAY),
        "later": _card(later, 90, ago=DAY),
    }

    ranked = rank([new, later, recent, old, weak], cards, AT)

    assert _ids(ranked) == ["weak", "old", "recent", "new", "later"]
    assert [one.code for one in ranked] == [
        ReasonCode.WEAK, ReasonCode.DUE, ReasonCode.DUE, ReasonCode.NEW, ReasonCode.LATER,
    ]  # fmt: skip


def test_new_questions_of_the_weakest_competence_come_first() -> None:
    answered = [_question("a", "networking"), _question("b", "security"), _question("c", "testing")]
    scores = {"a": 55, "b": 30, "c": 80}
    cards = {one.id: _card(one, scores[one.id], ago=timedelta()) for one in answered}
    new = [_question(f"new-{field}", field) for field in ("testing", "networking", "security")]

    ranked = rank([*new, _question("other", "python")], cards, AT)

    assert _ids(ranked) == ["new-security", "new-networking", "other", "new-testing"]


def test_question_of_a_real_interview_comes_before_other_new_and_due_ones() -> None:
    earlier = _question("earlier", asked_at=date(2026, 11, 1))
    later = _question("later", asked_at=date(2026, 11, 20))
    undated = _question("undated", asked_by="Example Ltd.")
    due, due_real = _question("due"), _question("due-real", asked_by="Example Ltd.")
    cards = {"due": _card(due, 70, ago=90 * DAY), "due-real": _card(due_real, 70, ago=3 * DAY)}

    ranked = rank([_question("new"), undated, earlier, later, due, due_real], cards, AT)

    assert _ids(ranked) == ["due-real", "due", "later", "earlier", "undated", "new"]


def test_weak_points_come_lowest_score_first_even_before_they_are_due() -> None:
    names = ("strong", "weak", "weakest", "other")
    strong, weak, weakest, other = (_question(name, name) for name in names)
    cards = {
        "strong": _card(strong, 90, ago=90 * DAY),
        "weak": _card(weak, 55, ago=timedelta(minutes=1)),
        "weakest": _card(weakest, 20, ago=timedelta(minutes=1)),
    }
    new_of_weak = _question("new-of-weak", "weak")

    ranked = rank_weak_points([other, new_of_weak, strong, weak, weakest], cards, AT)

    assert _ids(ranked) == ["weakest", "weak", "new-of-weak", "strong", "other"]
    assert [one.code for one in ranked[:2]] == [ReasonCode.WEAK] * 2


@pytest.mark.parametrize(
    ("scores", "gaps", "reason"),
    [
        ((50, 50, 50), ("part:result",), "Weak: result missing in 3 of the last 3 answers."),
        ((50, 50), ("level:clarity",), "Weak: clarity below level 3 in 2 of the last 2 answers."),
        ((50,), ("part:result",), "Weak: your last answer has 50 points."),
        ((50, 50, 45), (), "Weak: your last answer has 45 points."),
    ],
)
def test_weak_question_names_the_gap_that_repeats(
    scores: tuple[int, ...], gaps: tuple[str, ...], reason: str
) -> None:
    question = _question("q")
    suggestion = Suggestion(question, ReasonCode.WEAK, _card(question, *scores))

    assert describe_reason(suggestion, _reviews(*scores, gaps=gaps), AT) == reason


@pytest.mark.parametrize(
    ("code", "distance", "reason"),
    [
        (ReasonCode.DUE, 2 * DAY + timedelta(hours=5), "Due again for 2 days."),
        (ReasonCode.DUE, timedelta(hours=1, minutes=59), "Due again for 1 hour."),
        (ReasonCode.DUE, timedelta(seconds=5), "Due again for 1 minute."),
        (ReasonCode.LATER, -3 * DAY, "Not due yet: due in 3 days."),
    ],
)
def test_reason_of_an_answered_question_names_the_time(
    code: ReasonCode, distance: timedelta, reason: str
) -> None:
    question = _question("q")
    card = _card(question, 70)
    at = card.due_at + distance

    assert describe_reason(Suggestion(question, code, card), (), at) == reason


@pytest.mark.parametrize(
    ("more", "mean", "reason"),
    [
        ({}, None, "New: you have not answered it yet."),
        ({}, 45.4, "New: your answers about machine learning average 45 points."),
        (
            {"asked_at": date(2026, 11, 20), "asked_by": "Example Ltd."},
            45.4,
            "New: asked in a real interview by Example Ltd. on 2026-11-20.",
        ),
    ],
)
def test_reason_of_a_new_question(more: dict[str, Any], mean: float | None, reason: str) -> None:
    question = _question("q", "machine-learning", **more)
    suggestion = Suggestion(question, ReasonCode.NEW, competence_mean=mean)

    assert describe_reason(suggestion, (), AT) == reason
