"""Coverage of a question's expected points by an answer, offline, and the technical score."""

from coach_ai.scoring.points.matcher import MatchedPoints, PointMatcher
from coach_ai.scoring.points.score import compute_overall_score, compute_technical_score

__all__ = ["MatchedPoints", "PointMatcher", "compute_overall_score", "compute_technical_score"]
