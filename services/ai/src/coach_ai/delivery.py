"""How an answer was spoken, from its words and the audio's silences alone. Plain Python.

Bands, not perfection: inside its band nothing is said about a figure. Pauses come from the
audio's energy (`silences`), never from gaps between a recogniser's words, which hide them.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from coach_ai.domain import Answer, Silence

MIN_SECONDS = 20.0
MIN_WORDS = 40

_PAUSE_SECONDS = 0.25
_LONG_PAUSE_SECONDS = 2.0
_FILLED = frozenset(("um", "uh", "uhm", "umm", "er", "erm", "hmm", "mm", "ah"))
_FILLERS = (
    ("you", "know"), ("i", "mean"), ("sort", "of"), ("kind", "of"), ("or", "something"),
    ("basically",), ("actually",), ("literally",), ("honestly",), ("like",),
)  # fmt: skip
_REAL_LIKE_BEFORE = frozenset(
    ("would", "i'd", "we'd", "you'd", "they'd", "he'd", "she'd", "i", "we", "they", "you", "really",
     "looks", "looked", "look", "feel", "feels", "felt", "sounds", "sounded", "something",
     "things", "tools", "more", "just", "exactly", "much", "is", "was", "what's", "don't",
     "didn't", "not", "be", "to", "did", "do", "seems", "seemed", "systems", "companies")
)  # fmt: skip
_VERBAL_BEFORE = frozenset(
    ("do", "did", "don't", "didn't", "if", "as", "what", "that", "would", "to")
)

Metric = dict[str, Any]


def measure(answer: Answer) -> dict[str, Any]:
    """Return metric name to {value, unit, band, verdict, source, n}.

    `{"status": "not_measurable", "reason": …}` for answers without times, under 20 s or under
    40 words, where the figures would say more than is known.
    """
    words = answer.words
    if not words or answer.silences is None:
        return _not_measurable("the words have no times")
    span = words[-1].end - words[0].start
    if span < MIN_SECONDS or len(words) < MIN_WORDS:
        return _not_measurable(
            f"{span:.0f} s and {len(words)} words are too few to measure"
            f" (at least {MIN_SECONDS:.0f} s and {MIN_WORDS} words)"
        )
    tokens = [re.sub(r"[^a-z']", "", word.text.lower().replace("’", "'")) for word in words]
    filled = sum(token in _FILLED for token in tokens)
    fillers = count_fillers(tokens)
    spoken = len(words) - filled - fillers
    pauses = _inside(answer.silences, words[0].start, words[-1].end)
    paused = sum(pause.end - pause.start for pause in pauses)
    syllables = sum(map(count_syllables, tokens))
    minutes = span / 60
    return {
        "pace": _metric(
            spoken / minutes, "words/min", (110, 190), "Read.ai, Speech Away: 130-175 usual", spoken
        ),
        "articulation_rate": _metric(
            syllables / max(span - paused, 1.0),
            "syllables/s",
            (3.0, 6.0),
            "Jacewicz 2009: 3.3-5.9 observed; syllables estimated by vowel groups",
            syllables,
        ),
        "silent_pauses": _metric(
            len(pauses) / minutes, "per min", None, "Hincks 2005: pauses from 250 ms", len(pauses)
        ),
        "pause_length": _metric(
            _log_median([pause.end - pause.start for pause in pauses]),
            "s",
            None,
            "log-median of pauses from 250 ms",
            len(pauses),
        ),
        "long_pauses": _metric(
            sum(pause.end - pause.start > _LONG_PAUSE_SECONDS for pause in pauses),
            "count",
            (0, 3),
            "ours: over 2 s",
            len(pauses),
        ),
        "phonation_ratio": _metric(
            (span - paused) / span,
            "share of time",
            None,
            "De Jong: speech time / span",
            len(pauses),
        ),
        "discourse_fillers": _metric(
            100 * fillers / len(words), "per 100 words", (0, 4), "Read.ai: under 4 %", fillers
        ),
        "filled_pauses": _metric(
            filled / minutes,
            "per min, at least",
            (0, 5),
            "Laske & DiGennaro Reed 2024: up to 5; speech recognition leaves most out",
            filled,
        ),
        "answer_length": _metric(
            span, "s", (45, 180), "superpowerresume, velyq: 60-120; over 180 rambles", len(words)
        ),
    }


def count_fillers(tokens: Sequence[str]) -> int:
    """Return the number of discourse fillers; the verb and the comparing "like" are none.

    Where it could be either, it is not counted.
    """
    count = 0
    index = 0
    while index < len(tokens):
        step = 1
        for phrase in _FILLERS:
            if tuple(tokens[index : index + len(phrase)]) == phrase and _is_filler(tokens, index):
                count += 1
                step = len(phrase)
                break
        index += step
    return count


def count_syllables(word: str) -> int:
    """Return an estimate of the syllables of an English word: its groups of vowels."""
    letters = re.sub(r"[^a-z]", "", word)
    if not letters:
        return 0
    groups = len(re.findall(r"[aeiouy]+", letters))
    if letters.endswith("e") and not letters.endswith(("le", "ee", "ye")) and groups > 1:
        groups -= 1
    if letters.endswith("ed") and not letters.endswith(("ted", "ded")) and groups > 1:
        groups -= 1
    return max(1, groups)


def _is_filler(tokens: Sequence[str], index: int) -> bool:
    before = tokens[index - 1] if index else ""
    if tokens[index] == "like":
        return before not in _REAL_LIKE_BEFORE
    if tokens[index] in ("you", "i"):
        return before not in _VERBAL_BEFORE
    if tokens[index] in ("kind", "sort"):
        return before not in ("a", "the", "this", "that", "what", "some", "any", "every", "one")
    return True


def _inside(silences: Sequence[Silence], begin: float, end: float) -> list[Silence]:
    return [
        silence
        for silence in silences
        if silence.start >= begin
        and silence.end <= end
        and silence.end - silence.start >= _PAUSE_SECONDS
    ]


def _log_median(values: Sequence[float]) -> float:
    if not values:
        return 0.0
    ordered = sorted(math.log(value) for value in values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return math.exp(ordered[middle])
    return math.exp((ordered[middle - 1] + ordered[middle]) / 2)


def _metric(
    value: float, unit: str, band: tuple[float, float] | None, source: str, n: int
) -> Metric:
    if band is None:
        verdict = "report_only"
    elif value < band[0]:
        verdict = "below"
    else:
        verdict = "above" if value > band[1] else "inside"
    return {
        "value": round(value, 2),
        "unit": unit,
        "band": None if band is None else list(band),
        "verdict": verdict,
        "source": source,
        "n": n,
    }


def _not_measurable(reason: str) -> dict[str, Any]:
    return {"status": "not_measurable", "reason": reason}
