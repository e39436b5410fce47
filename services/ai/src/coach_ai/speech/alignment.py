"""Gives the words of one transcript the times that another transcriber measured. Plain Python.

Both transcripts are of the same recording, so equal words lie close together. The alignment is
global (Needleman and Wunsch 1970), in a band around the diagonal: its cost grows linearly with the
number of words, also for a text that repeats two words for half an hour.
"""

from collections.abc import Sequence
from dataclasses import replace

from coach_ai.domain import Word
from coach_ai.text import tokenize

_BAND_WORDS = 200
"""How far the two transcripts may be apart: about a minute and a half that one of them lacks."""
_MATCH, _MISMATCH, _GAP = 2, -1, -1
_IMPOSSIBLE = -(10**9)
_BOTH, _OURS, _THEIRS = 0, 1, 2


def align(text: str, timed_words: Sequence[Word]) -> tuple[Word, ...]:
    """Return the words of `text` that also occur in `timed_words`, in order, with their times.

    Words without a counterpart are left out: no time is interpolated.
    """
    written = text.split()
    ours = [" ".join(tokenize(word)) for word in written]
    theirs = [" ".join(tokenize(word.text)) for word in timed_words]
    if not ours or not theirs:
        return ()
    return tuple(
        replace(timed_words[other], text=written[one])
        for one, other in _trace(ours, theirs, _fill(ours, theirs))
    )


def _first_column(row: int, rows: int, columns: int) -> int:
    """Return where the band begins in a row. It follows the diagonal of the whole table."""
    return max(0, row * columns // rows - _BAND_WORDS)


def _fill(ours: Sequence[str], theirs: Sequence[str]) -> list[bytearray]:
    """Return the best step to each cell of the band, row by row."""
    rows, columns = len(ours), len(theirs)
    steps: list[bytearray] = []
    previous_first, previous = 0, [_GAP * column for column in range(columns + 1)]
    for row in range(1, rows + 1):
        first = _first_column(row, rows, columns)
        last = min(columns, row * columns // rows + _BAND_WORDS)
        current: list[int] = []
        row_steps = bytearray()
        word = ours[row - 1]
        left = _IMPOSSIBLE
        for column in range(first, last + 1):
            above = column - previous_first
            up = previous[above] if 0 <= above < len(previous) else _IMPOSSIBLE
            score, step = up + _GAP, _OURS
            if column:
                diagonal = previous[above - 1] if 0 < above <= len(previous) else _IMPOSSIBLE
                is_match = bool(word) and word == theirs[column - 1]
                by_both = diagonal + (_MATCH if is_match else _MISMATCH)
                if by_both >= score:
                    score, step = by_both, _BOTH
                if left + _GAP > score:
                    score, step = left + _GAP, _THEIRS
            current.append(score)
            row_steps.append(step)
            left = score
        steps.append(row_steps)
        previous_first, previous = first, current
    return steps


def _trace(
    ours: Sequence[str], theirs: Sequence[str], steps: list[bytearray]
) -> list[tuple[int, int]]:
    """Return the index pairs of equal words on the best path."""
    rows, columns = len(ours), len(theirs)
    pairs: list[tuple[int, int]] = []
    row, column = rows, columns
    while row and column:
        step = steps[row - 1][column - _first_column(row, rows, columns)]
        if step == _BOTH:
            if ours[row - 1] and ours[row - 1] == theirs[column - 1]:
                pairs.append((row - 1, column - 1))
            row, column = row - 1, column - 1
        elif step == _OURS:
            row -= 1
        else:
            column -= 1
    return pairs[::-1]
