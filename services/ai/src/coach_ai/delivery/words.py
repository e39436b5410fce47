"""Words for the delivery metrics: normal form, syllables and speech span."""

import re
from collections.abc import Sequence

from coach_ai.domain import Silence, Word


def normalise_word(text: str) -> str:
    """Return a word in lower case, without punctuation."""
    return re.sub(r"[^a-z']", "", text.lower().replace("’", "'"))


def count_syllables(word: str) -> int:
    """Return an estimate of the syllables of an English word: its vowel groups.

    A number counts one syllable per digit.
    """
    letters = re.sub(r"[^a-z]", "", word.lower())
    digits = len(re.findall(r"\d", word))
    if not letters:
        return digits
    groups = len(re.findall(r"[aeiouy]+", letters))
    if letters.endswith("e") and not letters.endswith(("le", "ee", "ye")) and groups > 1:
        groups -= 1
    if letters.endswith("ed") and not letters.endswith(("ted", "ded")) and groups > 1:
        groups -= 1
    return digits + max(1, groups)


def speech_span(words: Sequence[Word], silences: Sequence[Silence]) -> tuple[float, float]:
    """Return when speech begins and ends.

    A recogniser may let the first word begin, or the last one end, in a silence. The silence then
    determines the time.
    """
    begin, end = words[0].start, words[-1].end
    for silence in silences:
        if silence.start <= begin < silence.end < end:
            begin = silence.end
        if begin < silence.start < end <= silence.end:
            end = silence.start
    return begin, end
