"""Proposes expected points from a model answer, by rule and without a language model."""

import re
from collections.abc import Iterator
from itertools import groupby

from coach_ai.domain import ExpectedPoint, Importance
from coach_ai.scoring.units import MAX_UNIT_WORDS, split_units
from coach_ai.text import tokenize

MAX_PROPOSED_POINTS = 12
"""As many as an own question can have."""
MAX_PROPOSED_MUSTS = 6
"""More required points than this are seldom all covered by an answer of two minutes."""
MAX_POINT_CHARACTERS = 300
_MIN_CONTENT_WORDS = 2
_MIN_CONTENT_WORD_LETTERS = 4
_MAX_UNITS = 200
_BONUS_CUES = re.compile(
    r"^(?:also|for (?:example|instance)|in addition|besides|optionally|ideally|as a bonus"
    r"|sometimes)\b|\b(?:optional|nice to have|such as|e\.g)\b",
    re.IGNORECASE,
)
_LEADING_CONNECTIVES = re.compile(r"^(?:\W|(?:and|but|so|then|well|now)\b)+", re.IGNORECASE)


def propose_points(model_answer: str) -> tuple[ExpectedPoint, ...]:
    """Return at most 12 points in the order of the model answer, for the user to edit.

    A point is a sentence, or a clause of a sentence of more than 24 words. Parts with fewer than
    two content words, and parts without a new content word, are left out. Examples and additions
    are `bonus`, and so are all points after the sixth `must`.
    """
    points: list[ExpectedPoint] = []
    known: set[str] = set()
    musts = 0
    for text in _list_parts(model_answer):
        words = _list_content_words(text)
        if len(points) == MAX_PROPOSED_POINTS:
            break
        if len(words) < _MIN_CONTENT_WORDS or words <= known:
            continue
        known |= words
        is_must = musts < MAX_PROPOSED_MUSTS and not _BONUS_CUES.search(text)
        musts += is_must
        importance = Importance.MUST if is_must else Importance.BONUS
        points.append(ExpectedPoint(f"p{len(points) + 1}", _format(text), importance))
    return tuple(points)


def _list_parts(text: str) -> Iterator[str]:
    units = split_units(text, max_units=_MAX_UNITS)
    for _, group in groupby(units, key=lambda unit: unit.sentence):
        sentence = list(group)
        if sum(len(unit.tokens) for unit in sentence) <= MAX_UNIT_WORDS:
            yield text[sentence[0].begin : sentence[-1].end]
        else:
            yield from (unit.text for unit in sentence)


def _list_content_words(text: str) -> set[str]:
    return {
        word
        for word in tokenize(text)
        if len(word) >= _MIN_CONTENT_WORD_LETTERS or word[0].isdigit()
    }


def _format(text: str) -> str:
    words = _LEADING_CONNECTIVES.sub("", " ".join(text.split())).rstrip(",; ")
    return (words[:1].upper() + words[1:])[:MAX_POINT_CHARACTERS]
