"""Acoustic features of a recording: level, clipping, pitch and held vowels.

`coach_ai.delivery` interprets them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coach_ai.domain import AcousticFeatures, HeldVowel, PitchWindow
from coach_ai.speech.audio import SAMPLE_RATE, Samples, find_runs

_STEP_SAMPLES = SAMPLE_RATE // 100
_FRAME_SAMPLES = SAMPLE_RATE // 25
"""40 ms: three periods of 75 Hz, the lowest pitch that is detected."""
_FFT_SIZE = 1024
_BATCH_FRAMES = 1000
_MIN_PITCH_HZ, _MAX_PITCH_HZ = 75.0, 500.0
_MIN_VOICED_STRENGTH = 0.5
_OCTAVE_COST = 0.02
"""Preference for shorter periods, per octave (Boersma 1993: 0.01)."""
_MAX_BELOW_LOUD_DB = 30.0
"""A frame that is farther below the 95th percentile is not speech."""
_MIN_SPEECH_DBFS = -70.0
_WINDOW_SECONDS = 10.0
_MIN_VOICED_FRAMES = 100
"""Voiced 10 ms frames that a window needs for a standard deviation."""
_FULL_SCALE = 0.999

_MIN_HELD_VOWEL_SECONDS = 0.2
_MAX_STEADY_FLUX_DB = 4.0
_MAX_STEADY_DRIFT_SEMITONES = 1.0
"""Within 100 ms. With these limits the longest steady stretch in 25 s of read speech was 190 ms."""
_COMPARED_FRAMES = 5
_MEL_BANDS = 18
_SPECTRUM_RANGE_DB = 25.0


@dataclass(frozen=True, slots=True)
class _Frames:
    """One value per 10 ms. `pitch` is 0 in unvoiced frames."""

    level: NDArray[np.float64]
    pitch: NDArray[np.float64]
    shape: NDArray[np.float64]


def analyse(samples: Samples) -> AcousticFeatures:
    """Return the features of mono float32 samples at 16 kHz.

    Two minutes of audio take about half a second of processor time.
    """
    frames = _analyse_frames(samples)
    audible = _find_audible(frames.level)
    pitch = np.where(audible, frames.pitch, 0.0)
    pitch = _drop_octave_errors(pitch)
    speech = frames.level[audible]
    return AcousticFeatures(
        speech_dbfs=round(float(np.median(speech)), 1) if len(speech) else None,
        noise_dbfs=round(float(np.percentile(frames.level, 5)), 1) if len(frames.level) else None,
        clipped=round(float(np.mean(np.abs(samples) >= _FULL_SCALE)), 6) if len(samples) else 0.0,
        pitch=tuple(_pitch_windows(pitch)),
        held_vowels=tuple(_find_held_vowels(pitch, frames)),
    )


def _analyse_frames(samples: Samples) -> _Frames:
    padded = np.pad(samples, (_FRAME_SAMPLES // 2, _FRAME_SAMPLES))
    count = len(samples) // _STEP_SAMPLES
    levels, pitches, shapes = [np.empty(0)], [np.empty(0)], [np.empty((0, _MEL_BANDS))]
    window = np.hanning(_FRAME_SAMPLES).astype(np.float32)
    spectrum = np.fft.rfft(window, _FFT_SIZE)
    own = np.fft.irfft(np.abs(spectrum) ** 2)
    bands = _mel_filters().astype(np.float32)
    for begin in range(0, count, _BATCH_FRAMES):
        starts = (np.arange(begin, min(begin + _BATCH_FRAMES, count)) + 0.5) * _STEP_SAMPLES
        framed = padded[starts.astype(int)[:, None] + np.arange(_FRAME_SAMPLES)]
        levels.append(10 * np.log10(np.mean(framed * framed, axis=1) + 1e-10))
        framed -= framed.mean(axis=1, keepdims=True)
        power = np.abs(np.fft.rfft(framed * window, _FFT_SIZE)) ** 2
        pitches.append(_find_pitch(np.fft.irfft(power), own))
        shape = 10 * np.log10(power @ bands + 1e-9)
        # Bands far below the loudest one contain noise only, and vary with it.
        shape = np.maximum(shape, shape.max(axis=1, keepdims=True) - _SPECTRUM_RANGE_DB)
        shapes.append(shape - shape.mean(axis=1, keepdims=True))
    return _Frames(np.concatenate(levels), np.concatenate(pitches), np.concatenate(shapes))


def _find_pitch(correlation: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pitch in Hz, or 0 in unvoiced frames.

    It is the highest peak of the autocorrelation divided by that of the window (Boersma 1993).
    """
    first, last = int(SAMPLE_RATE / _MAX_PITCH_HZ), int(SAMPLE_RATE / _MIN_PITCH_HZ) + 1
    lags = np.arange(first - 1, last + 2)
    strength = correlation[:, lags] / (correlation[:, :1] + 1e-12) * (own[0] / own[lags])
    inner = strength[:, 1:-1]
    is_peak = (inner >= strength[:, :-2]) & (inner > strength[:, 2:])
    costs = _OCTAVE_COST * np.log2(lags[1:-1] / first)
    best = np.argmax(np.where(is_peak, inner - costs, -1.0), axis=1)
    rows = np.arange(len(best))
    left, middle, right = (strength[rows, best + offset] for offset in range(3))
    curve = left - 2 * middle + right
    shift = np.where(curve < 0, 0.5 * (left - right) / np.where(curve < 0, curve, 1.0), 0.0)
    is_voiced = is_peak[rows, best] & (middle >= _MIN_VOICED_STRENGTH)
    return np.where(is_voiced, SAMPLE_RATE / (lags[1:-1][best] + shift), 0.0)


def _mel_filters() -> NDArray[np.float64]:
    """Return triangular filters as columns, evenly spaced in mel from 100 Hz to 5 kHz."""
    low, high = 2595 * np.log10(1 + np.array([100.0, 5000.0]) / 700)
    mel = np.linspace(float(low), float(high), _MEL_BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hz = np.fft.rfftfreq(_FFT_SIZE, 1 / SAMPLE_RATE)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return filters


def _find_audible(level: NDArray[np.float64]) -> NDArray[np.bool_]:
    if not len(level):
        return np.zeros(0, dtype=bool)
    floor, loud = np.percentile(level, [5, 95])
    audible: NDArray[np.bool_] = level > max(
        loud - _MAX_BELOW_LOUD_DB, min(floor + 6.0, loud - 6.0), _MIN_SPEECH_DBFS
    )
    return audible


def _drop_octave_errors(pitch: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set pitch below 0.75 of the first or above 1.5 of the third quartile to 0 (Hirst 2011)."""
    voiced = pitch[pitch > 0]
    if not len(voiced):
        return pitch
    low, high = np.percentile(voiced, [25, 75])
    return np.where((pitch >= 0.75 * low) & (pitch <= 1.5 * high), pitch, 0.0)


def _pitch_windows(pitch: NDArray[np.float64]) -> Iterator[PitchWindow]:
    size = int(_WINDOW_SECONDS * 100)
    for begin in range(0, len(pitch), size):
        voiced = pitch[begin : begin + size]
        voiced = voiced[voiced > 0]
        if len(voiced) >= _MIN_VOICED_FRAMES:
            yield PitchWindow(
                start=begin / 100,
                mean_hz=round(float(voiced.mean()), 2),
                sd_hz=round(float(voiced.std()), 2),
                frames=len(voiced),
            )


def _find_held_vowels(pitch: NDArray[np.float64], frames: _Frames) -> Iterator[HeldVowel]:
    """Yield stretches of at least 200 ms with steady pitch and spectrum.

    These are filled pauses ("uh", "um") and vowels that a word draws out. Only the word times can
    tell them apart.
    """
    apart = _COMPARED_FRAMES
    count = len(pitch)
    if count <= 2 * apart:
        return
    before, after = pitch[: -2 * apart], pitch[2 * apart :]
    is_voiced = (before > 0) & (after > 0) & (pitch[apart:-apart] > 0)
    ratio = np.where(is_voiced, after, 1.0) / np.where(is_voiced, before, 1.0)
    change = frames.shape[2 * apart :] - frames.shape[: -2 * apart]
    flux = np.sqrt(np.mean(change * change, axis=1))
    drift = np.abs(12 * np.log2(ratio))
    is_steady = is_voiced & (flux < _MAX_STEADY_FLUX_DB) & (drift < _MAX_STEADY_DRIFT_SEMITONES)
    for begin, end in find_runs(is_steady):
        # A steady frame includes the frames that it was compared with.
        start, stop = begin, end + 2 * apart
        if stop - start >= _MIN_HELD_VOWEL_SECONDS * 100:
            yield HeldVowel(start / 100, stop / 100, round(float(flux[begin:end].mean()), 2))
