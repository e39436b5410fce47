"""Attempts at one question, and what changed between them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from coach_common.events.feedback import DeliveryMetrics, DimensionLevel, PointCoverage
from coach_sessions.attempts import (
    DEFAULT_SCORE_SPREAD,
    Attempt,
    Comparison,
    Verdict,
    build_question_key,
    compare_attempts,
)
from coach_sessions.domain import Feedback

NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)


def _attempt(number: int, overall: int | None = 60, **changed: object) -> Attempt:
    facts: dict[str, object] = {
        "strengths": [],
        "improvements": [],
        "detailed_feedback": "",
        "evidence": [],
        "delivery": DeliveryMetrics(),
        "generated_at": NOW,
        "communication_score": 60,
        "technical_score": None,
        "clarity_score": 60,
        "provider": "local",
        "model": "rubric",
        "rubric_version": "1",
        "score_spread": 4.0,
    }
    return Attempt(UUID(int=number), NOW, NOW, "ready", Feedback(overall, **facts | changed))


def _change(before: Attempt, after: Attempt) -> Comparison:
    (_, change), _ = compare_attempts([after, before], None)
    assert change is not None
    return change


def _point(status: str) -> PointCoverage:
    return PointCoverage(id="p", text="An index makes reads faster.", status=status)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ((None, "Why us?"), (None, "  why   US "), True),
        ((None, "Don’t you agree?"), (None, "don't you agree…"), True),
        ((None, "What is C++?"), (None, "What is C?"), False),
        (("db-index", "Why?"), ("db-index", "Indexes, please?"), True),
        (("db-index", "Why?"), (None, "Why?"), False),
        ((None, None), (None, None), False),
        ((None, "?!"), (None, "?!"), False),
    ],
)
def test_question_key_is_shared_by_the_same_question_only(
    one: tuple[str | None, str | None], other: tuple[str | None, str | None], is_same: bool
) -> None:
    keys = {build_question_key(UUID(int=n), *facts) for n, facts in enumerate((one, other))}

    assert (len(keys) == 1) is is_same


@pytest.mark.parametrize(
    ("after", "verdict", "text"),
    [
        (64, Verdict.BETTER, "The overall score rose from 60 to 64."),
        (63, Verdict.NO_CLEAR_CHANGE, "The overall score shows no clear change (60, then 63)."),
        (60, Verdict.NO_CLEAR_CHANGE, "The overall score shows no clear change (60, then 60)."),
        (57, Verdict.NO_CLEAR_CHANGE, "The overall score shows no clear change (60, then 57)."),
        (56, Verdict.WORSE, "The overall score fell from 60 to 56."),
    ],
)
def test_change_below_the_spread_is_no_clear_change(
    after: int, verdict: Verdict, text: str
) -> None:
    overall = _change(_attempt(1), _attempt(2, after)).scores[0]

    assert (overall.name, overall.difference) == ("overall", after - 60)
    assert (overall.verdict, overall.text) == (verdict, text)


@pytest.mark.parametrize(
    ("spreads", "expected"),
    [((1.0, 7.5), 7.5), ((None, 1.0), DEFAULT_SCORE_SPREAD), ((0.0, 0.0), 0.0)],
)
def test_larger_spread_of_both_attempts_counts(
    spreads: tuple[float | None, float | None], expected: float
) -> None:
    before, after = (_attempt(number, score_spread=one) for number, one in enumerate(spreads))

    assert _change(before, after).spread == expected


def test_change_names_dimensions_and_points_of_both_attempts() -> None:
    levels = [DimensionLevel(name="structure", level=2.5), DimensionLevel(name="delivery")]
    later = [
        DimensionLevel(name="structure", level=2.7),
        DimensionLevel(name="delivery", level=3),
        DimensionLevel(name="clarity", level=3),
    ]

    change = _change(
        _attempt(1, 40, dimensions=levels, points=[_point("missing")]),
        _attempt(2, 60, dimensions=later, points=[_point("covered")], model="rubric-2"),
    )

    assert [(one.name, one.difference, one.verdict) for one in change.dimensions] == [
        ("structure", 0.2, Verdict.BETTER)
    ]
    assert not change.is_same_scorer
    assert change.summary == (
        "The overall score rose from 40 to 60. Better: structure. “An index makes reads faster.”"
        " was missing and is now covered. Another version scored this attempt, which may explain a"
        " difference."
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict", "words"),
    [
        ("contradicted", "missing", "better", "was contradicted and is now missing."),
        ("covered", "partly", "worse", "was covered and is now partly covered."),
        ("missing", "missing", "no_clear_change", "is still missing."),
    ],
)
def test_point_change_compares_states(before: str, after: str, verdict: str, words: str) -> None:
    (point,) = _change(
        _attempt(1, points=[_point(before)]), _attempt(2, points=[_point(after)])
    ).points

    assert (point.before, point.after, point.verdict) == (before, after, verdict)
    assert point.text == f"“An index makes reads faster.” {words}"


def test_point_state_of_a_newer_release_is_left_out() -> None:
    change = _change(_attempt(1, points=[_point("hinted")]), _attempt(2, points=[_point("hinted")]))

    assert change.points == []


def test_attempt_without_score_is_skipped() -> None:
    waiting = Attempt(UUID(int=4), NOW, None, "not_completed")
    newest, rejected, first = _attempt(3, 70), _attempt(2, None), _attempt(1)

    compared = compare_attempts([waiting, newest, rejected], first)

    changes = [change and change.previous_session_id for _, change in compared]
    assert changes == [None, first.id, None]
