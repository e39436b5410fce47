"""The errors of the delivery metrics against synthetic ground truth, for the quality report.

Generated word streams, synthetic voices, and filled pauses inserted into read speech. No model, no
network, the same results on every machine.
"""

import math
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from coach_ai import delivery  # noqa: E402
from coach_ai.domain import Answer, Silence, Word  # noqa: E402
from coach_ai.speech.audio import find_silences  # noqa: E402
from coach_ai.speech.audio_features import analyse  # noqa: E402
from support.sounds import WORDS, speech  # noqa: E402
from support.voices import (  # noqa: E402
    AUDIO_CHANGES,
    PLANTED_PAUSES,
    overlaps,
    synthetic_voice,
    with_hesitations,
)

STREAMS = 20
VOICES = ((110.0, 8.0), (120.0, 25.0), (220.0, 45.0))
SYLLABLES = {"word": 1, "table": 2, "banana": 3, "um": 1, "basically": 4}
SYLLABLES_READ = (30, 9, 20, 27, 13)
"""Syllables of the five recordings, counted by hand, in their order."""
SPLICED_ROUNDS = 3


def measure() -> dict[str, Any]:
    """Return this part of the report."""
    with tempfile.TemporaryDirectory(prefix="coach-quality-") as folder:
        synthetic_voices = _synthetic_voices(Path(folder))
    found, false = _filled_pauses()
    return {
        "metric_errors": {
            "word_streams": _word_streams(),
            "synthetic_voices": synthetic_voices,
            "read_speech": _syllables(),
        },
        "filled_pauses_detected": found,
        "filled_pauses_false": false,
    }


def _word_streams() -> dict[str, Any]:
    """Return the worst error of each metric over generated streams of words and pauses."""
    chance = random.Random(7)
    errors: dict[str, list[float]] = {}
    units: dict[str, str] = {}
    for _ in range(STREAMS):
        answer, truth = _word_stream(chance)
        measured = delivery.measure(answer)
        for name, true in truth.items():
            errors.setdefault(name, []).append(abs(measured[name]["value"] - true))
            units[name] = measured[name]["unit"]
    return {name: _error(units[name], found) for name, found in errors.items()}


def _word_stream(chance: random.Random) -> tuple[Answer, dict[str, float]]:
    """Return a generated answer and its true delivery metrics."""
    texts = chance.choices(list(SYLLABLES), [10, 6, 3, 1, 1], k=chance.randint(90, 200))
    begin = at = chance.uniform(0.3, 4.0)
    words: list[Word] = []
    quiet = [Silence(0.0, begin)]
    for text in texts:
        if words and chance.random() < 0.12:
            pause = math.exp(chance.gauss(-0.6, 0.7))
            quiet.append(Silence(at, at + pause))
            at += pause
        length = SYLLABLES[text] * chance.uniform(0.15, 0.35)
        words.append(Word(text, at, at + length))
        at += length
    span = at - begin
    pauses = [one.end - one.start for one in quiet[1:] if one.end - one.start >= 0.25]
    syllables = sum(SYLLABLES[text] for text in texts)
    filled, empty = texts.count("um"), texts.count("basically")
    truth = {
        "pace": 60 * (len(texts) - filled - empty) / span,
        "articulation_rate": syllables / (span - sum(pauses)),
        "silent_pauses": 60 * len(pauses) / span,
        "pause_length": math.exp(statistics.median(map(math.log, pauses))),
        "long_pauses": float(sum(pause > 2 for pause in pauses)),
        "mean_length_of_run": syllables / (len(pauses) + 1),
        "phonation_ratio": 1 - sum(pauses) / span,
        "discourse_fillers": 100 * empty / len(texts),
        "filled_pauses": 60 * filled / span,
        "response_latency": begin,
        "answer_length": span,
    }
    return Answer("T", "Q", " ".join(texts), "en", at, tuple(words), tuple(quiet)), truth


def _synthetic_voices(folder: Path) -> dict[str, Any]:
    """Return the worst errors over voices of known pitch and pauses, after each audio change."""
    pitch: list[float] = []
    variation: list[float] = []
    edges: list[float] = []
    for change in AUDIO_CHANGES.values():
        for mean, deviation in VOICES:
            samples = change(synthetic_voice(mean, deviation), folder)
            windows = analyse(samples).pitch
            spread = statistics.fmean(window.sd_hz / window.mean_hz for window in windows)
            variation.append(100 * abs(spread / (deviation / mean) - 1))
            pitch += [100 * abs(window.mean_hz / mean - 1) for window in windows]
            edges += _edges(find_silences(samples))
    return {
        "pitch": _error("% of the known value", pitch),
        "pitch_variation": _error("% of the known value", variation, goal=5.0),
        "pause_edges": _error("ms", edges, goal=20.0),
    }


def _edges(found: tuple[Silence, ...]) -> Iterator[float]:
    assert len(found) == len(PLANTED_PAUSES), "a pause was missed or detected wrongly"
    for silence, (begin, end) in zip(found, PLANTED_PAUSES, strict=True):
        yield 1000 * abs(silence.start - begin)
        yield 1000 * abs(silence.end - end)


def _syllables() -> dict[str, Any]:
    """Return the error of the syllable estimate, which articulation rate is based on."""
    errors = [
        100 * abs(sum(map(delivery.count_syllables, text.split())) / counted - 1)
        for text, counted in zip(WORDS.values(), SYLLABLES_READ, strict=True)
    ]
    return {"syllables": _error("% of those counted by hand", errors)}


def _filled_pauses() -> tuple[dict[str, int], dict[str, int]]:
    """Return how many inserted filled pauses are detected, and how many detections are false."""
    rng = np.random.default_rng(11)
    planted = found = detected = false = 0
    for samples in [speech(name) for name in WORDS] * SPLICED_ROUNDS:
        spliced, spans = with_hesitations(samples, rng)
        vowels = analyse(spliced).held_vowels
        planted += len(spans)
        detected += len(vowels)
        found += sum(any(overlaps(vowel, span) for vowel in vowels) for span in spans)
        false += sum(not any(overlaps(vowel, span) for span in spans) for vowel in vowels)
    return {"count": found, "total": planted}, {"count": false, "total": detected}


def _error(unit: str, errors: list[float], *, goal: float | None = None) -> dict[str, Any]:
    return {"unit": unit, "worst": round(max(errors), 3), "n": len(errors), "goal": goal}
