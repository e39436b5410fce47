"""Trains the models of the local scorer and writes their weights. Deterministic.

`python services/ai/training/train.py` reads `units.txt` and the graded answers whose split is not
`held_out`, and writes `coach_ai/scoring/local/weights`. Run it after changing any of `SOURCES`.
"""

import hashlib
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from coach_ai.embeddings import Embeddings, Vectors, default_cache_dir, find_installed
from coach_ai.scoring.local.encoders import Encoder, SentenceEncoder, WordEncoder
from coach_ai.scoring.local.english import load_english
from coach_ai.scoring.local.models import digest_files, softmax
from coach_ai.scoring.local.reading import belonging_features
from coach_ai.scoring.local.relevance_model import (
    answering_features,
    encode_themes,
    relevance_features,
)
from coach_ai.scoring.local.roles import COLUMN, ROLES, Role
from coach_ai.scoring.local.surface import surface_features
from coach_ai.scoring.local.thresholds import Values, load_thresholds
from coach_ai.scoring.units import MAX_UNIT_WORDS, split_units
from coach_ai.text import split_sentences

HERE = Path(__file__).parent
GRADED = HERE.parent / "tests" / "graded"
LOCAL = HERE.parent / "src" / "coach_ai" / "scoring" / "local"
WEIGHTS = LOCAL / "weights"
MANIFEST = WEIGHTS / "manifest.json"
SOURCES = (
    Path(__file__),
    HERE / "units.txt",
    HERE / "answering.yaml",
    *(
        GRADED / f"{name}.yaml"
        for name in ("answers", "blind", "second", "questions", "technical_training")
    ),
    *(
        LOCAL / name
        for name in (
            "encoders.py", "english.py", "models.py", "reading.py", "relevance_model.py",
            "roles.py", "surface.py", "themes.yaml",
        )
    ),
    LOCAL.parent / "units.py",
)  # fmt: skip
"""The weights are a function of these files and of the embedding model."""

FOLDS = 5
ROLE_PENALTY = 1.0
SMALL_PENALTY = 5.0
ANSWERING_PENALTY = 60.0
"""Higher, because the features include the mean of the embeddings."""
STEPS = 250
COPY_WEIGHT = 0.5
"""Weight of a copy in the present tense, as a note, or with “we”."""
JOINED_WEIGHT = 0.5
"""Weight of two units that were not split: a text without punctuation has such units."""
IDLE_WEIGHT = 1.5
"""Weight of a unit that adds nothing to an answer: to take one for evidence is worse than to miss a
step."""
_IDLE_ROLES = (Role.META, Role.ASIDE, Role.GENERAL)
_ARTICLES = ("a", "an", "the")
_OTHERS = tuple(
    {"i": subject, "i'd": f"{subject} had", "i've": f"{subject} has", "my": own, "me": objective,
     "myself": f"{objective}self"}
    for subject, own, objective in (
        ("he", "his", "him"), ("she", "her", "her"), ("they", "their", "them"),
        ("my colleague", "her", "her"), ("my boss", "his", "him"), ("the manager", "his", "him"),
        ("anna", "her", "her"), ("the team", "their", "them"), ("somebody else", "their", "them"),
        ("the technician", "his", "him"), ("my supervisor", "her", "her"),
        ("the others", "their", "them"),
    )
)  # fmt: skip
_SINGLE_ANSWER = "told by "
"""Begins the theme of a single answer. Other stories have every part full and vague."""
_DROPPED_SUBJECTS = ("i", "we")
_TO_WE = {"i": "we", "my": "our", "me": "us", "myself": "ourselves"}
_PRESENT = {
    "was": "is", "were": "are", "had": "have", "did": "do", "went": "go", "took": "take",
    "made": "make", "said": "say", "told": "tell", "wrote": "write", "found": "find",
    "gave": "give", "got": "get", "saw": "see", "came": "come", "sat": "sit", "brought": "bring",
    "bought": "buy", "sent": "send", "built": "build", "kept": "keep", "held": "hold",
    "rang": "ring", "drew": "draw", "drove": "drive", "ran": "run", "stood": "stand",
    "fell": "fall", "lost": "lose", "left": "leave", "led": "lead", "met": "meet", "paid": "pay",
    "knew": "know", "thought": "think", "felt": "feel", "began": "begin", "spoke": "speak",
    "chose": "choose", "hung": "hang", "swapped": "swap", "stopped": "stop", "planned": "plan",
}  # fmt: skip


class RememberingEncoder:
    """An Encoder that encodes each text once."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, tuple[Vectors, Vectors]] = {}
        self.name = encoder.name

    def encode(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """Return form and meaning of each text."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        if unknown:
            self._known |= dict(
                zip(unknown, zip(*self._encoder.encode(unknown), strict=True), strict=True)
            )
        form, meaning = zip(*(self._known[text] for text in texts), strict=True)
        return np.stack(form), np.stack(meaning)

    def encode_fixed(self, texts: tuple[str, ...]) -> Vectors:
        """Return the meaning of each text."""
        return self.encode(texts)[1] if len(texts) == 1 else self._encoder.encode_fixed(texts)


@dataclass(frozen=True, slots=True)
class LabelledUnit:
    """A unit of `units.txt`. `question` is None in a list that tells no story."""

    theme: str
    question: str | None
    role: Role
    text: str

    @property
    def plain(self) -> str:
        """The text as the scorer reads it."""
        return " ".join(unit.plain for unit in split_units(self.text))

    @property
    def fold(self) -> int:
        """The part that the unit is left out with: that of its story, or its own in a list."""
        name = self.theme if self.question else self.theme + self.text
        return int(hashlib.sha256(name.encode()).hexdigest(), 16) % FOLDS


@cache
def load_units() -> list[LabelledUnit]:
    """Return the labelled units."""
    units: list[LabelledUnit] = []
    theme, question = "", None
    for line in (HERE / "units.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            theme, asked = (part.strip() for part in line[1:].split("|"))
            question = None if asked == "-" else asked
            continue
        role, text = line.split(": ", 1)
        units.append(LabelledUnit(theme, question, Role(role), text.strip()))
    return units


def copies(unit: LabelledUnit) -> Iterator[tuple[str, Role]]:
    """Yield copies of a unit with their role: as a note, with “we”, in the present tense, without
    articles, and with another person in the speaker's place. What others did is the scene."""
    words = unit.plain.split()
    is_own = unit.role in (Role.ACTION, Role.EFFORT)
    if (is_own or unit.role is Role.LESSON) and words[0] in _DROPPED_SUBJECTS:
        yield " ".join(words[1:]), unit.role
    if is_own and "i" in words:
        yield " ".join(_TO_WE.get(word, word) for word in words), unit.role
    if unit.role is Role.ACTION and "i" in words:
        number = int(hashlib.sha256(unit.text.encode()).hexdigest(), 16)
        other = _OTHERS[number % len(_OTHERS)]
        yield " ".join(other.get(word, word) for word in words), Role.SCENE
    if is_own or unit.role in (Role.RESULT, Role.SCENE):
        yield " ".join(map(_present, words)), unit.role
        yield " ".join(word for word in words if word not in _ARTICLES), unit.role


def _present(word: str) -> str:
    pack = load_english()
    if word in _PRESENT:
        return _PRESENT[word]
    if len(word) > 4 and word.endswith("ed") and pack.is_past(word):
        keeps_e = word[-3] in "suvcgz" and word[-4] in "aeiou"
        return word[:-1] if keeps_e or word.endswith("ied") else word[:-2]
    return word


def fit(features: Values, labels: Values, weights: Values, penalty: float) -> tuple[Values, Values]:
    """Return weights (d, k) and bias (k) of a multinomial regression. Labels have a row each.

    Full-batch gradient steps with Nesterov's momentum, from zero: no randomness.
    """
    share = (weights / weights.sum())[:, None]
    count, classes = len(features), labels.shape[1]
    curvature = np.linalg.norm(features.T @ (features * share), 2) / 2 + penalty / count
    now, ahead = (np.zeros((features.shape[1], classes)) for _ in range(2))
    bias, bias_ahead = np.zeros(classes), np.zeros(classes)
    pace = 1.0
    for _ in range(STEPS):
        error = (softmax(features @ ahead + bias_ahead) - labels) * share
        following = ahead - (features.T @ error + penalty / count * ahead) / curvature
        bias_following = bias_ahead - error.sum(axis=0) / curvature
        next_pace = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
        push = (pace - 1) / next_pace
        ahead = following + push * (following - now)
        bias_ahead = bias_following + push * (bias_following - bias)
        now, bias, pace = following, bias_following, next_pace
    return now, bias


def role_data(encoder: Encoder) -> tuple[Values, Values, Values, Values]:
    """Return features, one-hot roles, weights and folds of the units and their copies."""
    pack = load_english()
    texts: list[str] = []
    labels: list[Values] = []
    weights: list[float] = []
    folds: list[int] = []
    rows = np.eye(len(ROLES))
    units = load_units()
    for unit in units:
        texts.append(unit.plain)
        labels.append(rows[COLUMN[unit.role]])
        weights.append(IDLE_WEIGHT if unit.role in _IDLE_ROLES else 1.0)
        folds.append(unit.fold)
        for text, role in dict.fromkeys(copies(unit)):
            if text and text != unit.plain:
                texts.append(text)
                labels.append(rows[COLUMN[role]])
                weights.append(COPY_WEIGHT)
                folds.append(unit.fold)
    for one, two in pairwise(units):
        first, second = len(one.plain.split()), len(two.plain.split())
        if one.question and one.theme == two.theme and first + second <= MAX_UNIT_WORDS:
            texts.append(f"{one.plain} {two.plain}")
            shares = first * rows[COLUMN[one.role]] + second * rows[COLUMN[two.role]]
            labels.append(shares / (first + second))
            weights.append(JOINED_WEIGHT)
            folds.append(one.fold)
    surface = np.stack([surface_features(text, pack) for text in texts])
    features = np.hstack((encoder.encode(texts)[0], surface)).astype(float)
    return features, np.stack(labels), np.array(weights), np.array(folds)


def train_roles(encoder: Encoder) -> dict[str, Values]:
    """Return the weights of `FOLDS` regressions, each without one fold."""
    features, labels, weights, folds = role_data(encoder)
    mean = features.mean(axis=0)
    fitted = [
        fit(features[folds != fold] - mean, labels[folds != fold], weights[folds != fold],
            ROLE_PENALTY)
        for fold in range(FOLDS)
    ]  # fmt: skip
    return {
        "role_mean": mean,
        "role_weights": np.stack([one for one, _ in fitted]),
        "role_bias": np.stack([one for _, one in fitted]),
    }


def _fit_logistic(
    name: str, rows: Sequence[Values], labels: Sequence[int], penalty: float = SMALL_PENALTY
) -> dict[str, Values]:
    """Return the weights of a logistic regression in which both classes weigh the same."""
    features, is_true = np.stack(rows), np.array(labels)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    weights = np.where(is_true == 1, 0.5 / is_true.sum(), 0.5 / (1 - is_true).sum())
    found, bias = fit((features - mean) / scale, np.eye(2)[is_true], weights, penalty)
    return {
        f"{name}_mean": mean,
        f"{name}_scale": scale,
        f"{name}_weights": found[:, 1] - found[:, 0],
        f"{name}_bias": np.array(bias[1] - bias[0]),
    }


def graded_answers() -> list[dict[Any, Any]]:
    """Return the graded answers that are not held out."""
    found: list[dict[Any, Any]] = []
    for name in ("blind", "second", "answers"):
        data = yaml.safe_load((GRADED / f"{name}.yaml").read_text("utf-8"))["answers"]
        found += [one for one in data if one.get("split") != "held_out"]
    return found


def stories() -> dict[str, list[LabelledUnit]]:
    """Return the units of each question that `units.txt` has a full and a vague story for."""
    found: dict[str, list[LabelledUnit]] = {}
    for unit in load_units():
        if unit.question and not unit.theme.startswith(_SINGLE_ANSWER):
            found.setdefault(unit.question, []).append(unit)
    return found


_STORY_ROLES = {
    "full": (Role.SCENE, Role.ACTION, Role.RESULT, Role.LESSON, Role.CLAIM, Role.MOTIVE,
             Role.EXPERIENCE, Role.REASON),
    "vague": (Role.SCENE, Role.EFFORT, Role.ENDING),
}  # fmt: skip


def _join_roles(units: Sequence[LabelledUnit], kind: str) -> str:
    return " ".join(unit.text for unit in units if unit.role in _STORY_ROLES[kind])


def train_belonging(encoder: Encoder) -> dict[str, Values]:
    """Train on units of answers, against asides and units of other stories appended to them."""
    chance = random.Random(5)
    texts_by_question = [
        (question, _join_roles(units, "full")) for question, units in stories().items()
    ]
    texts_by_question += [
        (one["question"], one[level]) for one in graded_answers()
        if one.get("kind") != "technical" for level in (3, 4, 5)
    ]  # fmt: skip
    labelled = load_units()
    asides = [unit.text for unit in labelled if unit.role is Role.ASIDE]
    foreign = [unit.text for unit in labelled if unit.role in (Role.ACTION, Role.RESULT)]
    rows: list[Values] = []
    labels: list[int] = []
    for question, text in texts_by_question:
        own = _belonging_rows(encoder, question, text)
        rows += list(own)
        labels += [1] * len(own)
        for pool in (asides, asides, foreign, foreign):
            added = chance.choice(pool)
            if added not in text:
                count = len(split_units(added))
                rows += list(_belonging_rows(encoder, question, f"{text} {added}")[-count:])
                labels += [0] * count
    return _fit_logistic("belonging", rows, labels)


def _belonging_rows(encoder: Encoder, question: str, text: str) -> Values:
    units = tuple(split_units(text))
    _, meaning = encoder.encode([unit.plain for unit in units])
    asked = encoder.encode_fixed((question,))[0]
    similar = (meaning @ meaning.T).astype(float)
    return belonging_features(units, similar, meaning @ asked, load_english(), load_thresholds())


def train_relevance(encoder: Encoder) -> dict[str, Values]:
    """Train on answers with their own question, against answers with another one."""
    themes = encode_themes(encoder)
    rows: list[Values] = []
    labels: list[int] = []
    split: dict[str, list[str]] = {}
    for question, text, label in _relevance_pairs(encoder):
        plain = split.setdefault(text, [unit.plain for unit in split_units(text)])
        _, meaning = encoder.encode(plain)
        rows.append(relevance_features(encoder.encode_fixed((question,))[0], meaning, themes))
        labels.append(label)
    return _fit_logistic("relevance", rows, labels)


def _relevance_pairs(encoder: Encoder) -> Iterator[tuple[str, str, int]]:
    data = yaml.safe_load((GRADED / "questions.yaml").read_text("utf-8"))
    near = {(one["question"], other) for one in data for other in one["near"]}
    near |= {(other, one) for one, other in near}
    wordings = {one["question"]: (one["question"], *one["also"]) for one in data}
    graded = graded_answers()
    for one in graded:
        for other in graded:
            own, asked = one["question"], other["question"]
            if (own, asked) in near:
                continue
            levels = (2, 3, 4, 5) if own == asked else (4, 5)
            if own == asked and one.get("kind") == "technical":
                levels = (3, 4, 5)
            for level in levels:
                yield from ((wording, one[level], int(own == asked)) for wording in wordings[asked])
    texts_by_question = stories()
    questions = list(texts_by_question)
    vectors = encoder.encode_fixed(tuple(questions))
    similar = vectors @ vectors.T
    for row, question in enumerate(questions):
        chance = random.Random(row)
        for kind in _STORY_ROLES:
            text = _join_roles(texts_by_question[question], kind)
            if len(split_units(text)) < 3:
                continue
            yield question, text, 1
            for column in chance.sample(range(len(questions)), 12):
                if similar[row, column] < 0.55:
                    yield questions[column], text, 0


def train_answering(encoder: Encoder, roles: dict[str, Values]) -> dict[str, Values]:
    """Train on texts that answer an interview question, against texts that answer none."""
    themes, pack = encode_themes(encoder), load_english()
    rows: list[Values] = []
    labels: list[int] = []
    for text, label in answering_texts():
        units = split_units(text)
        plain = [unit.plain for unit in units]
        form, meaning = encoder.encode(plain)
        surface = np.stack([surface_features(one, pack) for one in plain])
        centred = np.hstack((form, surface)) - roles["role_mean"]
        by_reading = zip(roles["role_weights"], roles["role_bias"], strict=True)
        found = np.mean([softmax(centred @ one + bias) for one, bias in by_reading], axis=0)
        rows.append(answering_features(meaning, found, units, themes, pack))
        labels.append(label)
    return _fit_logistic("answering", rows, labels, ANSWERING_PENALTY)


_LIST_ROLES = (Role.CLAIM, Role.MOTIVE, Role.REASON, Role.PROPOSAL, Role.EXPERIENCE, Role.GENERAL)
_JOINED_UNITS = 3
_MIN_SENTENCE_WORDS = 12
_SHORT_STORY_ROLES = (
    (Role.SCENE, Role.ACTION, Role.RESULT),
    (Role.SCENE, Role.ACTION),
    (Role.ACTION, Role.RESULT),
    (Role.SCENE, Role.EFFORT, Role.ENDING),
)


def answering_texts() -> Iterator[tuple[str, int]]:
    """Yield texts, and whether each answers any interview question. Levels 2 to 5 do."""
    for one in graded_answers():
        yield from ((one[level], 1) for level in (2, 3, 4, 5))
    for units in stories().values():
        texts = [_join_roles(units, kind) for kind in _STORY_ROLES]
        yield from ((text, 1) for text in texts if len(split_units(text)) > 1)
        by_role = {role: [one.text for one in units if one.role is role] for role in Role}
        for roles in _SHORT_STORY_ROLES:
            parts = zip(*(by_role[role] for role in roles), strict=False)
            yield from ((" ".join(some), 1) for some in parts)
    technical = yaml.safe_load((GRADED / "technical_training.yaml").read_text("utf-8"))
    yield from ((answer["text"], 1) for one in technical for answer in one["answers"].values())
    labelled = load_units()
    for role in (*_LIST_ROLES, Role.ASIDE):
        # A list of words has no full stop. It is no answer.
        listed = [unit.text for unit in labelled if unit.role is role and unit.text.endswith(".")]
        for at in range(0, len(listed) - _JOINED_UNITS + 1, _JOINED_UNITS):
            yield " ".join(listed[at : at + _JOINED_UNITS]), int(role is not Role.ASIDE)
    more = yaml.safe_load((HERE / "answering.yaml").read_text("utf-8"))
    yield from ((text, 1) for text in more["answers"])
    for texts in more["off_topic"].values():
        # Single sentences and long texts too, so that the length tells nothing.
        sentences = [one for text in texts for one in split_sentences(text)]
        yield from ((one.text, 0) for one in sentences if len(one.tokens) >= _MIN_SENTENCE_WORDS)
        yield from ((text, 0) for text in (*texts, *map(" ".join, pairwise(texts))))


def train(encoder: Encoder) -> dict[str, np.ndarray]:
    """Return all weights of an encoder, rounded to half precision."""
    roles = train_roles(encoder)
    weights = roles | train_belonging(encoder) | train_relevance(encoder)
    if encoder.name != WordEncoder.name:
        # Words alone do not tell an answer from a novel.
        weights |= train_answering(encoder, roles)
    return {
        name: values.astype(np.float16 if name == "role_weights" else np.float32)
        for name, values in weights.items()
    }


def cross_validate(encoder: Encoder) -> tuple[float, dict[Role, tuple[float, float]]]:
    """Return the accuracy on units left out with their story, and recall and precision by role."""
    features, labels, weights, folds = role_data(encoder)
    predicted = np.zeros(len(features), int)
    for fold in range(FOLDS):
        kept = folds != fold
        mean = features[kept].mean(axis=0)
        found, bias = fit(features[kept] - mean, labels[kept], weights[kept], ROLE_PENALTY)
        predicted[~kept] = ((features[~kept] - mean) @ found + bias).argmax(axis=1)
    true, whole = labels.argmax(axis=1), weights >= 1.0
    by_role = {
        role: (
            float((predicted == true)[whole & (true == COLUMN[role])].mean()),
            float((predicted == true)[whole & (predicted == COLUMN[role])].mean()),
        )
        for role in ROLES
    }
    return float((predicted == true)[whole].mean()), by_role


def main() -> None:
    """Write the weights and their manifest. With `check` print the cross-validation only."""
    folder = find_installed()
    assert folder is not None, "the package of the sentence embeddings is not installed: make setup"
    encoders: tuple[Encoder, ...] = (
        RememberingEncoder(SentenceEncoder(Embeddings(folder, default_cache_dir()))),
        RememberingEncoder(WordEncoder()),
    )
    if sys.argv[1:] == ["check"]:
        for encoder in encoders:
            accuracy, by_role = cross_validate(encoder)
            print(encoder.name, f"{accuracy:.3f}")
            for role, (recall, precision) in by_role.items():
                print(f"  {role:11s} recall {recall:.2f} precision {precision:.2f}")
        return
    WEIGHTS.mkdir(exist_ok=True)
    for encoder in encoders:
        np.savez_compressed(WEIGHTS / f"{encoder.name}.npz", **train(encoder))
    MANIFEST.write_text(json.dumps({"etag": digest_files(SOURCES)}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
