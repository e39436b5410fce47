"""Numbers that describe how an answer treats each expected point of a question."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coach_ai.domain import Question
from coach_ai.scoring.units import split_units

if TYPE_CHECKING:
    # OpenAI needs the points, and its image has no embeddings.
    from coach_ai.embeddings import Embeddings

MAX_UNITS = 40
"""Later units are not read. Bounds the time: at most 79 texts are embedded per answer."""

POINT_FEATURES = (
    "best",
    "best_of_text",
    "mean_of_three",
    "margin_to_other_points",
    "margin_to_question",
    "contradiction",
    "contradiction_margin_at_best",
    "contradiction_margin",
    "misconception",
    "misconception_margin_at_best",
    "misconception_margin",
    "word_overlap",
    "has_other_polarity",
    "answer_best",
    "answer_wrongness",
    "answer_contradiction_margin",
    "answer_margin_to_question",
    "has_contradictions",
    "nonsense_at_best",
    "nonsense",
    "nonsense_excess",
    "has_one_wording",
)
MISCONCEPTION_FEATURES = (
    "best",
    "best_of_text",
    "margin_to_points",
    "margin_to_other_misconceptions",
    "answer_wrongness",
    "nonsense",
    "has_other_polarity",
)

Numbers = NDArray[np.float64]

_ABSENT = -1.0
_USUAL_CONTRADICTION = 0.35
_USUAL_MARGIN = -0.15
_NONSENSE_OFFSET = 0.3
_MIN_OVERLAP_WORDS = 4
_NEGATION = re.compile(
    r"\b(not|no|never|none|nothing|without|cannot|\w+n't|neither|nor|instead|rather)\b"
)
_WORD = re.compile(r"[a-z0-9]+")
_SUFFIXES = ("ing", "edly", "ed", "ies", "es", "s", "ly")
_MIN_STEM_LENGTH = 3
_STOP_WORD_LIST = """
    a an the and or but of to in on at by for with from as is are was were be been it its that this
    these those i you he we they my your our their so then if than not no do does did have has had
    can could will would which who when what there one some any all more most very just only also
    into out up about because
    """
_STOP_WORDS = frozenset(_STOP_WORD_LIST.split())


@dataclass(frozen=True, slots=True)
class Piece:
    """A unit, or two neighbouring ones: `begin` and `end` are offsets in the transcript."""

    plain: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class AnswerFeatures:
    """A row of features per point and per misconception, and the pieces that are nearest."""

    pieces: tuple[Piece, ...]
    points: Numbers
    misconceptions: Numbers
    nearest_to_points: tuple[int, ...]
    nearest_to_contradictions: tuple[int, ...]
    nearest_to_misconceptions: tuple[int, ...]


def split_pieces(text: str) -> tuple[Piece, ...]:
    """Return the first units of a text, then the pairs of neighbouring units."""
    units = split_units(text, max_units=MAX_UNITS)
    singles = [Piece(one.plain, one.begin, one.begin + len(one.text)) for one in units]
    pairs = [
        Piece(f"{one.plain} {two.plain}", one.begin, two.end) for one, two in pairwise(singles)
    ]
    return (*singles, *pairs)


def compute_features(
    question: Question,
    text: str,
    embeddings: "Embeddings",
    nonsense_weights: Numbers,
    nonsense_bias: float,
) -> AnswerFeatures | None:
    """Return the features of an answer, or None if it has no words.

    Args:
        question: A question with points.
        text: The transcript.
        embeddings: Encodes the pieces and the wordings.
        nonsense_weights: Direction in which an embedding looks like talk without content.
        nonsense_bias: Added to the product with `nonsense_weights`.
    """
    pieces = split_pieces(text)
    if not pieces:
        return None
    vectors = embeddings.encode([one.plain for one in pieces])
    texts, spans = _list_wordings(question)
    is_of_bank = question.owner_id is None
    wordings = embeddings.cached(texts) if is_of_bank else embeddings.encode(texts)
    cosines = (vectors @ wordings.T).astype(np.float64)
    count = len(question.points)
    nearness = np.stack([_max(cosines, span) for span in spans], axis=1)
    points, contradictions = nearness[:, 1 : count + 1], nearness[:, count + 1 : 2 * count + 1]
    misconceptions = nearness[:, 2 * count + 1 :]
    nonsense = vectors.astype(np.float64) @ nonsense_weights + nonsense_bias
    any_misconception = misconceptions.max(axis=1, initial=_ABSENT)
    any_wrong = np.maximum(contradictions.max(axis=1), any_misconception)
    best = points.max(axis=1)
    wrongness = float(np.mean(np.maximum(any_wrong, 0.0) - best))
    mean_nonsense = float(nonsense.mean())
    answer = (
        float(best.mean()),
        wrongness,
        float(any_wrong.mean() - best.mean()),
        float(best.mean() - nearness[:, 0].mean()),
    )
    rows, nearest, nearest_wrong = [], [], []
    for number, point in enumerate(question.points):
        mine, against = points[:, number], contradictions[:, number]
        at = int(mine.argmax())
        others = np.delete(points, number, axis=1)
        other = float(others[at].max(initial=_ABSENT))
        has_contradictions = bool(point.not_)
        plain = pieces[at].plain
        rows.append(
            [
                mine[at],
                cosines[:, spans[number + 1].start].max(),
                np.sort(mine)[-3:].mean(),
                mine[at] - other,
                mine[at] - nearness[at, 0],
                against.max() if has_contradictions else _USUAL_CONTRADICTION,
                against[at] - mine[at] if has_contradictions else _USUAL_MARGIN,
                (against - mine).max() if has_contradictions else 0.0,
                any_misconception.max(),
                any_misconception[at] - mine[at],
                (any_misconception - best).max(),
                _overlap(plain, (point.text, *point.accepted)),
                float(_is_negated(plain) != _is_negated(point.text)),
                *answer,
                float(has_contradictions),
                nonsense[at],
                mean_nonsense,
                max(mean_nonsense + _NONSENSE_OFFSET, 0.0),
                float(not point.accepted),
            ]
        )
        nearest.append(at)
        nearest_wrong.append(int((np.maximum(against, any_misconception) - mine).argmax()))
    wrong_rows, nearest_misconceptions = [], []
    for number, misconception in enumerate(question.misconceptions):
        mine = misconceptions[:, number]
        at = int(mine.argmax())
        other = float(np.delete(misconceptions, number, axis=1)[at].max(initial=_ABSENT))
        wrong_rows.append(
            [
                mine[at],
                cosines[:, spans[2 * count + 1 + number].start].max(),
                mine[at] - best[at],
                mine[at] - other,
                wrongness,
                mean_nonsense,
                float(_is_negated(pieces[at].plain) != _is_negated(misconception.text)),
            ]
        )
        nearest_misconceptions.append(at)
    return AnswerFeatures(
        pieces,
        np.array(rows, dtype=np.float64).reshape(-1, len(POINT_FEATURES)),
        np.array(wrong_rows, dtype=np.float64).reshape(-1, len(MISCONCEPTION_FEATURES)),
        tuple(nearest),
        tuple(nearest_wrong),
        tuple(nearest_misconceptions),
    )


def _list_wordings(question: Question) -> tuple[tuple[str, ...], list[slice]]:
    """Return all wordings, and the slices of question, points, contradictions, misconceptions."""
    groups: list[Sequence[str]] = [
        (question.text,),
        *((one.text, *one.accepted) for one in question.points),
        *(one.not_ for one in question.points),
        *((one.text, *one.wordings) for one in question.misconceptions),
    ]
    ends = np.cumsum([len(group) for group in groups])
    spans = [
        slice(int(end) - len(group), int(end)) for group, end in zip(groups, ends, strict=True)
    ]
    return tuple(text for group in groups for text in group), spans


def _max(cosines: Numbers, span: slice) -> Numbers:
    highest: Numbers = cosines[:, span].max(axis=1, initial=_ABSENT)
    return highest


def _is_negated(text: str) -> bool:
    return _NEGATION.search(text.lower()) is not None


def _overlap(plain: str, wordings: Sequence[str]) -> float:
    words = _stems(plain)
    return len(words & _stems(" ".join(wordings))) / max(_MIN_OVERLAP_WORDS, len(words))


def _stems(text: str) -> set[str]:
    return {_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS}


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM_LENGTH:
            return word[: -len(suffix)]
    return word


__all__ = [
    "MISCONCEPTION_FEATURES",
    "POINT_FEATURES",
    "AnswerFeatures",
    "Numbers",
    "Piece",
    "compute_features",
    "split_pieces",
]
