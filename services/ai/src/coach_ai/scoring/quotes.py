"""Quotes: finding them in an answer, and the times at which they were spoken. Plain Python."""

from collections.abc import Sequence

from coach_ai.domain import Answer, Remark, Word
from coach_ai.text import TOKEN, normalise, tokenize

_SEARCH_CHARACTERS = 40
"""How far behind its expected place a word is searched in the text."""


def find_quote(text: str, quote: str) -> str | None:
    """Return the passage of `text` that equals `quote`, or None.

    Case, punctuation and white space may differ. Words and their order may not.
    """
    wanted = tokenize(quote)
    if not wanted:
        return None
    tokens = [(match[0], match.start(), match.end()) for match in TOKEN.finditer(normalise(text))]
    # A search in one string takes time in proportion to the text, unlike a window of tokens.
    joined = "".join(f" {token}" for token, _, _ in tokens) + " "
    found = joined.find(f" {' '.join(wanted)} ")
    if found < 0:
        return None
    first = joined.count(" ", 0, found)
    begin, end = tokens[first][1], tokens[first + len(wanted) - 1][2]
    while end < len(text) and text[end] in ".!?,;":
        end += 1
    return text[begin:end].rstrip(",;")


def quote_times(answer: Answer, quote: str) -> tuple[float | None, float | None]:
    """Return start and end of a quote in seconds, or (None, None) without word times."""
    begin = answer.text.find(quote)
    if begin < 0 or not answer.words:
        return None, None
    aligned = _align_words(answer.text, answer.words)
    inside = [word for offset, word in aligned if begin <= offset < begin + len(quote)]
    if not inside:
        return None, None
    start, end = min(word.start for word in inside), max(word.end for word in inside)
    return (start, end) if end > start else (None, None)


def make_remark(answer: Answer, kind: str, dimension: str, text: str, quote: str) -> Remark:
    """Return a remark with the times of its quote."""
    start, end = quote_times(answer, quote)
    return Remark(kind, dimension, text, quote, start, end)


def _align_words(text: str, words: Sequence[Word]) -> list[tuple[int, Word]]:
    """Return each word with its offset in the text. Words that are not found are left out.

    The words are in the order of the text. Behind a long stretch without times, the next word is
    searched in the rest of the text, together with the one after it.
    """
    aligned: list[tuple[int, Word]] = []
    at = 0
    for index, word in enumerate(words):
        found = text.find(word.text, at, at + len(word.text) + _SEARCH_CHARACTERS)
        if found < 0 and index + 1 < len(words):
            found = text.find(f"{word.text} {words[index + 1].text}", at)
        if found >= 0:
            aligned.append((found, word))
            at = found + len(word.text)
    return aligned
