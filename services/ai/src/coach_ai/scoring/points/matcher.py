"""Matches an answer with the expected points of its question: small networks on features."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from coach_ai.domain import Answer, Misconception, PointCoverage, PointStatus, Question
from coach_ai.scoring.points.context import describe_misconceptions, describe_points
from coach_ai.scoring.points.features import (
    MISCONCEPTION_FEATURES,
    POINT_FEATURES,
    Numbers,
    Piece,
    TokenWeights,
    compute_features,
)
from coach_ai.scoring.quotes import quote_times

if TYPE_CHECKING:
    # OpenAI needs the points, and its image has no embeddings.
    from coach_ai.embeddings import Embeddings

MAX_DEVIATIONS = 4.0
"""Features are limited to so many standard deviations from their mean."""
_MIN_COVERED = 0.55
_MIN_PARTLY = 0.3
_MIN_CONTRADICTED = 0.5
_MIN_MISCONCEPTION = 0.7


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
class Network:
    """A network with one hidden layer of tanh units, on standardised features."""

    mean: Numbers
    deviation: Numbers
    hidden: Numbers
    """A row per feature and, last, the biases. A column per hidden unit."""
    output: Logistic

    def predict(self, features: Numbers) -> Numbers:
        """Return a probability per row."""
        limit = MAX_DEVIATIONS
        rows = np.clip((features - self.mean) / self.deviation, -limit, limit)
        return self.output.predict(np.tanh(rows @ self.hidden[:-1] + self.hidden[-1]))


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that `tools/train_points.py` computes."""

    covered: Network
    contradicted: Network
    misconception: Network
    covered_in_context: Logistic
    contradicted_in_context: Logistic
    misconception_in_context: Logistic
    nonsense: Logistic

    def predict(self, points: Numbers, misconceptions: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Return how probably each point is covered and contradicted, and each misconception."""
        alone = (
            self.covered.predict(points),
            self.contradicted.predict(points),
            self.misconception.predict(misconceptions),
        )
        rows = describe_points(*alone)
        return (
            self.covered_in_context.predict(rows),
            self.contradicted_in_context.predict(rows),
            self.misconception_in_context.predict(describe_misconceptions(*alone)),
        )


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
        covered=parse_network(data["covered"]),
        contradicted=parse_network(data["contradicted"]),
        misconception=parse_network(data["misconception"]),
        covered_in_context=_parse_logistic(data["covered_in_context"]),
        contradicted_in_context=_parse_logistic(data["contradicted_in_context"]),
        misconception_in_context=_parse_logistic(data["misconception_in_context"]),
        nonsense=_parse_logistic(data["nonsense"]),
    )


class PointMatcher:
    """Finds which expected points an answer covers or contradicts. Deterministic, thread-safe."""

    def __init__(self, embeddings: "Embeddings", weights: Weights | None = None) -> None:
        self._embeddings = embeddings
        self._weights = weights or load_weights()
        self._token_weights = cache(lambda: TokenWeights(embeddings))

    def match(self, answer: Answer, question: Question) -> MatchedPoints:
        """Return the coverage of every point of the question. Quotes occur in the transcript."""
        weights = self._weights
        features = compute_features(
            question,
            answer.text,
            self._embeddings,
            weights.nonsense.weights,
            weights.nonsense.bias,
            self._token_weights(),
        )
        if features is None:
            return MatchedPoints(
                tuple(PointCoverage.from_point(one, PointStatus.MISSING) for one in question.points)
            )
        covered, contradicted, stated = weights.predict(features.points, features.misconceptions)
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


def parse_network(data: dict[str, Any]) -> Network:
    """Return a network that the training wrote."""
    return Network(
        mean=np.array(data["mean"], dtype=np.float64),
        deviation=np.array(data["deviation"], dtype=np.float64),
        hidden=np.array(data["hidden"], dtype=np.float64),
        output=_parse_logistic(data["output"]),
    )


def _parse_logistic(data: dict[str, Any]) -> Logistic:
    return Logistic(np.array(data["weights"], dtype=np.float64), float(data["bias"]))
