"""Discourse fillers, and filled pauses that the transcript does not contain.

Ambiguous words are not counted, so the result is a lower bound.
"""

import statistics
from collections.abc import Sequence

from coach_ai.delivery.words import count_syllables, normalise_word
from coach_ai.domain import HeldVowel, Word

FILLED_PAUSES = frozenset(("um", "uh", "uhm", "umm", "er", "erm", "hmm", "mm", "mhm", "ah", "eh"))

_PHRASES = (
    ("you", "know"), ("i", "mean"), ("sort", "of"), ("kind", "of"), ("or", "something"),
    ("basically",), ("actually",), ("literally",), ("honestly",), ("like",),
)  # fmt: skip
# "You know" and "I mean" are clauses, and no fillers, after the first words and before the second.
_VERB_BEFORE = {
    "you": frozenset(
        ("do", "did", "don't", "didn't", "if", "as", "what", "that", "would", "to", "how", "when",
         "once", "before", "because", "let", "will", "can", "should")
    ),
    "i": frozenset(("what", "that", "if", "do", "did", "as", "which", "who")),
}  # fmt: skip
_VERB_AFTER = frozenset(
    ("how", "what", "why", "where", "who", "whom", "which", "whether", "if", "him", "her", "them",
     "me", "us", "about", "each", "to", "of", "nothing", "everything", "it's", "someone", "enough")
)  # fmt: skip
# "Kind" and "sort" are nouns after these words.
_NOUN_BEFORE = frozenset(
    ("a", "the", "this", "that", "these", "those", "what", "some", "any", "every", "one", "which",
     "all", "same", "right", "new", "another", "each", "no", "certain", "other", "different",
     "first", "second", "my", "our", "your", "their", "his", "her", "particular", "only")
)  # fmt: skip
# "Like" is a filler after the first or before the second, and else a verb or a comparison.
_BEFORE_FILLER_LIKE = frozenset(
    ("and", "so", "or", "um", "uh", "er", "a", "an", "the", "my", "our", "this", "with", "for",
     "had", "have", "has", "got", "took", "because", "then", "there's", "said", "were", "in", "on")
)  # fmt: skip
_AFTER_FILLER_LIKE = frozenset(
    ("um", "uh", "er", "really", "basically", "literally", "totally", "twenty", "thirty", "forty",
     "fifty", "hundred", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
     "half")
)  # fmt: skip

_MIN_SECONDS_PER_SYLLABLE = 0.12
"""Eight syllables per second: faster than sustained speech."""
_LONG_HELD_VOWEL_SECONDS = 0.35
"""Within words, the longest steady stretch was 0.21 s, in read and in synthesised speech."""


def find_fillers(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return the index and the number of words of each discourse filler."""
    found: list[tuple[int, int]] = []
    index = 0
    while index < len(tokens):
        size = next((len(p) for p in _PHRASES if tuple(tokens[index : index + len(p)]) == p), 0)
        if size and _is_filler(tokens, index, size):
            found.append((index, size))
            index += size
        else:
            index += 1
    return found


def count_fillers(tokens: Sequence[str]) -> int:
    """Return the number of discourse fillers. "Like" as a verb or in a comparison does
    not count."""
    return len(find_fillers(tokens))


def held_vowels_between(held_vowels: Sequence[HeldVowel], words: Sequence[Word]) -> list[HeldVowel]:
    """Return the held vowels between words: filled pauses that the transcript does not contain.

    A recogniser stretches words over the filled pauses that it omits. A held vowel therefore
    belongs to the words that it overlaps if they would be too short without it: shorter than at the
    speaker's usual rate, or for a long vowel, shorter than at the highest rate. Held vowels that
    the transcript contains as "um" are not returned."""
    if not words:
        return list(held_vowels)
    usual_seconds_per_syllable = statistics.median(
        (word.end - word.start) / max(1, count_syllables(word.text)) for word in words
    )
    return [vowel for vowel in held_vowels if _is_between(vowel, words, usual_seconds_per_syllable)]


def _is_between(vowel: HeldVowel, words: Sequence[Word], usual_seconds_per_syllable: float) -> bool:
    touched = [word for word in words if word.start < vowel.end and vowel.start < word.end]
    if any(normalise_word(word.text) in FILLED_PAUSES for word in touched):
        return False
    outside = sum(
        max(0.0, vowel.start - word.start) + max(0.0, word.end - vowel.end) for word in touched
    )
    pace = (
        _MIN_SECONDS_PER_SYLLABLE
        if vowel.end - vowel.start >= _LONG_HELD_VOWEL_SECONDS
        else usual_seconds_per_syllable
    )
    return outside >= pace * sum(count_syllables(word.text) for word in touched)


def _is_filler(tokens: Sequence[str], index: int, size: int) -> bool:
    first = tokens[index]
    before = tokens[index - 1] if index else ""
    after = tokens[index + size] if index + size < len(tokens) else ""
    if first == "like":
        return before in _BEFORE_FILLER_LIKE or after in _AFTER_FILLER_LIKE
    if first in _VERB_BEFORE:
        return before not in _VERB_BEFORE[first] and after not in _VERB_AFTER
    if first in ("kind", "sort"):
        return before not in _NOUN_BEFORE
    if first == "or":
        return after not in ("else", "like", "similar")
    return True
