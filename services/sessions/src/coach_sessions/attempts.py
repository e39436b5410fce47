"""Attempts at one question, and what changed between two of them. No I/O, no framework."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import NAMESPACE_URL, UUID, uuid5

from coach_common.events.feedback import PointCoverage
from coach_sessions.domain import Feedback

DEFAULT_SCORE_SPREAD = 10.0
"""The spread in points of a feedback that states none: of older releases and of language models.

Source: docs/quality.md, "Repeatability".
"""

POINTS_PER_LEVEL = 20
"""Points of a score between two levels of a dimension: `points` of ai's rubric (v4.yaml)."""

_QUOTATION_MARKS = str.maketrans("‘’“”", "''\"\"")
_FINAL_PUNCTUATION = " .?!…"
_POINT_RANKS = {"contradicted": 0, "missing": 1, "partly": 2, "covered": 3}
_POINT_STATES = {
    "covered": "covered",
    "partly": "partly covered",
    "missing": "missing",
    "contradicted": "contradicted",
}


class Verdict(StrEnum):
    """How a value of an attempt compares with the same value of the attempt before."""

    BETTER = "better"
    WORSE = "worse"
    NO_CLEAR_CHANGE = "no_clear_change"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A session as one of the attempts at a question. `feedback` is None until it is ready."""

    id: UUID
    created_at: datetime
    completed_at: datetime | None
    status: str
    feedback: Feedback | None = None
    self_rating: int | None = None
    revealed_at: datetime | None = None
    """When the user first read the score."""

    @property
    def is_scored(self) -> bool:
        """True if it can be compared with another attempt."""
        return self.feedback is not None and self.feedback.overall_score is not None

    @property
    def self_rating_gap(self) -> int | None:
        """The self-rating minus the score, or None if one of them is missing."""
        score = None if self.feedback is None else self.feedback.overall_score
        return None if score is None or self.self_rating is None else self.self_rating - score


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A score or the level of a dimension in two attempts."""

    name: str
    before: float
    after: float
    verdict: Verdict
    text: str

    @property
    def difference(self) -> float:
        """The later value minus the earlier one."""
        return round(self.after - self.before, 2)


@dataclass(frozen=True, slots=True)
class PointChange:
    """An expected point in two attempts. `before` and `after` are states of `PointCoverage`."""

    id: str
    point: str
    before: str
    after: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one attempt to the next. Values that one of them lacks are left out."""

    previous_session_id: UUID
    spread: float
    """A score that changed by less than this many points shows no clear change."""
    is_same_scorer: bool
    scores: list[ValueChange]
    dimensions: list[ValueChange]
    points: list[PointChange]
    summary: str


@dataclass(frozen=True, slots=True)
class AttemptPage:
    """A page of attempts with what changed, newest first.

    `next_position` is the position of the next page, or None on the last page.
    """

    attempts: list[tuple[Attempt, Comparison | None]]
    next_position: tuple[datetime, UUID] | None


def normalize_question(text: str) -> str:
    """Return a question without the differences that do not change it.

    These are case, white space, final punctuation and the form of quotation marks.
    """
    folded = unicodedata.normalize("NFKC", text).translate(_QUOTATION_MARKS).casefold()
    return " ".join(folded.split()).rstrip(_FINAL_PUNCTUATION)


def build_question_key(session_id: UUID, question_id: str | None, question: str | None) -> UUID:
    """Return the key that all attempts at a question share.

    Sessions with a question id share the id, even if their texts differ. Others share the
    normalised text. The two are apart, because expected points are checked only for an id.
    A session without a question has its own key.
    """
    if question_id is not None:
        return uuid5(NAMESPACE_URL, f"question-id:{question_id}")
    normalized = normalize_question(question or "")
    return uuid5(NAMESPACE_URL, f"question-text:{normalized}") if normalized else session_id


def compare_attempts(
    attempts: Sequence[Attempt], earlier: Attempt | None
) -> list[tuple[Attempt, Comparison | None]]:
    """Return each attempt with what changed since the scored attempt before it.

    Args:
        attempts: Attempts at one question, newest first.
        earlier: The newest scored attempt that is older than all of them.
    """
    compared: list[tuple[Attempt, Comparison | None]] = []
    previous = earlier
    for attempt in reversed(attempts):
        if not attempt.is_scored:
            compared.append((attempt, None))
            continue
        compared.append((attempt, None if previous is None else _compare(previous, attempt)))
        previous = attempt
    return compared[::-1]


def classify_change(before: float, after: float, spread: float) -> Verdict:
    """Return the verdict on a change. A change below the spread is no clear change."""
    if before == after or abs(after - before) < spread:
        return Verdict.NO_CLEAR_CHANGE
    return Verdict.BETTER if after > before else Verdict.WORSE


def find_spread(*scored: Feedback) -> float:
    """Return the largest spread of these feedbacks, in points."""
    spreads = (one.score_spread for one in scored)
    return max(DEFAULT_SCORE_SPREAD if spread is None else spread for spread in spreads)


def _compare(previous: Attempt, attempt: Attempt) -> Comparison | None:
    before, after = previous.feedback, attempt.feedback
    if before is None or after is None:
        return None
    spread = find_spread(before, after)
    scores = _value_changes(before.scores, after.scores, "The {} score", spread)
    dimensions = _value_changes(
        before.levels, after.levels, "The level of {}", spread / POINTS_PER_LEVEL
    )
    points = list(_point_changes(before.points, after.points))
    is_same_scorer = before.scorer == after.scorer
    return Comparison(
        previous_session_id=previous.id,
        spread=spread,
        is_same_scorer=is_same_scorer,
        scores=scores,
        dimensions=dimensions,
        points=points,
        summary=_summarize(scores, dimensions, points, is_same_scorer=is_same_scorer),
    )


def _value_changes(
    before: Mapping[str, float | None],
    after: Mapping[str, float | None],
    subject: str,
    spread: float,
) -> list[ValueChange]:
    """Return the changes of the values that both have. `subject` begins their sentences."""
    changes = []
    for name, new in after.items():
        old = before.get(name)
        if old is None or new is None:
            continue
        verdict = classify_change(old, new, spread)
        text = f"{subject.format(name)} {_change_words(verdict, old, new)}."
        changes.append(ValueChange(name, old, new, verdict, text))
    return changes


def _change_words(verdict: Verdict, before: float, after: float) -> str:
    if verdict is Verdict.NO_CLEAR_CHANGE:
        return f"shows no clear change ({before:g}, then {after:g})"
    direction = "rose" if verdict is Verdict.BETTER else "fell"
    return f"{direction} from {before:g} to {after:g}"


def _point_changes(
    before: Sequence[PointCoverage], after: Sequence[PointCoverage]
) -> Iterable[PointChange]:
    # A newer release may know other states.
    earlier = {point.id: point.status for point in before if point.status in _POINT_RANKS}
    for point in after:
        if point.id not in earlier or point.status not in _POINT_RANKS:
            continue
        old, new = earlier[point.id], point.status
        verdict = classify_change(_POINT_RANKS[old], _POINT_RANKS[new], 0)
        was, is_now = _POINT_STATES[old], _POINT_STATES[new]
        change = f"is still {was}" if was == is_now else f"was {was} and is now {is_now}"
        text = f"“{point.text}” {change}."
        yield PointChange(point.id, point.text, old, new, verdict, text)


def _summarize(
    scores: Sequence[ValueChange],
    dimensions: Sequence[ValueChange],
    points: Sequence[PointChange],
    *,
    is_same_scorer: bool,
) -> str:
    sentences = [change.text for change in scores if change.name == "overall"]
    # Feedback of older releases has no dimensions.
    parts = dimensions or [change for change in scores if change.name != "overall"]
    for verdict, word in ((Verdict.BETTER, "Better"), (Verdict.WORSE, "Worse")):
        names = [change.name for change in parts if change.verdict is verdict]
        if names:
            sentences.append(f"{word}: {', '.join(names)}.")
    sentences += [change.text for change in points if change.verdict is not Verdict.NO_CLEAR_CHANGE]
    if not is_same_scorer:
        sentences.append("Another version scored this attempt, which may explain a difference.")
    return " ".join(sentences)
