"""The technical score: one formula for all scorers. Plain Python."""

from collections.abc import Sequence

from coach_ai.domain import Importance, PointCoverage, PointStatus

_WEIGHTS = {Importance.MUST: 1.0, Importance.BONUS: 0.4}
_CREDITS = {
    PointStatus.COVERED: 1.0,
    PointStatus.PARTLY: 0.5,
    PointStatus.MISSING: 0.0,
    PointStatus.CONTRADICTED: -0.5,
}
_MAX_REQUIRED_BONUS = 0.4
"""Bonus weight that a full score needs: one bonus point."""
_MISCONCEPTION_PENALTY = 0.25
_MAX_COMMUNICATION_LOSS = 0.1
"""Share of the technical score that poor communication can take from the overall score."""


def compute_technical_score(points: Sequence[PointCoverage], misconceptions: int = 0) -> int:
    """Return the technical score, 0 to 100.

    The score is 100 · (Σ weight · credit - 0.25 · misconceptions) / (Σ must weights + bonus),
    limited to 0 and 100. A must weighs 1 and a bonus 0.4. The credit is 1 for covered, 0.5 for
    partly, 0 for missing and -0.5 for contradicted. `bonus` is the weight of one bonus point, or 0
    if there is none.
    """
    gained = sum(_WEIGHTS[one.importance] * _CREDITS[one.status] for one in points)
    musts = sum(one.importance is Importance.MUST for one in points)
    bonuses = _WEIGHTS[Importance.BONUS] * (len(points) - musts)
    required = musts + min(bonuses, _MAX_REQUIRED_BONUS)
    if not required:
        return 0
    share = (gained - _MISCONCEPTION_PENALTY * misconceptions) / required
    return round(100 * min(1.0, max(0.0, share)))


def compute_overall_score(technical: int, communication: int | None) -> int:
    """Return the overall score of an answer with checked points. It never exceeds `technical`."""
    missing = (100 - communication) / 100 if communication is not None else 0.0
    return round(technical * (1 - _MAX_COMMUNICATION_LOSS * missing))
