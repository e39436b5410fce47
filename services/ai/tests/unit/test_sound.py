"""Sound against known truth: planted pitch, pauses and held vowels, at any gain, rate and noise."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from voices import CHANGES, PLANTED, Samples, hesitating, is_on, spoken, voice

from coach_ai.adapters.audio import RATE, decode, silences
from coach_ai.adapters.sound import listen
from coach_ai.delivery import measure
from coach_ai.domain import Answer, Sound, Word

RECORDINGS = sorted((Path(__file__).parents[4] / "tests" / "recordings").glob("*.wav"))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("mean", "deviation"), [(110.0, 8.0), (120.0, 25.0), (220.0, 45.0)])
def test_planted_pitch_is_found_within_5_percent_whatever_happens_to_the_sound(
    tmp_path: Path, change: str, mean: float, deviation: float
) -> None:
    sound = listen(CHANGES[change](voice(mean, deviation), tmp_path))

    assert len(sound.pitch) == 3
    variation = np.mean([window.sd_hz / window.mean_hz for window in sound.pitch])
    assert variation == pytest.approx(deviation / mean, rel=0.05)
    assert sound.pitch[0].mean_hz == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize("change", CHANGES)
def test_planted_pauses_keep_their_edges_within_20_ms_whatever_happens_to_the_sound(
    tmp_path: Path, change: str
) -> None:
    found = silences(CHANGES[change](voice(), tmp_path))

    assert len(found) == len(PLANTED)
    for silence, (begin, end) in zip(found, PLANTED, strict=True):
        assert abs(silence.start - begin) <= 0.02
        assert abs(silence.end - end) <= 0.02


@pytest.mark.parametrize("change", CHANGES)
def test_every_verdict_stays_the_same_whatever_happens_to_the_sound(
    tmp_path: Path, change: str
) -> None:
    words = tuple(Word("steady", i * 0.4, i * 0.4 + 0.4) for i in range(75))

    def verdicts(samples: Samples) -> dict[str, str]:
        answer = Answer("T", "Q", "", "en", 30.0, words, silences(samples), listen(samples))
        return {name: one["verdict"] for name, one in measure(answer).items()}

    changed = verdicts(CHANGES[change](voice(), tmp_path))

    assert changed == verdicts(voice())
    assert changed["pitch_variation"] == "inside"
    assert changed["silent_pauses"] == "report_only"


def test_a_voice_that_jumps_an_octave_now_and_then_is_not_called_lively() -> None:
    time = np.arange(20 * RATE) / RATE
    pitch = np.where(time % 2.0 < 0.1, 240.0, 120.0)

    sound = listen(spoken(pitch))

    for window in sound.pitch:
        assert window.mean_hz == pytest.approx(120.0, rel=0.01)
        assert window.sd_hz / window.mean_hz < 0.02


def test_clipping_and_loudness_are_measured() -> None:
    sound = voice()
    loud = np.clip(sound * 20, -1, 1).astype(np.float32)

    assert listen(sound).clipped == 0.0
    assert listen(loud).clipped == pytest.approx(float(np.mean(np.abs(loud) >= 0.999)), abs=1e-6)
    quieter = listen((sound / 2).astype(np.float32)).speech_dbfs
    assert quieter is not None
    assert listen(sound).speech_dbfs == pytest.approx(quieter + 6.0, abs=0.2)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.03, 1.0])
def test_nothing_and_silence_have_novoice(seconds: float) -> None:
    sound = listen(np.zeros(int(seconds * RATE), np.float32))

    assert (sound.pitch, sound.hums) == ((), ())


def test_noise_has_neither_pitch_nor_hums() -> None:
    noise = np.random.default_rng(2).standard_normal(20 * RATE).astype(np.float32) * 0.1

    sound = listen(noise)

    assert (sound.pitch, sound.hums) == ((), ())


def test_what_was_measured_survives_json() -> None:
    sound = listen(decode(RECORDINGS[0]))

    assert Sound.of(json.loads(json.dumps(asdict(sound)))) == sound


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.stem)
def test_read_speech_has_no_held_vowels(file: Path) -> None:
    assert listen(decode(file)).hums == ()


def test_held_vowels_planted_into_read_speech_are_found_and_nothing_else_is() -> None:
    rng = np.random.default_rng(11)
    planted = found = false = 0
    for samples in [decode(file) for file in RECORDINGS] * 3:
        spliced, spans = hesitating(samples, rng)
        hums = listen(spliced).hums
        planted += len(spans)
        found += sum(any(is_on(hum, span) for hum in hums) for span in spans)
        false += sum(not any(is_on(hum, span) for span in spans) for hum in hums)

    assert planted == 39
    assert found / planted >= 0.8
    assert false <= 1
