"""Delivery metrics of generated answers with known pace, pauses and fillers."""

import numpy as np
import pytest

from coach_ai.delivery import count_fillers, count_syllables, measure
from coach_ai.domain import Answer, Silence, Word
from coach_ai.speech.audio import SAMPLE_RATE, find_silences


def _answer(count: int = 100, *, each: float = 0.4, text: str = "word", pauses: int = 4) -> Answer:
    words = tuple(Word(text, i * each, i * each + each) for i in range(count))
    quiet = tuple(Silence(5.0 * i + 1, 5.0 * i + 1.5) for i in range(pauses))
    return Answer("T", "Q", " ".join(word.text for word in words), "en", count * each, words, quiet)


def test_pace_pauses_and_length_are_exact() -> None:
    measured = measure(_answer())

    assert measured["pace"]["value"] == 150.0
    assert measured["pace"]["verdict"] == "inside"
    assert measured["silent_pauses"]["value"] == 6.0
    assert measured["pause_length"]["value"] == 0.5
    assert measured["phonation_ratio"]["value"] == 0.95
    assert measured["answer_length"]["value"] == 40.0
    assert measured["articulation_rate"]["value"] == round(100 / 38, 2)


@pytest.mark.parametrize("stretch", [0.8, 1.2, 2.0])
def test_pace_scales_exactly_with_time_stretch(stretch: float) -> None:
    plain, stretched = measure(_answer()), measure(_answer(each=0.4 * stretch))

    assert stretched["pace"]["value"] == round(plain["pace"]["value"] / stretch, 2)


@pytest.mark.parametrize(
    "answer",
    [
        _answer(39),
        _answer(45, each=0.4),
        Answer("T", "Q", "words without times " * 20, "en", 60.0),
    ],
)
def test_short_answer_is_not_measurable_with_reason(answer: Answer) -> None:
    measured = measure(answer)

    assert measured["status"] == "not_measurable"
    assert measured["reason"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("you know it was basically done", 2),
        ("there were like ten people and like nobody spoke", 2),
        ("our users like the product and people like me like it", 0),
        ("you know how it works and do you know what i mean", 0),
        ("i like tea and it looks like rain", 0),
        ("do you know him", 0),
        ("i mean it sort of worked", 2),
        ("this kind of thing", 0),
        ("um uh", 0),
    ],
)
def test_count_fillers_ignores_ambiguous_words(text: str, count: int) -> None:
    assert count_fillers(text.split()) == count


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("a", 1),
        ("measured", 2),
        ("started", 2),
        ("table", 2),
        ("the", 1),
        ("connection", 3),
        ("", 0),
    ],
)
def test_count_syllables_of_known_words(word: str, count: int) -> None:
    assert count_syllables(word) == count


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_silences_are_found_within_20_ms_at_any_gain(gain: float, noise: float) -> None:
    rng = np.random.default_rng(7)
    planted = [(2.0, 2.4), (3.5, 4.5), (6.0, 6.1)]
    time = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
    voice = 0.2 * np.sin(2 * np.pi * 150 * time) * (1 + 0.3 * np.sin(2 * np.pi * 3 * time))
    for begin, end in planted:
        voice[int(begin * SAMPLE_RATE) : int(end * SAMPLE_RATE)] = 0.0
    samples = (gain * voice + noise * rng.standard_normal(len(time))).astype(np.float32)

    found = find_silences(samples)

    assert len(found) == 2
    for silence, (begin, end) in zip(found, planted[:2], strict=True):
        assert abs(silence.start - begin) <= 0.02
        assert abs(silence.end - end) <= 0.02


def test_click_does_not_end_a_silence() -> None:
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    samples = (0.2 * np.sin(2 * np.pi * 150 * time)).astype(np.float32)
    samples[SAMPLE_RATE : 2 * SAMPLE_RATE] = 0.0
    samples[int(1.5 * SAMPLE_RATE) : int(1.52 * SAMPLE_RATE)] = 0.3

    (silence,) = find_silences(samples)

    assert abs(silence.start - 1.0) <= 0.02 and abs(silence.end - 2.0) <= 0.02


def test_silent_and_empty_audio_are_accepted() -> None:
    assert len(find_silences(np.zeros(SAMPLE_RATE, np.float32))) <= 1
    assert find_silences(np.zeros(0, np.float32)) == ()
