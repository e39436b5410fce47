"""Fillers: words that say nothing, and held vowels that the recogniser left out.

Where it could be either, it is no filler: what is reported is a lower bound.
"""

import statistics
from collections.abc import Sequence

from coach_ai.delivery.words import count_syllables, token_of
from coach_ai.domain import Hum, Word

FILLED_PAUSES = frozenset(("um", "uh", "uhm", "umm", "er", "erm", "hmm", "mm", "mhm", "ah", "eh"))

_PHRASES = (
    ("you", "know"), ("i", "mean"), ("sort", "of"), ("kind", "of"), ("or", "something"),
    ("basically",), ("actually",), ("literally",), ("honestly",), ("like",),
)  # fmt: skip
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
_NOUN_BEFORE = frozenset(
    ("a", "the", "this", "that", "these", "those", "what", "some", "any", "every", "one", "which",
     "all", "same", "right", "new", "another", "each", "no", "certain", "other", "different",
     "first", "second", "my", "our", "your", "their", "his", "her", "particular", "only")
)  # fmt: skip
_NEVER_BEFORE_THE_VERB = frozenset(
    ("and", "so", "or", "um", "uh", "er", "a", "an", "the", "my", "our", "this", "with", "for",
     "had", "have", "has", "got", "took", "because", "then", "there's", "said", "were", "in", "on")
)  # fmt: skip
_NEVER_AFTER_THE_VERB = frozenset(
    ("um", "uh", "er", "really", "basically", "literally", "totally", "twenty", "thirty", "forty",
     "fifty", "hundred", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
     "half")
)  # fmt: skip

_FASTEST = 0.12
"""Seconds a syllable: eight a second, faster than anybody talks for long."""
_LONG_HUM = 0.35
"""Seconds. Within words nothing steady was longer than 0.21, in speech read or synthesised."""


def find_fillers(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return where each discourse filler stands and how many words it has."""
    found: list[tuple[int, int]] = []
    index = 0
    while index < len(tokens):
        size = next((len(p) for p in _PHRASES if tuple(tokens[index : index + len(p)]) == p), 0)
        if size and _says_nothing(tokens, index, size):
            found.append((index, size))
            index += size
        else:
            index += 1
    return found


def count_fillers(tokens: Sequence[str]) -> int:
    """Return the number of discourse fillers; the verb and the comparing "like" are none."""
    return len(find_fillers(tokens))


def hums_between(hums: Sequence[Hum], words: Sequence[Word]) -> list[Hum]:
    """Return the held vowels that are no word's own: "uh" and "um" that were not written down.

    A recogniser stretches its words over what it leaves out. So a hum belongs to the words it
    touches where they would not have had the time to be said outside it: at this speaker's usual
    speed where the hum is short, at the fastest where it is longer than a word holds a vowel.
    One that was written down, as "um", is not among them.
    """
    if not words:
        return list(hums)
    usual = statistics.median(
        (word.end - word.start) / max(1, count_syllables(word.text)) for word in words
    )
    return [hum for hum in hums if _is_between(hum, words, usual)]


def _is_between(hum: Hum, words: Sequence[Word], usual: float) -> bool:
    touched = [word for word in words if word.start < hum.end and hum.start < word.end]
    if any(token_of(word.text) in FILLED_PAUSES for word in touched):
        return False
    outside = sum(
        max(0.0, hum.start - word.start) + max(0.0, word.end - hum.end) for word in touched
    )
    pace = _FASTEST if hum.end - hum.start >= _LONG_HUM else usual
    return outside >= pace * sum(count_syllables(word.text) for word in touched)


def _says_nothing(tokens: Sequence[str], index: int, size: int) -> bool:
    first = tokens[index]
    before = tokens[index - 1] if index else ""
    after = tokens[index + size] if index + size < len(tokens) else ""
    if first == "like":
        return before in _NEVER_BEFORE_THE_VERB or after in _NEVER_AFTER_THE_VERB
    if first in _VERB_BEFORE:
        return before not in _VERB_BEFORE[first] and after not in _VERB_AFTER
    if first in ("kind", "sort"):
        return before not in _NOUN_BEFORE
    if first == "or":
        return after not in ("else", "like", "similar")
    return True
