"""The cost of a function of a text, as a ratio: a slow machine changes both of its sides."""

import gc
import math
import time
from collections.abc import Callable

_MAX_RATIO = 10
_MIN_CALLS = 3
_MAX_CALLS = 15


def assert_linear(function: Callable[[str], object], text: str) -> None:
    """Fail if the cost of a function grows faster than a text."""
    if not is_linear(function, text):
        raise AssertionError(f"{len(text)} characters took more than {_MAX_RATIO} times as long")


def is_linear(function: Callable[[str], object], text: str) -> bool:
    """Return whether a text takes less than ten times the processor time of its first quarter.

    Linear cost gives a ratio of four, quadratic cost of sixteen. Of each length the fastest call
    counts. There are three calls, and more while the ratio is too high, because a busy machine also
    makes calls slow that have the processor for themselves.
    """
    parts = text[: len(text) // 4], text
    short = whole = math.inf
    for number in range(1, _MAX_CALLS + 1):
        short, whole = (
            min(fastest, measure_cost(function, part))
            for fastest, part in zip((short, whole), parts, strict=True)
        )
        if number >= _MIN_CALLS and whole < _MAX_RATIO * short:
            return True
    return False


def measure_cost(function: Callable[[str], object], text: str) -> float:
    """Return the processor time of one call in seconds. Other threads do not count.

    The garbage collector is off: its cost depends on all objects of the process.
    """
    gc.disable()
    try:
        started_at = time.thread_time()
        function(text)
        return time.thread_time() - started_at
    finally:
        gc.enable()
