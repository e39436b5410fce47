"""The check of a question's expected points, as the local scorer uses it."""

from dataclasses import dataclass
from typing import Protocol

from coach_ai.domain import Answer, PointCoverage
from coach_ai.scoring.points import PointMatcher, compute_technical_score


@dataclass(frozen=True, slots=True)
class CheckedPoints:
    """The expected points of a question, and the technical score, 0 to 100, that they give."""

    points: tuple[PointCoverage, ...] = ()
    technical_score: int | None = None
    """None if the question has no points."""


class PointChecker(Protocol):
    """Compares an answer with the expected points of its question."""

    def check(self, answer: Answer) -> CheckedPoints:
        """Return the coverage of each point."""


class UncheckedPoints:
    """A PointChecker that checks nothing: without embeddings no point can be compared."""

    def check(self, answer: Answer) -> CheckedPoints:
        """Return no points and no score."""
        return CheckedPoints()


class MatchedPointChecker:
    """A PointChecker over the embeddings."""

    def __init__(self, matcher: PointMatcher) -> None:
        self._matcher = matcher

    def check(self, answer: Answer) -> CheckedPoints:
        """Return the coverage of each point of the answer's question, if it has points."""
        if answer.reference is None or not answer.reference.points:
            return CheckedPoints()
        matched = self._matcher.match(answer, answer.reference)
        score = compute_technical_score(matched.points, len(matched.misconceptions))
        return CheckedPoints(matched.points, score)
