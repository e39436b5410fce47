"""The language of a text, phrase by phrase, by py3langid."""

from collections.abc import Sequence
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from coach_ai.scoring.units import Unit, split_units

_MAIN_LANGUAGE = "en"
_MIN_MAIN_SHARE = 0.5
"""A text with a smaller share of English characters is not an English text."""
_MAX_MAIN_PROBABILITY = 0.02
"""Probability of English below which a phrase is in another language. None of 3,586 English phrases
of the graded sets is below 0.03; no phrase of 17 texts in 15 other languages is above 0.001."""
_MIN_PHRASE_WORDS = 8
"""Clauses of a sentence are joined up to so many words: a shorter text is hard to tell."""
_MIN_PHRASE_CHARACTERS = 20
_MAX_CHARACTERS = 10_000
"""Characters of a text that decide on its language, which bounds the time."""


def is_english(text: str) -> bool:
    """True if at least half of the text is in English. A text without a word is."""
    units = split_units(text[:_MAX_CHARACTERS])
    english = keep_english(text, units)
    total = sum(unit.end - unit.begin for unit in units)
    return sum(unit.end - unit.begin for unit in english) >= _MIN_MAIN_SHARE * total


def keep_english(text: str, units: Sequence[Unit]) -> tuple[Unit, ...]:
    """Return those units of a text that belong to phrases in English."""
    return tuple(
        unit
        for phrase in _phrases(units)
        if _is_phrase_english(text[phrase[0].begin : phrase[-1].end])
        for unit in phrase
    )


def load_language_model() -> None:
    """Load the model, which takes a second the first time. Call it in a thread."""
    _load_identifier()


def _phrases(units: Sequence[Unit]) -> list[list[Unit]]:
    phrases: list[list[Unit]] = []
    words = 0
    for unit in units:
        if not phrases or unit.sentence != phrases[-1][-1].sentence or words >= _MIN_PHRASE_WORDS:
            phrases.append([])
            words = 0
        phrases[-1].append(unit)
        words += len(unit.tokens)
    return phrases


def _is_phrase_english(phrase: str) -> bool:
    if len(phrase) < _MIN_PHRASE_CHARACTERS:
        return True
    probabilities: dict[str, float] = dict(_load_identifier().rank(phrase))
    return probabilities[_MAIN_LANGUAGE] >= _MAX_MAIN_PROBABILITY


@cache
def _load_identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
