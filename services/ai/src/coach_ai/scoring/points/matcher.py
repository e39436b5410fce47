"""Matches an answer with the expected points of its question: logistic regressions on features."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from coach_ai.domain import Answer, Misconception, PointCoverage, PointStatus, Question
from coach_ai.scoring.points.features import (
    MISCONCEPTION_FEATURES,
    POINT_FEATURES,
    Numbers,
    Piece,
    compute_features,
)
from coach_ai.scoring.quotes import quote_times

if TYPE_CHECKING:
    # OpenAI needs the points, and its image has no embeddings.
    from coach_ai.embeddings import Embeddings

_MIN_COVERED = 0.5
_MIN_PARTLY = 0.3
_MIN_CONTRADICTED = 0.5
_MIN_MISCONCEPTION = 0.5


class InvalidWeights(Exception):
    """The shipped weights do not fit the features."""


@dataclass(frozen=True, slots=True)
class FoundMisconception:
    """A misconception that the answer states, and the passage that states it."""

    misconception: Misconception
    quote: str


@dataclass(frozen=True, slots=True)
class MatchedPoints:
    """Coverage of all points in the question's order, and the misconceptions that were found."""

    points: tuple[PointCoverage, ...]
    misconceptions: tuple[FoundMisconception, ...] = ()


@dataclass(frozen=True, slots=True)
class Logistic:
    """A logistic regression: probability = 1 / (1 + exp(-(features · weights + bias)))."""

    weights: Numbers
    bias: float

    def predict(self, features: Numbers) -> Numbers:
        """Return a probability per row."""
        logits = np.clip(features @ self.weights + self.bias, -30.0, 30.0)
        probabilities: Numbers = 1.0 / (1.0 + np.exp(-logits))
        return probabilities


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that `tools/train_points.py` computes."""

    covered: Logistic
    contradicted: Logistic
    misconception: Logistic
    nonsense: Logistic


@cache
def load_weights() -> Weights:
    """Return the shipped weights. Raises InvalidWeights if they do not fit the features."""
    data = json.loads((files("coach_ai.scoring.points") / "weights.json").read_text())
    if (
        tuple(data["point_features"]) != POINT_FEATURES
        or tuple(data["misconception_features"]) != MISCONCEPTION_FEATURES
    ):
        raise InvalidWeights("weights.json was trained on other features; run the training again")
    return Weights(
        *(_parse(data[name]) for name in ("covered", "contradicted", "misconception", "nonsense"))
    )


class PointMatcher:
    """Finds which expected points an answer covers or contradicts. Deterministic, thread-safe."""

    def __init__(self, embeddings: "Embeddings", weights: Weights | None = None) -> None:
        self._embeddings = embeddings
        self._weights = weights or load_weights()

    def match(self, answer: Answer, question: Question) -> MatchedPoints:
        """Return the coverage of every point of the question. Quotes occur in the transcript."""
        weights = self._weights
        features = compute_features(
            question,
            answer.text,
            self._embeddings,
            weights.nonsense.weights,
            weights.nonsense.bias,
        )
        if features is None:
            return MatchedPoints(
                tuple(PointCoverage.from_point(one, PointStatus.MISSING) for one in question.points)
            )
        covered = weights.covered.predict(features.points)
        contradicted = weights.contradicted.predict(features.points)
        stated = weights.misconception.predict(features.misconceptions)
        misconceptions = tuple(
            FoundMisconception(one, _quote(answer.text, features.pieces[at]))
            for one, at, probability in zip(
                question.misconceptions, features.nearest_to_misconceptions, stated, strict=True
            )
            if probability >= _MIN_MISCONCEPTION
        )
        points = []
        for number, point in enumerate(question.points):
            status = _decide(float(covered[number]), float(contradicted[number]))
            if status is PointStatus.MISSING:
                points.append(PointCoverage.from_point(point, status))
                continue
            is_wrong = status is PointStatus.CONTRADICTED
            nearest = features.nearest_to_contradictions if is_wrong else features.nearest_to_points
            quote = _quote(answer.text, features.pieces[nearest[number]])
            misconception = find_misconception(misconceptions, quote) if is_wrong else None
            times = quote_times(answer, quote)
            points.append(PointCoverage.from_point(point, status, quote, *times, misconception))
        return MatchedPoints(tuple(points), misconceptions)


def _decide(covered: float, contradicted: float) -> PointStatus:
    if contradicted >= _MIN_CONTRADICTED and contradicted > covered:
        return PointStatus.CONTRADICTED
    if covered >= _MIN_COVERED:
        return PointStatus.COVERED
    return PointStatus.PARTLY if covered >= _MIN_PARTLY else PointStatus.MISSING


def _quote(text: str, piece: Piece) -> str:
    return text[piece.begin : piece.end]


def find_misconception(found: Sequence[FoundMisconception], quote: str) -> str | None:
    """Return the misconception whose passage overlaps a quote, or None."""
    return next(
        (one.misconception.text for one in found if one.quote in quote or quote in one.quote),
        None,
    )


def _parse(data: dict[str, Any]) -> Logistic:
    return Logistic(np.array(data["weights"], dtype=np.float64), float(data["bias"]))
