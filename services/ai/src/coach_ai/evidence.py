"""Where in an answer something was said: quotes, and their times. Plain Python."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coach_ai.domain import Answer, Claim, Word

_SENTENCE = re.compile(r"[^.!?]+(?:[.!?]+(?=\s|$)|$|[.!?]+)")
_TOKEN = re.compile(r"[a-z0-9']+(?:\.[0-9]+)?%?")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as it stands in the text, with its place and its words in lower case."""

    text: str
    begin: int
    tokens: tuple[str, ...]

    @property
    def end(self) -> int:
        """The place behind its last character."""
        return self.begin + len(self.text)


def tokens_of(text: str) -> tuple[str, ...]:
    """Return the words of a text, lower-case, typographic apostrophes made plain."""
    return tuple(_TOKEN.findall(text.lower().replace("’", "'")))


def sentences_of(text: str) -> list[Sentence]:
    """Return the sentences; decimals and `Mr.` do not end one."""
    found: list[Sentence] = []
    begin = 0
    guarded = re.sub(r"\b(Mr|Mrs|Ms|Dr|St|e\.g|i\.e|vs)\.", lambda m: m[0][:-1] + "\0", text)
    guarded = re.sub(r"(?<=\d)\.(?=\d)", "\0", guarded)
    for match in _SENTENCE.finditer(guarded):
        raw = text[match.start() : match.end()]
        stripped = raw.strip()
        if stripped:
            begin = match.start() + raw.index(stripped)
            found.append(Sentence(stripped, begin, tokens_of(stripped)))
    return found


def find_quote(text: str, quote: str) -> str | None:
    """Return the very words of `text` that `quote` stands for, or None if they were not said.

    Case, punctuation and white space may differ; words and their order may not.
    """
    wanted = tokens_of(quote)
    if not wanted:
        return None
    places = [
        (match[0], match.start(), match.end())
        for match in _TOKEN.finditer(text.lower().replace("’", "'"))
    ]
    for first in range(len(places) - len(wanted) + 1):
        window = places[first : first + len(wanted)]
        if tuple(token for token, _, _ in window) == wanted:
            end = window[-1][2]
            while end < len(text) and text[end] in ".!?,;":
                end += 1
            return text[window[0][1] : end].rstrip(",;")
    return None


def times_of(answer: Answer, quote: str) -> tuple[float | None, float | None]:
    """Return when a quote was said, in seconds; None where the answer has no word times."""
    begin = answer.text.find(quote)
    if begin < 0 or not answer.words:
        return None, None
    placed = _placed(answer.text, answer.words)
    inside = [word for place, word in placed if begin <= place < begin + len(quote)]
    if not inside:
        return None, None
    start, end = min(word.start for word in inside), max(word.end for word in inside)
    return (start, end) if end > start else (None, None)


def claim(answer: Answer, kind: str, dimension: str, text: str, quote: str) -> Claim:
    """Return a claim with the times of its quote."""
    start, end = times_of(answer, quote)
    return Claim(kind, dimension, text, quote, start, end)


def _placed(text: str, words: Sequence[Word]) -> list[tuple[int, Word]]:
    """Return each word with its place in the text; words that are not found are left out."""
    placed: list[tuple[int, Word]] = []
    at = 0
    for word in words:
        found = text.find(word.text, at, at + len(word.text) + 40)
        if found >= 0:
            placed.append((found, word))
            at = found + len(word.text)
    return placed
