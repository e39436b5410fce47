"""Finds the interviewer's question in a transcript. Plain Python.

A loudspeaker repeats the question into the microphone: before the answer or within it, in part, or
with errors of the recogniser. These words are the interviewer's. The speaker's own restatement
("A time I solved a hard problem was …") is no echo.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from coach_ai.text import TOKEN, normalise, split_sentences

Span = tuple[int, int]
"""Begin and end offsets in a text."""

MIN_QUESTION_TOKENS = 4
_MIN_PART_TOKENS = 5
"""Tokens that a part of the question has at least to be an echo."""
_MIN_WHOLE_SHARE = 0.8
"""Share of the question from which on an echo needs no word of `INTERVIEWER_WORDS`."""
_MAX_ERROR_RATE = 0.4
"""Tokens of an echo that differ from the question, per token of the echo."""
INTERVIEWER_WORDS = frozenset(("you", "your", "you're", "you've", "you'd", "yourself", "me", "us"))
"""How an interviewer calls the two of them. A restatement says “I”."""
_MAX_QUESTION_TOKENS = 60
"""Longer questions are searched for their end, which bounds the time."""
_MAX_ALIGNMENTS = 40
"""Places of a text that are compared with the question, which bounds the time."""
_MIN_PAIRS = 2
"""Pairs of neighbouring tokens that a place has in common with the question."""
_MAX_LOST_TOKENS = 8
"""Tokens at the begin or end of an echo that the recogniser may have got wrong."""
_MATCH, _ERROR = 2, -1


def find_echoes(text: str, question: str | None) -> tuple[Span, ...]:
    """Return the parts of a text that repeat the question, in order."""
    asked = TOKEN.findall(normalise(question or ""))[-_MAX_QUESTION_TOKENS:]
    if len(asked) < MIN_QUESTION_TOKENS:
        return ()
    spoken = normalise(text)
    if len(spoken) != len(text):
        return ()
    places = [match.span() for match in TOKEN.finditer(spoken)]
    tokens = [spoken[begin:end] for begin, end in places]
    runs = list(_find_runs(tokens, asked))
    if not runs:
        return ()
    edges = [(one.begin, one.end) for one in split_sentences(text)]
    return tuple(
        (places[first][0], _end_with_punctuation(text, places[last - 1][1]))
        for first, last in (_extend(run, places, edges) for run in runs)
    )


def split_around(text: str, spans: Sequence[Span]) -> list[Span]:
    """Return the parts of a text outside of ordered spans, without empty ones."""
    begins = [0, *(end for _, end in spans)]
    ends = [*(begin for begin, _ in spans), len(text)]
    return [
        (begin, end) for begin, end in zip(begins, ends, strict=True) if text[begin:end].strip()
    ]


@dataclass(frozen=True, slots=True)
class _Run:
    """Tokens `first` to `last` of a text that repeat a part of the question.

    `lost_before` and `lost_after` are the numbers of tokens of the question outside of that part.
    """

    first: int
    last: int
    lost_before: int
    lost_after: int


class _Cell(NamedTuple):
    """The best alignment that ends at a pair of tokens, and where it begins."""

    score: int
    asked_begin: int
    begin: int
    matches: int = 0
    interviewer_words: int = 0


def _find_runs(tokens: Sequence[str], asked: Sequence[str]) -> Iterator[_Run]:
    pairs = set(pairwise(asked))
    hits = [(at, pair) for at, pair in enumerate(pairwise(tokens)) if pair in pairs]
    reach = len(asked) + len(asked) // 2
    next_token = alignments = 0
    for number, (at, _) in enumerate(hits):
        if at < next_token or alignments == _MAX_ALIGNMENTS:
            continue
        near = {pair for place, pair in hits[number : number + reach] if place < at + reach}
        if len(near) < _MIN_PAIRS:
            continue
        alignments += 1
        begin = max(next_token, at - _MAX_LOST_TOKENS - 1)
        run = _align(tokens[begin : at + reach], asked)
        if run is not None:
            yield _Run(begin + run.first, begin + run.last, run.lost_before, run.lost_after)
            next_token = begin + run.last


def _align(spoken: Sequence[str], asked: Sequence[str]) -> _Run | None:
    """Return the best local alignment (Smith and Waterman, 1981) if it is an echo."""
    cells = [_Cell(0, 0, column) for column in range(len(spoken) + 1)]
    best, best_end, best_asked_end = cells[0], 0, 0
    for row, wanted in enumerate(asked, 1):
        above, cells = cells, [_Cell(0, row, 0)]
        for column, token in enumerate(spoken, 1):
            before = above[column - 1]
            if token == wanted:
                cell = _Cell(
                    before.score + _MATCH,
                    before.asked_begin,
                    before.begin,
                    before.matches + 1,
                    before.interviewer_words + (token in INTERVIEWER_WORDS),
                )
            else:
                cell = max(before, above[column], cells[-1], key=lambda one: one.score)
                cell = cell._replace(score=cell.score + _ERROR)
            if cell.score <= 0:
                cell = _Cell(0, row, column)
            cells.append(cell)
            if cell.score > best.score:
                best, best_end, best_asked_end = cell, column, row
    length = max(best_end - best.begin, best_asked_end - best.asked_begin)
    if length - best.matches > _MAX_ERROR_RATE * length:
        return None
    is_whole = best.matches >= _MIN_WHOLE_SHARE * len(asked)
    is_part = best.interviewer_words and best.matches >= _MIN_PART_TOKENS
    if not best.matches or not (is_whole or is_part):
        return None
    return _Run(best.begin, best_end, best.asked_begin, len(asked) - best_asked_end)


def _extend(run: _Run, places: Sequence[Span], sentences: Sequence[Span]) -> tuple[int, int]:
    """Return the first and last token of an echo with its lost begin and end.

    The rest of a sentence is lost if it is hardly longer than the missing part of the question.
    """
    first, last = run.first, run.last
    begin, end = places[first][0], places[last - 1][1]
    for sentence_begin, sentence_end in sentences:
        if sentence_begin <= begin < sentence_end:
            most = min(run.lost_before + 1, _MAX_LOST_TOKENS) if run.lost_before else 0
            rest = 0
            while rest <= most and first > rest and places[first - rest - 1][0] >= sentence_begin:
                rest += 1
            first -= rest if rest <= most else 0
        if sentence_begin < end <= sentence_end:
            most = min(run.lost_after + 1, _MAX_LOST_TOKENS) if run.lost_after else 0
            rest = 0
            while (
                rest <= most
                and last + rest < len(places)
                and places[last + rest][1] <= sentence_end
            ):
                rest += 1
            last += rest if rest <= most else 0
    return first, last


def _end_with_punctuation(text: str, end: int) -> int:
    while end < len(text) and text[end] in ".!?,;:\"'’”)":
        end += 1
    return end
