"""The rubric as data (`v4.yaml`), and the formula of the scores."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from coach_ai.domain import QuestionType


@dataclass(frozen=True, slots=True)
class Scores:
    """The four scores, 0 to 100, each None if it could not be determined."""

    overall: int | None
    communication: int | None
    technical: int | None
    clarity: int | None


@dataclass(frozen=True, slots=True)
class Rubric:
    """The dimensions with their levels, and the weights by which levels become scores."""

    version: str
    dimensions: Mapping[str, Mapping[str, Any]]
    points: Mapping[int, int]
    overall: Mapping[str, Mapping[str, float]]
    weights: Mapping[str, Mapping[str, float]]
    required_overall: Mapping[str, Sequence[str]]
    required_dimensions: Mapping[str, Sequence[str]]
    question_cues: Mapping[str, Sequence[str]]

    def classify_question(self, question: str | None) -> QuestionType:
        """Return the type of a question by its wording."""
        wording = (question or "").lower()
        for question_type, cues in self.question_cues.items():
            if any(re.search(cue, wording) for cue in cues):
                return QuestionType(question_type)
        return QuestionType.ABOUT_YOU

    def overall_weights(self, question_type: QuestionType) -> Mapping[str, float]:
        """Return the weight of each dimension in the overall score."""
        return self.overall[question_type]

    def scores(self, levels: Mapping[str, float | None], question_type: QuestionType) -> Scores:
        """Return the scores: each the weighted mean of its dimensions' points.

        A dimension without a level is left out of the mean. A score is None if one of its required
        dimensions has no level.
        """
        return Scores(
            overall=self._score(
                self.required_overall[question_type], self.overall[question_type], levels
            ),
            **{
                name: self._score(self.required_dimensions[name], self.weights[name], levels)
                for name in ("communication", "technical", "clarity")
            },
        )

    def _score(
        self,
        required: Sequence[str],
        weights: Mapping[str, float],
        levels: Mapping[str, float | None],
    ) -> int | None:
        if any(levels.get(dimension) is None for dimension in required):
            return None
        known = {
            dimension: weight
            for dimension, weight in weights.items()
            if levels.get(dimension) is not None
        }
        total = sum(known.values())
        if not total:
            return None
        points = sum(
            weight * self._points_of(level)
            for dimension, weight in known.items()
            if (level := levels[dimension]) is not None
        )
        return round(points / total)

    def _points_of(self, level: float) -> float:
        """Return a level's points, interpolated between two levels."""
        below = min(int(level), max(self.points) - 1)
        low, high = self.points[below], self.points[below + 1]
        return low + (high - low) * (level - below)


@cache
def load_rubric() -> Rubric:
    """Return the rubric."""
    data = yaml.safe_load((files("coach_ai.scoring.rubric") / "v4.yaml").read_text())
    return Rubric(
        version=data["version"],
        dimensions=data["dimensions"],
        points=data["points"],
        overall=data["scores"]["overall"],
        weights={k: v for k, v in data["scores"].items() if k != "overall"},
        required_overall=data["required_dimensions"]["overall"],
        required_dimensions={
            name: dimensions
            for name, dimensions in data["required_dimensions"].items()
            if name != "overall"
        },
        question_cues=data["question_types"],
    )
