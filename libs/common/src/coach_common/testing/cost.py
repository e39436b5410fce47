"""The cost of a function of a text, as a ratio: a slow machine changes both of its sides."""

import time
from collections.abc import Callable


def assert_linear(function: Callable[[str], object], text: str) -> None:
    """Fail if a text takes more than ten times the processor time of its first quarter.

    Linear cost gives a ratio of four, quadratic cost of sixteen. Of each length the fastest of
    three calls counts, and only the time of this thread.
    """
    short, whole = (_measure(function, part) for part in (text[: len(text) // 4], text))
    if whole >= 10 * short:
        raise AssertionError(f"{len(text)} characters took {whole / short:.1f} times as long")


def _measure(function: Callable[[str], object], text: str) -> float:
    seconds = []
    for _ in range(3):
        started_at = time.thread_time()
        function(text)
        seconds.append(time.thread_time() - started_at)
    return min(seconds)
