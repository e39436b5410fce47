"""Parts of a recording in another language are found by doubtful words and detected per phrase."""

import numpy as np
import pytest

from coach_ai.domain import Word
from coach_ai.speech.other_languages import OtherLanguage, find_other_languages, measure_main_share
from coach_ai.speech.samples import SAMPLE_RATE, Samples

GERMAN, ENGLISH = 0.5, 0.25


def _recording(*parts: tuple[float, float, float]) -> tuple[Samples, list[tuple[int, int]]]:
    """Return audio whose level stands for its language, and its parts (begin, end, level)."""
    samples = np.zeros(int(max(end for _, end, _ in parts) * SAMPLE_RATE), np.float32)
    spans = []
    for begin, end, level in parts:
        span = (int(begin * SAMPLE_RATE), int(end * SAMPLE_RATE))
        samples[slice(*span)] = level
        spans.append(span)
    return samples, spans


def _detect(samples: Samples) -> dict[str, float]:
    spoken = samples[samples > 0]
    german = float(np.mean(spoken > (GERMAN + ENGLISH) / 2))
    return {"de": 0.97 * german, "en": 0.97 * (1 - german), "la": 0.03}


def _words(begin: float, end: float, probability: float) -> list[Word]:
    return [Word("w", at, at + 0.3, probability) for at in np.arange(begin, end - 0.3, 0.4)]


def _seconds(found: list[OtherLanguage]) -> list[tuple[float, float, str]]:
    return [(one.begin / SAMPLE_RATE, one.end / SAMPLE_RATE, one.language) for one in found]


@pytest.mark.parametrize("probability", [None, 0.5])
def test_other_language_is_found_if_its_words_are_missing_or_doubtful(
    probability: float | None,
) -> None:
    samples, parts = _recording((0, 4, GERMAN), (4.2, 7, GERMAN), (8, 20, ENGLISH))
    words = _words(8, 20, 0.95) + ([] if probability is None else _words(0, 7, probability))

    assert _seconds(find_other_languages(samples, parts, words, _detect)) == [(0, 7, "de")]


def test_confident_words_are_not_examined() -> None:
    samples, parts = _recording((0, 10, GERMAN))

    assert find_other_languages(samples, parts, _words(0, 10, 0.9), _detect) == []


def test_doubtful_english_is_kept() -> None:
    samples, parts = _recording((0, 10, ENGLISH), (11, 20, ENGLISH))

    assert find_other_languages(samples, parts, _words(0, 20, 0.5), _detect) == []


def test_english_next_to_it_is_not_taken_along() -> None:
    samples, parts = _recording((0, 2, ENGLISH), (2.2, 6, GERMAN), (6.2, 8, ENGLISH))

    assert _seconds(find_other_languages(samples, parts, [], _detect)) == [(2.2, 6, "de")]


def test_two_stretches_are_two() -> None:
    samples, parts = _recording((0, 4, GERMAN), (5, 10, ENGLISH), (11, 15, GERMAN))

    found = find_other_languages(samples, parts, _words(5, 10, 0.9), _detect)

    assert _seconds(found) == [(0, 4, "de"), (11, 15, "de")]


def test_single_word_is_not_a_stretch() -> None:
    samples, parts = _recording((0, 1.5, GERMAN), (2, 10, ENGLISH))

    assert find_other_languages(samples, parts, _words(2, 10, 0.9), _detect) == []


def test_share_of_english_is_by_seconds() -> None:
    samples, parts = _recording((0, 6, GERMAN), (7, 25, ENGLISH))

    assert measure_main_share(samples, parts, _detect) == pytest.approx(0.75)
