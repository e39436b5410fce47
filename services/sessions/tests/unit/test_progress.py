"""Trends, practice, weaknesses and the next drill."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from coach_common.errors import InvalidInput
from coach_sessions.progress import (
    MAX_STREAK_DAYS,
    Interval,
    MissedPoint,
    PracticeDay,
    PracticeTotals,
    ProgressEntry,
    ScoredAnswer,
    assess_self_ratings,
    choose_drill,
    compare_windows,
    compute_interval,
    compute_trends,
    count_days,
    count_streak,
    find_weaknesses,
    parse_time_zone,
    sum_practice,
)

NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)
TODAY = NOW.date()


def _entry(
    number: int,
    score: float | None = 60,
    *,
    at: datetime = NOW,
    seconds: int = 60,
    rating: int | None = None,
    levels: dict[str, float] | None = None,
    missed: tuple[str, ...] = (),
    question: str = "q",
) -> ProgressEntry:
    answer = None
    if score is not None:
        points = [MissedPoint(name, f"Say {name}.") for name in missed]
        answer = ScoredAnswer(question, {"overall": score}, levels or {}, points)
    return ProgressEntry(UUID(int=number), UUID(int=9), at, at, seconds, rating, answer)


def _days(entries: list[ProgressEntry]) -> list[PracticeDay]:
    return count_days(entries)[1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([70], Interval(1, 70, None, None)),
        # 70 ± 2.776 · 15.811 / √5
        ([50, 60, 70, 80, 90], Interval(5, 70, 50.37, 89.63)),
        ([95, 100], Interval(2, 97.5, 65.73, 100.0)),
        ([60] * 10, Interval(10, 60, 60, 60)),
    ],
)
def test_interval_is_student_t_and_ends_at_the_scale(
    values: list[float], expected: Interval | None
) -> None:
    assert compute_interval(values, "score") == expected


@pytest.mark.parametrize(
    ("recent", "earlier", "verdict"),
    [
        ([70, 72, 74], [50, 52, 54], "better"),
        ([50, 52, 54], [70, 72, 74], "worse"),
        ([50, 70, 90], [48, 66, 88], "no_clear_change"),
        ([60, 60, 60], [60, 60, 60], "no_clear_change"),
        ([90, 90], [50, 50, 50], "too_few"),
        ([90] * 10, [50] * 10, "better"),
    ],
)
def test_windows_differ_if_the_interval_excludes_zero(
    recent: list[float], earlier: list[float], verdict: str
) -> None:
    assert compare_windows(recent, earlier) == verdict


def test_trends_compare_ten_sessions_with_the_ten_before() -> None:
    entries = [_entry(n, 80, levels={"structure": 4}) for n in range(10)]
    entries += [_entry(n, 50 + n % 3, levels={"structure": 2, "old": 1}) for n in range(15)]

    overall, structure = compute_trends(entries)

    assert (overall.kind, overall.name, overall.verdict) == ("score", "overall", "better")
    assert overall.recent == Interval(10, 80, 80, 80)
    assert overall.earlier is not None and overall.earlier.n == 10
    assert overall.text == "The mean overall score rose from 50.9 to 80."
    assert (structure.kind, structure.text) == (
        "dimension",
        "The mean level of structure rose from 2 to 4.",
    )


def test_trend_of_few_sessions_is_not_compared() -> None:
    (trend,) = compute_trends([_entry(1, 60), _entry(2, None)])

    assert (trend.earlier, trend.verdict) == (None, "too_few")


def test_practice_is_summed_by_utc_day() -> None:
    ages = {0: 10, 6: 20, 7: 40, 29: 80, 30: 160}
    entries = [
        _entry(age, at=NOW - timedelta(days=age), seconds=seconds) for age, seconds in ages.items()
    ]
    totals, days = count_days(entries)

    practice = sum_practice(totals, days, NOW)

    assert practice.totals == PracticeTotals(5, 310)
    assert (practice.seconds_last_7_days, practice.seconds_last_30_days) == (30, 150)


def test_practice_day_adds_and_removes_the_same() -> None:
    day = PracticeDay(1, 60, {40: 1})

    added = day.add(40, 30, 1).add(41, 5, 1)

    assert added == PracticeDay(1, 95, {40: 2, 41: 1})
    assert added.add(41, 5, -1).add(40, 30, -1) == day


@pytest.mark.parametrize(
    ("ages", "days", "is_today"),
    [
        ([], 0, False),
        ([0], 1, True),
        ([1], 1, False),
        ([2], 0, False),
        ([0, 1, 2, 4], 3, True),
        ([1, 2], 2, False),
        (range(500), MAX_STREAK_DAYS, True),
    ],
    ids=["none", "today", "yesterday", "broken", "gap", "until yesterday", "more than a year"],
)
def test_streak_ends_today_or_yesterday(ages: list[int], days: int, is_today: bool) -> None:
    streak = count_streak({TODAY - timedelta(days=age) for age in ages}, TODAY)

    assert (streak.days, streak.has_practised_today) == (days, is_today)


@pytest.mark.parametrize(
    ("zone", "dates"),
    [
        ("UTC", {date(2026, 3, 28), date(2026, 3, 29)}),
        ("Europe/Berlin", {date(2026, 3, 29)}),
        ("Asia/Kathmandu", {date(2026, 3, 29), date(2026, 3, 30)}),
        ("America/Los_Angeles", {date(2026, 3, 28), date(2026, 3, 29)}),
    ],
)
def test_dates_of_practice_follow_the_time_zone(zone: str, dates: set[date]) -> None:
    """Berlin changes to summer time at 01:00 UTC on 29 March 2026."""
    times = [
        datetime(2026, 3, 28, 23, 20, tzinfo=UTC),
        datetime(2026, 3, 29, 21, 50, tzinfo=UTC),
    ]
    days = _days([_entry(n, at=at) for n, at in enumerate(times)])

    assert set().union(*(day.list_local_dates(ZoneInfo(zone)) for day in days)) == dates


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", date(2026, 11, 4)),
        ("Europe/Berlin", date(2026, 10, 25)),
        ("America/Sao_Paulo", date(2018, 11, 4)),
        ("America/Havana", date(2026, 11, 1)),
        ("Asia/Kathmandu", date(2026, 11, 4)),
        ("Pacific/Apia", date(2011, 12, 30)),
        ("Australia/Lord_Howe", date(2026, 4, 4)),
    ],
)
def test_dates_of_a_dense_day_equal_those_of_each_quarter(zone: str, day: date) -> None:
    """On these days the offset of the zone changes, at midnight for some."""
    number = (day - date(1970, 1, 1)).days
    dense = PracticeDay(number, 0, dict.fromkeys(range(96), 1))
    quarters = [PracticeDay(number, 0, {quarter: 1}) for quarter in range(96)]

    expected = set().union(*(one.list_local_dates(ZoneInfo(zone)) for one in quarters))

    assert dense.list_local_dates(ZoneInfo(zone)) == expected


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/passwd", "UTC\0", "Z" * 64]
)
def test_unknown_time_zone_is_rejected(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_time_zone(name)


def test_weaknesses_are_low_in_several_sessions() -> None:
    entries = [
        _entry(1, levels={"structure": 2.9, "clarity": 2}, missed=("lock", "cost")),
        _entry(2, None),
        _entry(3, levels={"structure": 2, "clarity": 4}, missed=("lock", "cost", "index")),
        _entry(4, levels={"structure": 1}, missed=("index",)),
        _entry(5, missed=("lock",), question="other"),
    ]

    found = find_weaknesses(entries)

    assert [(one.kind, one.name, [id_.int for id_ in one.session_ids]) for one in found] == [
        ("dimension", "structure", [1, 3, 4]),
        ("point", "cost", [1, 3]),
        ("point", "lock", [1, 3]),
    ]
    assert (found[0].text, found[1].text) == ("The level of structure was below 3.", "Say cost.")


def test_drill_is_for_the_weakest_dimension_with_an_exercise() -> None:
    entries = [_entry(n, levels={"structure": 3, "clarity": 2.5, "novel": 1}) for n in range(2)]

    drill = choose_drill(compute_trends(entries))

    assert drill is not None
    assert (drill.dimension, drill.reason) == (
        "clarity",
        "Your lowest mean level is 2.5, for clarity, in the last 2 sessions with this dimension.",
    )
    assert choose_drill(compute_trends([_entry(1)])) is None


@pytest.mark.parametrize(
    ("ratings", "text"),
    [
        ([], "There is no self-rating of a scored answer yet."),
        ([80], "Your self-ratings show no clear difference from the scores."),
        ([50, 70], "Your self-ratings show no clear difference from the scores."),
        ([80, 82, 84], "You rate yourself 22 points above the score on average."),
        ([40, 42, 44], "You rate yourself 18 points below the score on average."),
    ],
)
def test_self_assessment_states_a_clear_gap_only(ratings: list[int], text: str) -> None:
    entries = [_entry(n, 60, rating=rating) for n, rating in enumerate(ratings)]

    assessment = assess_self_ratings([*entries, _entry(99), _entry(98, None, rating=5)])

    assert (assessment.text, assessment.entries) == (text, entries)
