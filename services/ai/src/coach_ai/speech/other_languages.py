"""Finds the parts of a recording that are not in its main language.

Whisper decides on one language per recording. Read as English, other speech is left out,
translated, or becomes English words that were not said. Such stretches have few words or words of
low probability. Only those are encoded again, each phrase on its own, and their language detected:
it is reliable per phrase, and not per part of a longer encoding.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coach_ai.domain import Word
from coach_ai.speech.samples import SAMPLE_RATE, Samples

Span = tuple[int, int]
"""Begin and end of a part, in samples."""

Detect = Callable[[Samples], dict[str, float]]
"""Returns the probability of each language."""

MAIN_LANGUAGE = "en"

_MIN_WORD_PROBABILITY = 0.7
"""Mean over a phrase. Clean English has 0.9, whispered English 0.74 and more; German and Spanish
read as English have 0.64 at most."""
_MIN_WORDS_PER_SECOND = 1.0
_MIN_MAIN_PROBABILITY = 0.5
_MAX_MAIN_PROBABILITY = 0.3
_MIN_OTHER_PROBABILITY = 0.5
_MIN_PHRASE_SECONDS = 1.0
_MIN_STRETCH_SECONDS = 2.0
_JOIN_SECONDS = 1.5
_MAX_DETECTED_SECONDS = 30.0
_WORD_TOLERANCE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class OtherLanguage:
    """A stretch in another language, in samples, and its code."""

    begin: int
    end: int
    language: str


def find_other_languages(
    samples: Samples, parts: Sequence[Span], words: Sequence[Word], detect: Detect
) -> list[OtherLanguage]:
    """Return the stretches that are not in English, of a recording transcribed as English.

    Args:
        samples: The recording.
        parts: The stretches with voice, in order.
        words: The words found in it.
        detect: Detects the language of a part.
    """
    found: list[OtherLanguage] = []
    for stretch in _join([part for part in parts if _is_doubtful(part, words)], parts):
        main = [_is_main(samples, part, detect) for part in stretch]
        while stretch and main[0]:
            stretch, main = stretch[1:], main[1:]
        while stretch and main[-1]:
            stretch, main = stretch[:-1], main[:-1]
        if not stretch:
            continue
        begin, end = stretch[0][0], stretch[-1][1]
        if end - begin < _MIN_STRETCH_SECONDS * SAMPLE_RATE:
            continue
        language = _detect_other(samples, begin, end, detect)
        if language is not None:
            found.append(OtherLanguage(begin, end, language))
    return found


def measure_main_share(samples: Samples, parts: Sequence[Span], detect: Detect) -> float:
    """Return which share of the speech is English, from 0 to 1, phrase by phrase."""
    main = spoken = 0
    for part in parts:
        if _seconds(part) >= _MIN_PHRASE_SECONDS:
            spoken += part[1] - part[0]
            if detect(samples[part[0] : part[1]]).get(MAIN_LANGUAGE, 0.0) >= _MIN_MAIN_PROBABILITY:
                main += part[1] - part[0]
    return main / spoken if spoken else 0.0


def _is_doubtful(part: Span, words: Sequence[Word]) -> bool:
    begin, end = part[0] / SAMPLE_RATE, part[1] / SAMPLE_RATE
    inside = [
        word.probability or 0.0
        for word in words
        if begin - _WORD_TOLERANCE_SECONDS
        <= (word.start + word.end) / 2
        <= end + _WORD_TOLERANCE_SECONDS
    ]
    if len(inside) < _MIN_WORDS_PER_SECOND * (end - begin):
        return True
    return statistics.fmean(inside) < _MIN_WORD_PROBABILITY


def _join(doubtful: Sequence[Span], parts: Sequence[Span]) -> list[list[Span]]:
    """Return neighbouring doubtful parts together, if there is no sure part in between."""
    position = {part: index for index, part in enumerate(parts)}
    stretches: list[list[Span]] = []
    for part in doubtful:
        last = stretches[-1][-1] if stretches else None
        if (
            last is not None
            and position[part] == position[last] + 1
            and part[0] - last[1] <= _JOIN_SECONDS * SAMPLE_RATE
        ):
            stretches[-1].append(part)
        else:
            stretches.append([part])
    return stretches


def _is_main(samples: Samples, part: Span, detect: Detect) -> bool:
    if _seconds(part) < _MIN_PHRASE_SECONDS / 2:
        return False
    return detect(samples[part[0] : part[1]]).get(MAIN_LANGUAGE, 0.0) >= _MIN_MAIN_PROBABILITY


def _detect_other(samples: Samples, begin: int, end: int, detect: Detect) -> str | None:
    """Return the language of a stretch, or None if it may be English."""
    stop = min(end, begin + int(_MAX_DETECTED_SECONDS * SAMPLE_RATE))
    probabilities = detect(samples[begin:stop])
    language = max(probabilities, key=probabilities.__getitem__, default=MAIN_LANGUAGE)
    if probabilities.get(MAIN_LANGUAGE, 0.0) > _MAX_MAIN_PROBABILITY:
        return None
    return language if probabilities[language] >= _MIN_OTHER_PROBABILITY else None


def _seconds(part: Span) -> float:
    return (part[1] - part[0]) / SAMPLE_RATE
