"""The rubric: what an answer is judged on, as data (`v3.yaml`), and the formula of the scores."""

import re
from collections.abc import Mapping, Sequence
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
    overall: Mapping[str, Mapping[str, float]]
    weights: Mapping[str, Mapping[str, float]]
    needs: Mapping[str, Sequence[str]]
    cues: Mapping[str, Sequence[str]]

    def kind_of(self, question: str | None) -> str:
        """Return whether a question is behavioural, technical or general, by its words."""
        asked = (question or "").lower()
        for kind, cues in self.cues.items():
            if any(re.search(cue, asked) for cue in cues):
                return kind
        return "general"

    def scores(self, levels: Mapping[str, float | None], kind: str) -> Scores:
        """Return the scores: each a mean of its dimensions' points by weight.

        `kind` is the kind of question. A dimension without a level leaves the mean, and the
        others' weights grow; a score whose `needs` are not all judged is None.
        """
        return Scores(
            overall=self._score("overall", self.overall[kind], levels),
            communication=self._score("communication", self.weights["communication"], levels),
            technical=self._score("technical", self.weights["technical"], levels),
            clarity=self._score("clarity", self.weights["clarity"], levels),
        )

    def _score(
        self, name: str, weights: Mapping[str, float], levels: Mapping[str, float | None]
    ) -> int | None:
        if any(levels.get(dimension) is None for dimension in self.needs[name]):
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
        """Return a level's points; between two levels, what lies between their points."""
        below = min(int(level), max(self.points) - 1)
        low, high = self.points[below], self.points[below + 1]
        return low + (high - low) * (level - below)


@cache
def load(name: str = "v3") -> Rubric:
    """Return a rubric."""
    data = yaml.safe_load((files("coach_ai.rubric") / f"{name}.yaml").read_text())
    return Rubric(
        version=data["version"],
        dimensions=data["dimensions"],
        points=data["points"],
        overall=data["scores"]["overall"],
        weights={k: v for k, v in data["scores"].items() if k != "overall"},
        needs=data["needs"],
        cues=data["kinds"],
    )
