"""Train the weights of the point matcher on spoken answers. Deterministic.

Reads the files in `_TRAINING_FILES` and writes `points/weights.json`. Questions of
`technical_dev.yaml` are left out, so that the file can test the result.
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
from coach_ai.embeddings import Embeddings, TokenStates, Vectors, find_installed
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.points.context import describe_misconceptions, describe_points
from coach_ai.scoring.points.evaluation import read_question
from coach_ai.scoring.points.features import (
    MISCONCEPTION_FEATURES,
    POINT_FEATURES,
    Numbers,
    TokenWeights,
    compute_features,
    split_pieces,
)
from coach_ai.scoring.points.matcher import MAX_DEVIATIONS, parse_network

ROOT = Path(__file__).parents[1]
GRADED = ROOT / "services/ai/tests/graded"
TARGET = ROOT / "services/ai/src/coach_ai/scoring/points/weights.json"

_TRAINING_FILES = ("technical_tuning", "technical_training", "technical_own_training")
_FOLDS = 5
_SEED = 7
_STRENGTH = 0.1
"""Inverse of the L2 penalty of the regressions on the context."""
_HIDDEN_UNITS = 8
_NETWORKS = 4
"""Networks that are trained from different starts. Their mean logit is one wider network."""
_PENALTY = 0.004
"""L2 penalty of the weights, against the mean loss per row."""
_STEPS = 400
_STEP_SIZE = 0.02
_NONSENSE_STRENGTH = 0.5
_MIX_SHARE = 0.6
_MIXED_SENTENCES = 6
_MIN_MIXED_LENGTH = 4
_MIXED_WEIGHT = 0.5
_NEWTON_STEPS = 40
_DIGITS = 5
_WORD = re.compile(r"[A-Za-z0-9'-]+")
_ADDED_KINDS = frozenset(("mixed", "recited"))


class CachingEmbeddings(Embeddings):
    """Embeddings that keep every vector and token in memory."""

    def __init__(self, model_dir: Path) -> None:
        super().__init__(model_dir)
        self._vectors: dict[str, Vectors] = {}
        self._tokens: dict[tuple[str, ...], TokenStates] = {}

    def encode_tokens(self, texts: Sequence[str]) -> TokenStates:
        """Return the tokens of the texts. Every set of texts is computed once."""
        key = tuple(texts)
        if key not in self._tokens:
            self._tokens[key] = super().encode_tokens(texts)
        return self._tokens[key]

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
            "weights": _round(self.weights),
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


def fit_network(x: Numbers, y: Numbers) -> dict[str, Any]:
    """Return the mean of some networks with one hidden layer, as `matcher.Network` reads it."""
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    rows = np.clip((x - mean) / deviation, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    rows = np.hstack([rows, np.ones((len(x), 1))])
    parts = [_descend(rows, y, np.random.default_rng(_SEED + one)) for one in range(_NETWORKS)]
    hidden = np.hstack([one for one, _ in parts])
    output = np.concatenate([one[:-1] for _, one in parts]) / _NETWORKS
    bias = float(np.mean([one[-1] for _, one in parts]))
    return {
        "mean": _round(mean),
        "deviation": _round(deviation),
        "hidden": [_round(row) for row in hidden],
        "output": Fit(output, bias).to_json(),
    }


def _descend(rows: Numbers, y: Numbers, noise: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Return hidden and output weights, by Adam on all rows (Kingma and Ba, 2015)."""
    width = rows.shape[1]
    weights = noise.normal(size=width * _HIDDEN_UNITS + _HIDDEN_UNITS + 1) / np.sqrt(width)
    momentum, scale = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, _STEPS + 1):
        hidden = weights[: width * _HIDDEN_UNITS].reshape(width, _HIDDEN_UNITS)
        output = weights[width * _HIDDEN_UNITS :]
        states = np.tanh(rows @ hidden)
        z = np.clip(states @ output[:-1] + output[-1], -30, 30)
        errors = (1.0 / (1.0 + np.exp(-z)) - y) / len(y)
        inner = np.outer(errors, output[:-1]) * (1.0 - states * states)
        gradient = np.concatenate([(rows.T @ inner).ravel(), states.T @ errors, [errors.sum()]])
        gradient += _PENALTY * weights
        momentum = 0.9 * momentum + 0.1 * gradient
        scale = 0.999 * scale + 0.001 * gradient * gradient
        size = _STEP_SIZE * (1.0 - step / (_STEPS + 1))
        corrected = np.sqrt(scale / (1.0 - 0.999**step)) + 1e-8
        weights = weights - size * momentum / (1.0 - 0.9**step) / corrected
    split = width * _HIDDEN_UNITS
    return weights[:split].reshape(width, _HIDDEN_UNITS), weights[split:]


def _round(values: Numbers) -> list[float]:
    return [round(float(one), _DIGITS) for one in values]


def mix_words(question: Question, choice: random.Random) -> list[str]:
    """Return sentences of a question's terms that mean nothing."""
    sentences = [text for one in question.points for text in (one.text, *one.accepted)]
    pool = [
        word for text in sentences for word in _WORD.findall(text) if len(word) >= _MIN_MIXED_LENGTH
    ]

    def swap(match: re.Match[str]) -> str:
        is_kept = len(match[0]) < _MIN_MIXED_LENGTH or choice.random() >= _MIX_SHARE
        return match[0] if is_kept else choice.choice(pool).lower()

    return [
        _WORD.sub(swap, one)
        for one in choice.sample(sentences, min(_MIXED_SENTENCES, len(sentences)))
    ]


def add_written(entry: Any) -> Any:
    """Return the entry with two more answers: its terms without meaning, and recited wordings."""
    question = read_question(entry)
    choice = random.Random(f"{_SEED} {entry['question']}")  # noqa: S311
    recited = choice.sample(question.points, choice.randint(2, len(question.points)))
    answers = {
        "mixed": {"text": ". ".join(mix_words(question, choice))},
        "recited": {
            "text": " ".join(choice.choice((one.text, *one.accepted)) + "." for one in recited),
            "covers": [one.id for one in recited],
        },
    }
    return {**entry, "answers": {**entry["answers"], **answers}}


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
    """Return the question as it is, and as users write it: with fewer wordings per statement."""
    short = replace(
        question,
        points=tuple(replace(o, accepted=o.accepted[:1], not_=()) for o in question.points),
        misconceptions=tuple(replace(one, wordings=()) for one in question.misconceptions),
    )
    bare = replace(short, points=tuple(replace(one, accepted=()) for one in short.points))
    return [question, short, bare]


@dataclass(frozen=True, slots=True)
class Sample:
    """An answer to a variant of its question: a row per point, and a row per misconception."""

    points: Numbers
    covered: Numbers
    contradicted: Numbers
    misconceptions: Numbers
    stated: Numbers


def collect_samples(
    entries: Sequence[Any], model: Embeddings, rarity: TokenWeights, nonsense: Fit
) -> list[Sample]:
    """Return the features and labels of all answers, for each variant of their question."""
    samples = []
    for entry in entries:
        for question in list_variants(read_question(entry)):
            points = [one.id for one in question.points]
            misconceptions = [one.id for one in question.misconceptions]
            for kind, answer in entry["answers"].items():
                features = compute_features(
                    question, answer["text"], model, nonsense.weights, nonsense.bias, rarity
                )
                # No user speaks like the added answers: they say nothing about misconceptions.
                known = slice(0 if kind in _ADDED_KINDS else None)
                if features is not None:
                    samples.append(
                        Sample(
                            features.points,
                            _mark(points, answer.get("covers")),
                            _mark(points, answer.get("contradicts")),
                            features.misconceptions[known],
                            _mark(misconceptions[known], answer.get("misconceptions")),
                        )
                    )
    return samples


def _mark(ids: Sequence[str], labelled: Sequence[str] | None) -> Numbers:
    return np.array([one in (labelled or ()) for one in ids], dtype=np.float64)


def fit_statements(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the networks that judge each statement alone."""
    points = np.vstack([one.points for one in samples])
    misconceptions = np.vstack([one.misconceptions for one in samples])
    return {
        "covered": fit_network(points, np.concatenate([one.covered for one in samples])),
        "contradicted": fit_network(points, np.concatenate([one.contradicted for one in samples])),
        "misconception": fit_network(
            misconceptions, np.concatenate([one.stated for one in samples])
        ),
    }


def fit_context(folds: Sequence[Sequence[Sample]]) -> dict[str, Any]:
    """Return the regressions on the probabilities that networks of the other folds give."""
    point_rows, wrong_rows, samples = [], [], []
    for number, own in enumerate(folds):
        others = [one for at, fold in enumerate(folds) if at != number for one in fold]
        networks = [parse_network(one) for one in fit_statements(others).values()]
        for one in own:
            rows = (one.points, one.points, one.misconceptions)
            alone = [net.predict(row) for net, row in zip(networks, rows, strict=True)]
            point_rows.append(describe_points(*alone))
            wrong_rows.append(describe_misconceptions(*alone))
            samples.append(one)
    points, wrong = np.vstack(point_rows), np.vstack(wrong_rows)
    labels = [
        np.concatenate(one)
        for one in zip(*((s.covered, s.contradicted) for s in samples), strict=True)
    ]
    stated = np.concatenate([one.stated for one in samples])
    return {
        "covered_in_context": fit_standardised(points, labels[0]).to_json(),
        "contradicted_in_context": fit_standardised(points, labels[1]).to_json(),
        "misconception_in_context": fit_standardised(wrong, stated).to_json(),
    }


def train(entries: Sequence[Any], questions: Sequence[Question], model: Embeddings) -> Any:
    """Return the content of `weights.json`.

    Args:
        entries: Labelled answers. The nonsense of a fold is judged by the other folds.
        questions: Questions whose terms are mixed to make nonsense.
        model: The embeddings.
    """
    rarity = TokenWeights(model)
    ordered = sorted(entries, key=lambda one: str(one["question"]))
    fold = {entry["question"]: number % _FOLDS for number, entry in enumerate(ordered)}
    folds = []
    for number in range(_FOLDS):
        others = [one for one in ordered if fold[one["question"]] != number]
        known = [one for one in questions if fold.get(one.id) != number]
        nonsense = fit_nonsense(others, known, model)
        own = [add_written(one) for one in ordered if fold[one["question"]] == number]
        folds.append(collect_samples(own, model, rarity, nonsense))
    return {
        "point_features": list(POINT_FEATURES),
        "misconception_features": list(MISCONCEPTION_FEATURES),
        **fit_statements([one for samples in folds for one in samples]),
        **fit_context(folds),
        "nonsense": fit_nonsense(ordered, questions, model).to_json(),
    }


def read_entries(name: str) -> list[Any]:
    """Return the labelled answers of a file."""
    entries: list[Any] = yaml.safe_load((GRADED / f"{name}.yaml").read_text("utf-8"))
    return entries


def main() -> int:
    """Write the weights. Returns 1 if the embedding model is not installed."""
    model_dir = find_installed()
    if model_dir is None:
        print("The embedding model is not installed.", file=sys.stderr)
        return 1
    kept_back = {entry["question"] for entry in read_entries("technical_dev")}
    bank = load_question_bank().values()
    weights = train(
        [entry for name in _TRAINING_FILES for entry in read_entries(name)],
        [one for one in bank if one.points and one.id not in kept_back],
        CachingEmbeddings(model_dir),
    )
    TARGET.write_text(json.dumps(weights) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
