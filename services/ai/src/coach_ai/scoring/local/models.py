"""The trained models: roles and belonging of units, relevance of answers, and answers at all.

They are logistic regressions, trained by `services/ai/training/train.py`. Importing this module
reads nothing; `load_models` reads a file of weights once.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coach_ai.scoring.local.thresholds import Values

Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LogisticModel:
    """A logistic regression on standardised features. Shapes: (d,), (d,), (d,), ()."""

    mean: Weights
    scale: Weights
    weights: Weights
    bias: float

    def probabilities(self, features: Values) -> Values:
        """Return a probability per row of features."""
        scores = ((features - self.mean) / self.scale) @ self.weights + self.bias
        found: Values = 1 / (1 + np.exp(-scores.astype(np.float64)))
        return found


@dataclass(frozen=True, slots=True)
class RoleModel:
    """Several multinomial regressions, each trained without a part of the themes.

    Shapes: mean (d,), weights (readings, d, roles), bias (readings, roles).
    """

    mean: Weights
    weights: Weights
    bias: Weights

    def readings(self, features: Weights) -> list[Values]:
        """Return one matrix of probabilities (units, roles) per regression."""
        centred = (features - self.mean).astype(np.float64)
        return [
            softmax(centred @ weights + bias)
            for weights, bias in zip(self.weights, self.bias, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Models:
    """The models of one encoder. `digest` changes with any byte of their file."""

    digest: str
    roles: RoleModel
    belonging: LogisticModel
    relevance: LogisticModel
    answering: LogisticModel | None
    """None if the encoder cannot tell an answer from another text."""


def softmax(scores: Values) -> Values:
    """Return the probabilities of each row of scores."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Values = shifted / shifted.sum(axis=1, keepdims=True)
    return found


@cache
def load_models(encoder_name: str) -> Models:
    """Return the models of an encoder by its name."""
    folder = files("coach_ai.scoring.local") / "weights"
    return read_models((folder / f"{encoder_name}.npz").read_bytes())


def read_models(data: bytes) -> Models:
    """Return the models in the bytes of an npz file."""
    with np.load(io.BytesIO(data)) as stored:
        arrays = {name: stored[name].astype(np.float32) for name in stored.files}

    def logistic(name: str) -> LogisticModel:
        return LogisticModel(
            arrays[f"{name}_mean"],
            arrays[f"{name}_scale"],
            arrays[f"{name}_weights"],
            float(arrays[f"{name}_bias"]),
        )

    return Models(
        hashlib.sha256(data).hexdigest(),
        RoleModel(arrays["role_mean"], arrays["role_weights"], arrays["role_bias"]),
        logistic("belonging"),
        logistic("relevance"),
        logistic("answering") if "answering_bias" in arrays else None,
    )


def digest_files(paths: Sequence[Path]) -> str:
    """Return one SHA-256 over the bytes of several files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
