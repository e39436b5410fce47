"""Train the weights of the point matcher on spoken answers. Deterministic.

Reads `technical_tuning.yaml` and `technical_training.yaml` and writes `points/weights.json`.
Questions of `technical_dev.yaml` are left out, so that the file can test the result.
"""

import json
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from coach_ai.domain import Question
from coach_ai.embeddings import Embeddings, Vectors, find_installed
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.points.features import (
    MISCONCEPTION_FEATURES,
    POINT_FEATURES,
    Numbers,
    compute_features,
    split_pieces,
)

ROOT = Path(__file__).parents[1]
GRADED = ROOT / "services/ai/tests/graded"
TARGET = ROOT / "services/ai/src/coach_ai/scoring/points/weights.json"

_FOLDS = 5
_SEED = 7
_STRENGTH = 0.1
"""Inverse of the L2 penalty of the three classifiers on standardised features."""
_NONSENSE_STRENGTH = 0.5
_MIX_SHARE = 0.6
_MIXED_SENTENCES = 6
_MIN_MIXED_LENGTH = 4
_MIXED_WEIGHT = 0.5
_NEWTON_STEPS = 40
_DIGITS = 5
_WORD = re.compile(r"[A-Za-z0-9'-]+")


class CachingEmbeddings(Embeddings):
    """Embeddings that keep every vector in memory."""

    def __init__(self, model_dir: Path) -> None:
        super().__init__(model_dir)
        self._vectors: dict[str, Vectors] = {}

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a row per text. Only texts that are new are computed."""
        new = [one for one in dict.fromkeys(texts) if one not in self._vectors]
        if new:
            self._vectors.update(zip(new, super().encode(new), strict=True))
        return np.stack([self._vectors[one] for one in texts])


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights and bias of a logistic regression."""

    weights: Numbers
    bias: float

    def to_json(self) -> dict[str, Any]:
        return {
            "weights": [round(float(one), _DIGITS) for one in self.weights],
            "bias": round(self.bias, _DIGITS),
        }


def fit_logistic(x: Numbers, y: Numbers, sample_weights: Numbers, strength: float) -> Fit:
    """Return the L2-regularised logistic regression, by Newton's method with step halving."""
    rows = np.hstack([x, np.ones((len(x), 1))])
    penalty = np.ones(rows.shape[1])
    penalty[-1] = 1e-8
    w = np.zeros(rows.shape[1])

    def loss(at: Numbers) -> float:
        z = rows @ at
        losses = np.logaddexp(0.0, z) - y * z
        return float(strength * (sample_weights @ losses) + 0.5 * (penalty * at) @ at)

    for _ in range(_NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(rows @ w, -30, 30)))
        gradient = strength * rows.T @ (sample_weights * (p - y)) + penalty * w
        spread = strength * sample_weights * p * (1 - p)
        hessian = (rows * spread[:, None]).T @ rows + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-4 and loss(w - size * step) > loss(w):
            size /= 2
        w = w - size * step
        if float(np.abs(step).max()) < 1e-7:
            break
    return Fit(w[:-1], float(w[-1]))


def fit_standardised(x: Numbers, y: Numbers) -> Fit:
    """Return a regression on standardised features, with weights for the raw features."""
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    fit = fit_logistic((x - mean) / deviation, y, np.ones(len(x)), _STRENGTH)
    weights = fit.weights / deviation
    return Fit(weights, fit.bias - float(weights @ mean))


def mix_words(question: Question, choice: random.Random) -> list[str]:
    """Return sentences of a question's terms that mean nothing."""
    sentences = [text for one in question.points for text in (one.text, *one.accepted)]
    pool = [
        word for text in sentences for word in _WORD.findall(text) if len(word) >= _MIN_MIXED_LENGTH
    ]

    def swap(match: re.Match[str]) -> str:
        is_kept = len(match[0]) < _MIN_MIXED_LENGTH or choice.random() >= _MIX_SHARE
        return match[0] if is_kept else choice.choice(pool).lower()

    return [_WORD.sub(swap, one) for one in choice.sample(sentences, _MIXED_SENTENCES)]


def fit_nonsense(entries: Sequence[Any], questions: Sequence[Question], model: Embeddings) -> Fit:
    """Return the classifier of units: talk without content against statements."""
    choice = random.Random(_SEED)  # noqa: S311
    statements: list[str] = []
    nonsense: list[str] = []
    facts, mixed = [], []
    for entry in entries:
        for kind, answer in entry["answers"].items():
            texts = [piece.plain for piece in split_pieces(answer["text"])]
            (nonsense if kind == "nonsense" else statements).extend(texts)
    for question in questions:
        mixed += mix_words(question, choice)
        facts += [t for one in question.points for t in (one.text, *one.accepted, *one.not_)]
    x = model.encode([*statements, *nonsense, *facts, *mixed]).astype(np.float64)
    sizes = (len(statements), len(nonsense), len(facts), len(mixed))
    y = np.repeat([0.0, 1.0, 0.0, 1.0], sizes)
    weights = np.repeat([1.0, 1.0, _MIXED_WEIGHT, _MIXED_WEIGHT], sizes)
    weights *= np.where(y == 1, len(y) / (2 * y.sum()), len(y) / (2 * (len(y) - y.sum())))
    return fit_logistic(x, y, weights, _NONSENSE_STRENGTH)


def list_variants(question: Question) -> list[Question]:
    """Return the question as it is, and as a user would write it: one wording per statement."""
    bare = replace(
        question,
        points=tuple(replace(one, accepted=(), not_=()) for one in question.points),
        misconceptions=tuple(replace(one, wordings=()) for one in question.misconceptions),
    )
    return [question, bare, replace(bare, misconceptions=())]


def train(model: Embeddings) -> dict[str, Any]:
    """Return the content of `weights.json`."""
    bank = load_question_bank()
    entries = [
        entry
        for name in ("technical_tuning", "technical_training")
        for entry in yaml.safe_load((GRADED / f"{name}.yaml").read_text("utf-8"))
    ]
    kept_back = {
        entry["question"]
        for entry in yaml.safe_load((GRADED / "technical_dev.yaml").read_text("utf-8"))
    }
    questions = [one for one in bank.values() if one.points and one.id not in kept_back]
    entries.sort(key=lambda one: str(one["question"]))
    fold = {entry["question"]: number % _FOLDS for number, entry in enumerate(entries)}
    wrong_labels: list[int] = []
    point_rows, point_labels, wrong_rows = [], [], []
    for number in range(_FOLDS):
        others = [one for one in entries if fold[one["question"]] != number]
        known = [one for one in questions if fold.get(one.id) != number]
        nonsense = fit_nonsense(others, known, model)
        for entry in (one for one in entries if fold[one["question"]] == number):
            for question in list_variants(bank[entry["question"]]):
                for answer in entry["answers"].values():
                    features = compute_features(
                        question, answer["text"], model, nonsense.weights, nonsense.bias
                    )
                    if features is None:
                        continue
                    point_rows.append(features.points)
                    wrong_rows.append(features.misconceptions)
                    for point in question.points:
                        is_covered = point.id in answer.get("covers", ())
                        is_against = point.id in answer.get("contradicts", ())
                        point_labels.append((is_covered, is_against))
                    wrong_labels.extend(
                        wrong.id in answer.get("misconceptions", ())
                        for wrong in question.misconceptions
                    )
    x, y = np.vstack(point_rows), np.array(point_labels, dtype=np.float64)
    stated = np.array(wrong_labels, dtype=np.float64)
    return {
        "point_features": list(POINT_FEATURES),
        "misconception_features": list(MISCONCEPTION_FEATURES),
        "covered": fit_standardised(x, y[:, 0]).to_json(),
        "contradicted": fit_standardised(x, y[:, 1]).to_json(),
        "misconception": fit_standardised(np.vstack(wrong_rows), stated).to_json(),
        "nonsense": fit_nonsense(entries, questions, model).to_json(),
    }


def main() -> int:
    """Write the weights. Returns 1 if the embedding model is not installed."""
    model_dir = find_installed()
    if model_dir is None:
        print("The embedding model is not installed.", file=sys.stderr)
        return 1
    TARGET.write_text(json.dumps(train(CachingEmbeddings(model_dir)), indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
