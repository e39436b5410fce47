"""Acoustic features of synthetic voices with known pitch, pauses and held vowels."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from coach_ai.delivery import measure
from coach_ai.domain import AcousticFeatures, Answer, Word
from coach_ai.speech.audio import SAMPLE_RATE, decode, find_silences
from coach_ai.speech.audio_features import analyse
from support.voices import (
    AUDIO_CHANGES,
    PLANTED_PAUSES,
    Samples,
    overlaps,
    synthesize,
    synthetic_voice,
    with_hesitations,
)

RECORDINGS = sorted((Path(__file__).parents[5] / "tests" / "recordings").glob("*.wav"))


@pytest.mark.parametrize("change", AUDIO_CHANGES)
@pytest.mark.parametrize(("mean", "deviation"), [(110.0, 8.0), (120.0, 25.0), (220.0, 45.0)])
def test_pitch_is_within_5_percent_after_audio_changes(
    tmp_path: Path, change: str, mean: float, deviation: float
) -> None:
    sound = analyse(AUDIO_CHANGES[change](synthetic_voice(mean, deviation), tmp_path))

    assert len(sound.pitch) == 3
    variation = np.mean([window.sd_hz / window.mean_hz for window in sound.pitch])
    assert variation == pytest.approx(deviation / mean, rel=0.05)
    assert sound.pitch[0].mean_hz == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize("change", AUDIO_CHANGES)
def test_pause_edges_are_within_20_ms_after_audio_changes(tmp_path: Path, change: str) -> None:
    found = find_silences(AUDIO_CHANGES[change](synthetic_voice(), tmp_path))

    assert len(found) == len(PLANTED_PAUSES)
    for silence, (begin, end) in zip(found, PLANTED_PAUSES, strict=True):
        assert abs(silence.start - begin) <= 0.02
        assert abs(silence.end - end) <= 0.02


@pytest.mark.parametrize("change", AUDIO_CHANGES)
def test_verdicts_are_stable_under_audio_changes(tmp_path: Path, change: str) -> None:
    words = tuple(Word("steady", i * 0.4, i * 0.4 + 0.4) for i in range(75))

    def verdicts(samples: Samples) -> dict[str, str]:
        answer = Answer("T", "Q", "", "en", 30.0, words, find_silences(samples), analyse(samples))
        return {name: one["verdict"] for name, one in measure(answer).items()}

    changed = verdicts(AUDIO_CHANGES[change](synthetic_voice(), tmp_path))

    assert changed == verdicts(synthetic_voice())
    assert changed["pitch_variation"] == "inside"
    assert changed["silent_pauses"] == "report_only"


def test_octave_errors_do_not_raise_pitch_variation() -> None:
    time = np.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    pitch = np.where(time % 2.0 < 0.1, 240.0, 120.0)

    sound = analyse(synthesize(pitch))

    for window in sound.pitch:
        assert window.mean_hz == pytest.approx(120.0, rel=0.01)
        assert window.sd_hz / window.mean_hz < 0.02


def test_clipping_and_loudness_are_measured() -> None:
    sound = synthetic_voice()
    loud = np.clip(sound * 20, -1, 1).astype(np.float32)

    assert analyse(sound).clipped == 0.0
    assert analyse(loud).clipped == pytest.approx(float(np.mean(np.abs(loud) >= 0.999)), abs=1e-6)
    quieter = analyse((sound / 2).astype(np.float32)).speech_dbfs
    assert quieter is not None
    assert analyse(sound).speech_dbfs == pytest.approx(quieter + 6.0, abs=0.2)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.03, 1.0])
def test_empty_and_silent_audio_have_no_pitch(seconds: float) -> None:
    sound = analyse(np.zeros(int(seconds * SAMPLE_RATE), np.float32))

    assert (sound.pitch, sound.held_vowels) == ((), ())


def test_noise_has_no_pitch_and_no_held_vowels() -> None:
    noise = np.random.default_rng(2).standard_normal(20 * SAMPLE_RATE).astype(np.float32) * 0.1

    sound = analyse(noise)

    assert (sound.pitch, sound.held_vowels) == ((), ())


def test_acoustic_features_survive_json() -> None:
    sound = analyse(decode(RECORDINGS[0]))

    assert TypeAdapter(AcousticFeatures).validate_json(json.dumps(asdict(sound))) == sound


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.stem)
def test_read_speech_has_no_held_vowels(file: Path) -> None:
    assert analyse(decode(file)).held_vowels == ()


def test_inserted_held_vowels_are_detected_without_false_ones() -> None:
    rng = np.random.default_rng(11)
    planted = found = false = 0
    for samples in [decode(file) for file in RECORDINGS] * 3:
        spliced, spans = with_hesitations(samples, rng)
        vowels = analyse(spliced).held_vowels
        planted += len(spans)
        found += sum(any(overlaps(vowel, span) for vowel in vowels) for span in spans)
        false += sum(not any(overlaps(vowel, span) for span in spans) for vowel in vowels)

    assert planted == 39
    assert found / planted >= 0.8
    assert false <= 1
