"""How probably an answer is meant for its question, and a text for any interview question.

An answer is compared with what people say about 59 kinds of questions (`themes.yaml`): relative to
those, similarities become comparable between questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import yaml

from coach_ai.embeddings import Vectors
from coach_ai.scoring.local.encoders import Encoder
from coach_ai.scoring.local.language_pack import LanguagePack
from coach_ai.scoring.local.models import LogisticModel
from coach_ai.scoring.local.reading import Reading
from coach_ai.scoring.local.roles import COLUMN, Role
from coach_ai.scoring.local.thresholds import Values
from coach_ai.scoring.units import Unit

_THEME_SHARPNESS = 0.06
"""Difference in similarity by which one theme gets 1/e of the weight of another."""
_MIN_CONTENT = 0.35
_BEST_SENTENCES = 3
_NEAR_SENTENCES = 5
_FULL_PERSON_SHARE = 10
"""If one word in so many is of a person, the text is all about that person."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Wordings of a kind of question, and sentences that answer it."""

    asks: tuple[str, ...]
    answers: tuple[str, ...]


@cache
def load_themes() -> tuple[Theme, ...]:
    """Return the themes."""
    text = (files("coach_ai.scoring.local") / "themes.yaml").read_text("utf-8")
    return tuple(Theme(tuple(one["asks"]), tuple(one["says"])) for one in yaml.safe_load(text))


def encode_themes(encoder: Encoder) -> list[tuple[Vectors, Vectors]]:
    """Return the vectors of the wordings and the sentences of each theme. Cached by the encoder."""
    themes = load_themes()
    texts = tuple(text for one in themes for text in (*one.asks, *one.answers))
    rows = encoder.encode_fixed(texts)
    found, at = [], 0
    for one in themes:
        middle, end = at + len(one.asks), at + len(one.asks) + len(one.answers)
        found.append((rows[at:middle], rows[middle:end]))
        at = end
    return found


def relevance(
    question: Vectors,
    reading: Reading,
    themes: Sequence[tuple[Vectors, Vectors]],
    model: LogisticModel,
) -> float:
    """Return the probability, 0 to 1, that the answer is meant for the question."""
    meaning = reading.meaning[_informative(reading)]
    return float(model.probabilities(relevance_features(question, meaning, themes)[None])[0])


def answering(
    reading: Reading,
    themes: Sequence[tuple[Vectors, Vectors]],
    model: LogisticModel,
    pack: LanguagePack,
) -> float:
    """Return the probability, 0 to 1, that the text answers any interview question.

    It is low for a novel, the news or a recipe.
    """
    features = answering_features(reading.meaning, reading.roles, reading.units, themes, pack)
    return float(model.probabilities(features[None])[0])


def answering_features(
    meaning: Vectors,
    roles: Values,
    units: Sequence[Unit],
    themes: Sequence[tuple[Vectors, Vectors]],
    pack: LanguagePack,
) -> Values:
    """Return the features of `answering`. Units count by their length."""
    lengths = np.array([len(unit.tokens) for unit in units], float)
    shares = lengths / lengths.sum()
    asked, answered = (np.vstack(wordings) for wordings in zip(*themes, strict=True))
    features = []
    for nearest in ((meaning @ asked.T).max(axis=1), (meaning @ answered.T).max(axis=1)):
        features += [float(nearest.max()), float(shares @ nearest)]
    near_answers = np.sort(meaning @ answered.T, axis=1)[:, -_NEAR_SENTENCES:].mean(axis=1)
    features.append(float(shares @ near_answers))
    words = [word for unit in units for word in unit.tokens]
    for persons in (pack.speaker, pack.speaker_plural, pack.second_person, pack.others):
        found = sum(word in persons for word in words)
        features.append(min(1.0, _FULL_PERSON_SHARE * found / len(words)))
    has_speaker = any(word in pack.speaker or word in pack.speaker_plural for word in words)
    return np.concatenate([features, [float(has_speaker)], shares @ roles, shares @ meaning])


def _informative(reading: Reading) -> Sequence[int]:
    """Return the units that are about something, or all if fewer than two are."""
    roles = reading.roles
    content = (
        1
        - roles[:, COLUMN[Role.META]]
        - roles[:, COLUMN[Role.ASIDE]]
        - 0.7 * roles[:, COLUMN[Role.GENERAL]]
    )
    rows = [row for row, share in enumerate(content) if share > _MIN_CONTENT]
    return rows if len(rows) > 1 else list(range(len(roles)))


def relevance_features(
    question: Vectors, meaning: Vectors, themes: Sequence[tuple[Vectors, Vectors]]
) -> Values:
    """Return the features of the relevance of an answer's units to a question."""
    closeness = np.sort(meaning @ question)[::-1]
    mean = meaning.mean(axis=0)
    mean = mean / max(float(np.linalg.norm(mean)), 1e-6)
    asked = np.array([(asks @ question).max() for asks, _ in themes], float)
    weights = np.exp((asked - asked.max()) / _THEME_SHARPNESS)
    weights /= weights.sum()
    matches = np.array(
        [
            np.sort((answers @ meaning.T).max(axis=1))[::-1][:_BEST_SENTENCES].mean()
            for _, answers in themes
        ],
        float,
    )
    mean_matches = np.array([(answers @ meaning.T).mean() for _, answers in themes], float)
    asked_by_answer = np.array([(asks @ mean).max() for asks, _ in themes], float)
    own = float(question @ mean)
    matches_z, average_z = _standardise(matches), _standardise(mean_matches)
    by_theme = float(weights @ matches_z)
    return np.array(
        [
            closeness[0],
            closeness[:_BEST_SENTENCES].mean(),
            own,
            (own - asked_by_answer.mean()) / max(float(asked_by_answer.std()), 1e-6),
            by_theme,
            float(weights @ _standardise(asked_by_answer)),
            float(weights @ average_z),
            float((matches_z > by_theme).mean()),
            float((asked_by_answer > own).mean()),
        ]
    )


def _standardise(values: Values) -> Values:
    found: Values = (values - values.mean()) / max(float(values.std()), 1e-6)
    return found
