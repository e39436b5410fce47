"""Progress of a user: trends, practice, recurring weaknesses and the next drill. No I/O.

An entry holds what progress needs of one completed session. It is a function of the session, so
the stored entries equal those that are computed again from the sessions.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from uuid import UUID
from zoneinfo import ZoneInfo

from coach_common.errors import InvalidInput
from coach_sessions.domain import Session
from coach_sessions.kind import SessionKind

WINDOW_ENTRIES = 10
"""A trend compares this many scored sessions with as many before them."""

MIN_ENTRIES_TO_COMPARE = 3
"""With fewer values on one side, the interval of the difference is too wide to be of use."""

MAX_STREAK_DAYS = 366
"""A longer streak is shown as this many days, so that its cost is bounded."""

QUARTER_SECONDS = 900
"""Practice is stored per quarter of an hour: offsets of current time zones are multiples of it."""

LOW_LEVEL = 3.0
"""The scorers remark on a dimension below this level."""

MIN_RECURRENCES = 2

QUARTERS_PER_DAY = 96
_SCALES = {"score": (0.0, 100.0), "dimension": (1.0, 5.0), "gap": (-100.0, 100.0)}
_LOW_POINT_STATES = ("missing", "contradicted")
_T_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
)  # fmt: skip
"""Quantiles 0.975 of Student's t for 1 to 19 degrees of freedom.

Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
"""

_DRILLS = {
    "relevance": "Repeat the question in your own words before you speak. Then answer only that.",
    "structure": "Answer in four sentences, one each for scene, task, action and result.",
    "specificity": "Find three numbers (how many, how long, how much) and answer again with them.",
    "reasoning": "Repeat each claim and continue with “because”, then with “but then”.",
    "technical": "Write down the three facts that a correct answer needs. Answer from that list.",
    "clarity": "Record the answer again with a full stop after every idea and short sentences.",
    "delivery": "Record the answer again, and close your mouth after each sentence.",
}


@dataclass(frozen=True, slots=True)
class MissedPoint:
    """An expected point that an answer did not contain or contradicted."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """What progress needs of a scored answer."""

    question: str
    """The key of the question, as text."""
    scores: dict[str, float] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    missed_points: list[MissedPoint] = field(default_factory=list)
    scorer: str = ""
    """Provider, model and rubric."""


@dataclass(frozen=True, slots=True)
class ProgressEntry:
    """A completed session in the progress of its user."""

    session_id: UUID
    user_id: UUID
    created_at: datetime
    practised_at: datetime
    practice_seconds: int
    self_rating: int | None = None
    answer: ScoredAnswer | None = None
    """None until the session has a score."""

    @property
    def quarter(self) -> int:
        """The quarter of an hour in which the session was completed, since 1970 in UTC."""
        return int(self.practised_at.timestamp()) // QUARTER_SECONDS

    @property
    def score(self) -> float | None:
        """The overall score."""
        return None if self.answer is None else self.answer.scores.get("overall")

    @property
    def gap(self) -> float | None:
        """The self-rating minus the score, or None if one of them is missing."""
        if self.self_rating is None or self.score is None:
            return None
        return self.self_rating - self.score


@dataclass(frozen=True, slots=True)
class PracticeDay:
    """The practice of one UTC day: completed sessions per quarter of an hour (0 to 95)."""

    day: int
    """Days since 1970."""
    seconds: int
    quarters: dict[int, int]

    def add(self, quarter: int, seconds: int, count: int) -> "PracticeDay":
        """Return the day with `count` sessions more in a quarter, or fewer if it is negative."""
        quarters = dict(self.quarters)
        quarters[quarter] = quarters.get(quarter, 0) + count
        kept = {name: number for name, number in sorted(quarters.items()) if number > 0}
        return PracticeDay(self.day, self.seconds + seconds * count, kept)

    def list_local_dates(self, zone: tzinfo) -> set[date]:
        """Return the dates of its practice in a time zone. A UTC day has parts of at most three."""
        dates: set[date] = set()
        midnight = 0
        for quarter in sorted(self.quarters):
            number = self.day * QUARTERS_PER_DAY + quarter
            if number < midnight:
                continue
            local_date = datetime.fromtimestamp(number * QUARTER_SECONDS, zone).date()
            dates.add(local_date)
            next_day = datetime.combine(local_date + timedelta(days=1), time(), zone)
            midnight = int(next_day.timestamp()) // QUARTER_SECONDS
        return dates


@dataclass(frozen=True, slots=True)
class PracticeTotals:
    """Completed sessions and their duration, over all time."""

    sessions: int = 0
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class Practice:
    """How much a user has practised. The last days are UTC days, today included."""

    totals: PracticeTotals
    seconds_last_7_days: int
    seconds_last_30_days: int


@dataclass(frozen=True, slots=True)
class Streak:
    """Consecutive days with practice, up to today, or to yesterday if there was none today."""

    days: int
    has_practised_today: bool


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % confidence interval. `low` and `high` are None for one value."""

    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Trend:
    """A score or dimension in the newest sessions, compared with the sessions before."""

    kind: str
    name: str
    recent: Interval
    earlier: Interval | None
    verdict: str
    text: str


@dataclass(frozen=True, slots=True)
class Weakness:
    """A dimension or an expected point that was low in several of the newest sessions."""

    kind: str
    name: str
    text: str
    session_ids: list[UUID]


@dataclass(frozen=True, slots=True)
class Drill:
    """The exercise for the weakest dimension."""

    dimension: str
    exercise: str
    reason: str


@dataclass(frozen=True, slots=True)
class SelfAssessment:
    """The gap between self-ratings and scores. `entries` have both, newest first."""

    entries: list[ProgressEntry]
    gap: Interval | None
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a user."""

    practice: Practice
    streak: Streak
    trends: list[Trend]
    is_same_scorer: bool
    """Whether one version of the scorer scored all sessions of the trends."""
    self_assessment: SelfAssessment
    weaknesses: list[Weakness]
    next_drill: Drill | None


def build_entry(session: Session, question_key: UUID) -> ProgressEntry | None:
    """Return the entry of a session, or None until it is completed.

    An interview counts as practice. Its scores are means of several answers and no answer.
    """
    if session.completed_at is None:
        return None
    feedback = session.final_feedback
    answer = None
    is_practice = session.kind is SessionKind.PRACTICE
    if is_practice and feedback is not None and feedback.overall_score is not None:
        answer = ScoredAnswer(
            question=str(question_key),
            scores=_known(feedback.scores),
            levels=_known(feedback.levels),
            missed_points=[
                MissedPoint(point.id, point.text)
                for point in feedback.points
                if point.importance == "must" and point.status in _LOW_POINT_STATES
            ],
            scorer=feedback.scorer,
        )
    return ProgressEntry(
        session_id=session.id,
        user_id=session.user_id,
        created_at=session.created_at,
        practised_at=session.completed_at,
        practice_seconds=_practice_seconds(session),
        self_rating=session.self_rating,
        answer=answer,
    )


def parse_time_zone(name: str) -> tzinfo:
    """Return the time zone with an IANA name.

    Raises:
        InvalidInput: If there is none.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidInput("tz: must be an IANA time zone such as Europe/Berlin") from None


def count_days(entries: Iterable[ProgressEntry]) -> tuple[PracticeTotals, list[PracticeDay]]:
    """Return the totals and the practice days of these entries, which the stored ones equal."""
    totals, days = PracticeTotals(), dict[int, PracticeDay]()
    for entry in entries:
        totals = PracticeTotals(totals.sessions + 1, totals.seconds + entry.practice_seconds)
        day, quarter = divmod(entry.quarter, QUARTERS_PER_DAY)
        known = days.get(day, PracticeDay(day, 0, {}))
        days[day] = known.add(quarter, entry.practice_seconds, 1)
    return totals, [days[day] for day in sorted(days)]


def sum_practice(totals: PracticeTotals, days: Iterable[PracticeDay], now: datetime) -> Practice:
    """Return how much was practised. `days` has at least the last 30 days."""
    today = int(now.timestamp()) // (QUARTERS_PER_DAY * QUARTER_SECONDS)
    ages = [(today - day.day, day.seconds) for day in days]
    return Practice(
        totals,
        seconds_last_7_days=sum(seconds for age, seconds in ages if age < 7),
        seconds_last_30_days=sum(seconds for age, seconds in ages if age < 30),
    )


def count_streak(dates: set[date], today: date) -> Streak:
    """Return the streak that ends today, or yesterday if there was no practice today."""
    expected = today if today in dates else today - timedelta(days=1)
    days = 0
    while expected in dates and days < MAX_STREAK_DAYS:
        days += 1
        expected -= timedelta(days=1)
    return Streak(days, today in dates)


def compute_interval(values: Sequence[float], kind: str) -> Interval | None:
    """Return the mean with its 95 % interval, or None without values.

    The interval is mean ± t(0.975, n - 1) · s / √n, cut off at the ends of the scale.
    Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.2.
    """
    if not values:
        return None
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return Interval(n, round(mean, 2), None, None)
    half = _T_QUANTILES[n - 2] * statistics.stdev(values) / math.sqrt(n)
    lowest, highest = _SCALES[kind]
    return Interval(
        n,
        round(mean, 2),
        round(max(mean - half, lowest), 2),
        round(min(mean + half, highest), 2),
    )


def compare_windows(recent: Sequence[float], earlier: Sequence[float]) -> str:
    """Return `better`, `worse`, `no_clear_change` or `too_few` for two windows of values.

    A change is clear if the 95 % interval of the difference of both means does not contain 0:
    difference ± t(0.975, n + m - 2) · s · √(1/n + 1/m), with the pooled standard deviation s.
    Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.3 (equal variances).
    """
    n, m = len(recent), len(earlier)
    if min(n, m) < MIN_ENTRIES_TO_COMPARE:
        return "too_few"
    difference = statistics.fmean(recent) - statistics.fmean(earlier)
    squares = (n - 1) * statistics.variance(recent) + (m - 1) * statistics.variance(earlier)
    pooled = math.sqrt(squares / (n + m - 2))
    half = _T_QUANTILES[n + m - 3] * pooled * math.sqrt(1 / n + 1 / m)
    # Means of equal values may differ in their last bit.
    if abs(difference) <= max(half, 1e-9):
        return "no_clear_change"
    return "better" if difference > 0 else "worse"


def compute_trends(entries: Sequence[ProgressEntry]) -> list[Trend]:
    """Return the trend of each score and dimension in scored entries, newest first."""
    answers = [entry.answer for entry in entries if entry.answer is not None]
    recent, earlier = answers[:WINDOW_ENTRIES], answers[WINDOW_ENTRIES : 2 * WINDOW_ENTRIES]
    trends = []
    for kind in ("score", "dimension"):
        new, old = ([_values(answer, kind) for answer in part] for part in (recent, earlier))
        for name in dict.fromkeys(name for values in new for name in values):
            trend = _build_trend(kind, name, _pick(new, name), _pick(old, name))
            if trend is not None:
                trends.append(trend)
    return trends


def is_same_scorer(entries: Iterable[ProgressEntry]) -> bool:
    """Return whether one version of the scorer scored these entries."""
    return len({entry.answer.scorer for entry in entries if entry.answer is not None}) <= 1


def find_weaknesses(entries: Sequence[ProgressEntry]) -> list[Weakness]:
    """Return what was low in several of the newest scored entries, the most frequent first.

    An expected point that the newest answer to its question contains is no weakness any more.
    """
    recent = [entry for entry in entries if entry.answer is not None][:WINDOW_ENTRIES]
    low: dict[tuple[str, str], list[UUID]] = {}
    texts: dict[tuple[str, str], str] = {}
    answered: set[str] = set()
    current_points: set[tuple[str, str]] = set()
    for entry in recent:
        answer = entry.answer
        if answer is None:
            continue
        for name, level in answer.levels.items():
            if level < LOW_LEVEL:
                low.setdefault(("dimension", name), []).append(entry.session_id)
                texts["dimension", name] = f"The level of {name} was below {LOW_LEVEL:g}."
        for point in answer.missed_points:
            key = ("point", f"{answer.question}/{point.id}")
            if answer.question not in answered:
                current_points.add(key)
            if key in current_points:
                low.setdefault(key, []).append(entry.session_id)
                texts.setdefault(key, point.text)
        answered.add(answer.question)
    found = [
        Weakness(kind, name.rpartition("/")[2], texts[kind, name], session_ids)
        for (kind, name), session_ids in low.items()
        if len(session_ids) >= MIN_RECURRENCES
    ]
    return sorted(found, key=lambda one: (-len(one.session_ids), one.kind, one.name))


def choose_drill(trends: Iterable[Trend]) -> Drill | None:
    """Return the exercise for the dimension with the lowest mean level, or None without levels."""
    known = [one for one in trends if one.kind == "dimension" and one.name in _DRILLS]
    if not known:
        return None
    weakest = min(known, key=lambda one: (one.recent.mean, one.name))
    sessions = "session" if weakest.recent.n == 1 else f"{weakest.recent.n} sessions"
    reason = (
        f"Your lowest mean level is {weakest.recent.mean:g}, for {weakest.name},"
        f" in the last {sessions} with this dimension."
    )
    return Drill(weakest.name, _DRILLS[weakest.name], reason)


def assess_self_ratings(entries: Sequence[ProgressEntry]) -> SelfAssessment:
    """Return the gap between self-ratings and scores, over the entries that have both."""
    rated = [entry for entry in entries if entry.gap is not None]
    gaps = [entry.gap for entry in rated if entry.gap is not None][:WINDOW_ENTRIES]
    gap = compute_interval(gaps, "gap")
    if gap is None:
        return SelfAssessment([], None, "There is no self-rating of a scored answer yet.")
    if gap.low is None or gap.high is None or gap.low <= 0 <= gap.high:
        text = "Your self-ratings show no clear difference from the scores."
    else:
        direction = "above" if gap.mean > 0 else "below"
        text = f"You rate yourself {abs(gap.mean):g} points {direction} the score on average."
    return SelfAssessment(rated, gap, text)


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None}


def _practice_seconds(session: Session) -> int:
    """Return the duration that the client sent, else that of the scored recording, else 0."""
    if session.duration_seconds is not None:
        return session.duration_seconds
    audio = None if session.final_feedback is None else session.final_feedback.audio
    return 0 if audio is None else round(audio.duration_seconds)


def _values(answer: ScoredAnswer, kind: str) -> Mapping[str, float]:
    return answer.scores if kind == "score" else answer.levels


def _pick(values: Iterable[Mapping[str, float]], name: str) -> list[float]:
    return [one[name] for one in values if name in one]


def _build_trend(
    kind: str, name: str, recent: Sequence[float], earlier: Sequence[float]
) -> Trend | None:
    interval = compute_interval(recent, kind)
    if interval is None:
        return None
    before = compute_interval(earlier, kind)
    verdict = compare_windows(recent, earlier)
    subject = f"The mean {name} score" if kind == "score" else f"The mean level of {name}"
    if before is None or verdict == "too_few":
        text = f"{subject} is {interval.mean:g}. There are too few sessions to compare."
    elif verdict == "no_clear_change":
        text = f"{subject} shows no clear change ({before.mean:g}, then {interval.mean:g})."
    else:
        direction = "rose" if verdict == "better" else "fell"
        text = f"{subject} {direction} from {before.mean:g} to {interval.mean:g}."
    return Trend(kind, name, interval, before, verdict, text)
