"""The rubric: what an answer is judged on, as data (`v1.yaml`), and the formula of the scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Scores:
    """The four scores of the contract, 0 to 100, each None where it could not be judged."""

    overall: int | None
    communication: int | None
    technical: int | None
    clarity: int | None


@dataclass(frozen=True, slots=True)
class Rubric:
    """Dimensions with their levels, and how scores follow from levels."""

    version: str
    dimensions: Mapping[str, Mapping[str, Any]]
    points: Mapping[int, int]
    weights: Mapping[str, Mapping[str, float]]

    def scores(self, levels: Mapping[str, int | None]) -> Scores:
        """Return the scores: each a mean of its dimensions' points by weight.

        A dimension without a level leaves the mean, and the others' weights grow; a score whose
        `needs` are not all judged is None.
        """
        return Scores(
            overall=self._score("overall", levels),
            communication=self._score("communication", levels),
            technical=self._score("technical", levels),
            clarity=self._score("clarity", levels),
        )

    def _score(self, name: str, levels: Mapping[str, int | None]) -> int | None:
        weights = dict(self.weights[name])
        if any(levels.get(dimension) is None for dimension in _NEEDS[name]):
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
            weight * self.points[level]
            for dimension, weight in known.items()
            if (level := levels[dimension]) is not None
        )
        return round(points / total)


_NEEDS = {
    "overall": ("relevance", "structure", "specificity", "clarity"),
    "communication": ("structure", "clarity"),
    "technical": ("technical",),
    "clarity": ("clarity",),
}


@cache
def load(name: str = "v1") -> Rubric:
    """Return a rubric."""
    data = yaml.safe_load((files("coach_ai.rubric") / f"{name}.yaml").read_text())
    return Rubric(
        version=data["version"],
        dimensions=data["dimensions"],
        points=data["points"],
        weights=data["scores"],
    )
