"""Words as delivery sees them: tokens, syllables, and the part of the recording they span."""

import re
from collections.abc import Sequence

from coach_ai.domain import Silence, Word


def token_of(text: str) -> str:
    """Return a word in small letters, without its punctuation."""
    return re.sub(r"[^a-z']", "", text.lower().replace("’", "'"))


def count_syllables(word: str) -> int:
    """Return an estimate of the syllables of an English word: its groups of vowels.

    A figure counts one a digit.
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


def span_of(words: Sequence[Word], silences: Sequence[Silence]) -> tuple[float, float]:
    """Return where speaking begins and ends.

    A recogniser lets the first word begin, and the last one end, in the silence around it:
    there the sound is right.
    """
    begin, end = words[0].start, words[-1].end
    for silence in silences:
        if silence.start <= begin < silence.end < end:
            begin = silence.end
        if begin < silence.start < end <= silence.end:
            end = silence.start
    return begin, end
