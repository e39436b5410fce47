"""What is measured on the sound itself: loudness, clipping, pitch, and held vowels between words.

Numbers about the signal only; what they say about a speaker is decided in `coach_ai.delivery`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coach_ai.adapters.audio import RATE, Samples, runs
from coach_ai.domain import Hum, PitchWindow, Sound

_STEP = RATE // 100
_FRAME = RATE // 25
"""40 ms: three periods of 75 Hz, the lowest pitch looked for."""
_FFT = 1024
_BATCH = 1000
_LOWEST_HZ, _HIGHEST_HZ = 75.0, 500.0
_VOICED = 0.5
_OCTAVE_COST = 0.02
"""A shorter period is preferred by this much an octave (Boersma 1993: 0.01)."""
_AUDIBLE_DB = 30.0
"""Below the 95th percentile by more than this, a frame is no voice of the speaker."""
_FAINTEST_DBFS = -70.0
_WINDOW_SECONDS = 10.0
_LEAST_VOICED = 100
"""Voiced frames (10 ms) until a window has a spread of its own."""
_FULL_SCALE = 0.999

_LEAST_HUM_SECONDS = 0.2
_STEADY_DB = 4.0
_STEADY_SEMITONES = 1.0
"""Within 100 ms. At these, the longest steady stretch of 25 s of read speech was 190 ms."""
_SPREAD_FRAMES = 5
_BANDS = 18
_HEARD_DB = 25.0


@dataclass(frozen=True, slots=True)
class _Frames:
    """One value for each 10 ms; `pitch` is 0 where there is none."""

    level: NDArray[np.float64]
    pitch: NDArray[np.float64]
    shape: NDArray[np.float64]


def listen(samples: Samples) -> Sound:
    """Return the measurements of mono float32 at 16 kHz.

    Two minutes take about half a second of one core.
    """
    frames = _frames(samples)
    audible = _audible(frames.level)
    pitch = np.where(audible, frames.pitch, 0.0)
    pitch = _without_octave_errors(pitch)
    speech = frames.level[audible]
    return Sound(
        speech_dbfs=round(float(np.median(speech)), 1) if len(speech) else None,
        noise_dbfs=round(float(np.percentile(frames.level, 5)), 1) if len(frames.level) else None,
        clipped=round(float(np.mean(np.abs(samples) >= _FULL_SCALE)), 6) if len(samples) else 0.0,
        pitch=tuple(_windows(pitch)),
        hums=tuple(_hums(pitch, frames)),
    )


def _frames(samples: Samples) -> _Frames:
    padded = np.pad(samples, (_FRAME // 2, _FRAME))
    count = len(samples) // _STEP
    levels, pitches, shapes = [np.empty(0)], [np.empty(0)], [np.empty((0, _BANDS))]
    window = np.hanning(_FRAME).astype(np.float32)
    spectrum = np.fft.rfft(window, _FFT)
    own = np.fft.irfft(np.abs(spectrum) ** 2)
    bands = _bands().astype(np.float32)
    for begin in range(0, count, _BATCH):
        starts = (np.arange(begin, min(begin + _BATCH, count)) + 0.5) * _STEP
        framed = padded[starts.astype(int)[:, None] + np.arange(_FRAME)]
        levels.append(10 * np.log10(np.mean(framed * framed, axis=1) + 1e-10))
        framed -= framed.mean(axis=1, keepdims=True)
        power = np.abs(np.fft.rfft(framed * window, _FFT)) ** 2
        pitches.append(_pitch(np.fft.irfft(power), own))
        shape = 10 * np.log10(power @ bands + 1e-9)
        # What lies far below the loudest band is noise's, and changes as noise does.
        shape = np.maximum(shape, shape.max(axis=1, keepdims=True) - _HEARD_DB)
        shapes.append(shape - shape.mean(axis=1, keepdims=True))
    return _Frames(np.concatenate(levels), np.concatenate(pitches), np.concatenate(shapes))


def _pitch(correlation: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Hz, or 0: the highest peak of the autocorrelation over the window's (Boersma 1993)."""
    first, last = int(RATE / _HIGHEST_HZ), int(RATE / _LOWEST_HZ) + 1
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
    is_voiced = is_peak[rows, best] & (middle >= _VOICED)
    return np.where(is_voiced, RATE / (lags[1:-1][best] + shift), 0.0)


def _bands() -> NDArray[np.float64]:
    """Return triangular filters, evenly spaced in mel from 100 Hz to 5 kHz, as columns."""
    low, high = 2595 * np.log10(1 + np.array([100.0, 5000.0]) / 700)
    mel = np.linspace(float(low), float(high), _BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hz = np.fft.rfftfreq(_FFT, 1 / RATE)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return filters


def _audible(level: NDArray[np.float64]) -> NDArray[np.bool_]:
    if not len(level):
        return np.zeros(0, dtype=bool)
    floor, loud = np.percentile(level, [5, 95])
    audible: NDArray[np.bool_] = level > max(
        loud - _AUDIBLE_DB, min(floor + 6.0, loud - 6.0), _FAINTEST_DBFS
    )
    return audible


def _without_octave_errors(pitch: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop what lies outside 0.75 of the first and 1.5 of the third quartile (Hirst 2011)."""
    voiced = pitch[pitch > 0]
    if not len(voiced):
        return pitch
    low, high = np.percentile(voiced, [25, 75])
    return np.where((pitch >= 0.75 * low) & (pitch <= 1.5 * high), pitch, 0.0)


def _windows(pitch: NDArray[np.float64]) -> Iterator[PitchWindow]:
    size = int(_WINDOW_SECONDS * 100)
    for begin in range(0, len(pitch), size):
        voiced = pitch[begin : begin + size]
        voiced = voiced[voiced > 0]
        if len(voiced) >= _LEAST_VOICED:
            yield PitchWindow(
                start=begin / 100,
                mean_hz=round(float(voiced.mean()), 2),
                sd_hz=round(float(voiced.std()), 2),
                frames=len(voiced),
            )


def _hums(pitch: NDArray[np.float64], frames: _Frames) -> Iterator[Hum]:
    """Yield stretches of at least 200 ms whose pitch and spectrum stand still.

    A held vowel ("uh", "um"), but also a vowel that a word draws out: whether it lies between
    words is for those to tell who know the words.
    """
    apart = _SPREAD_FRAMES
    count = len(pitch)
    if count <= 2 * apart:
        return
    before, after = pitch[: -2 * apart], pitch[2 * apart :]
    is_voiced = (before > 0) & (after > 0) & (pitch[apart:-apart] > 0)
    ratio = np.where(is_voiced, after, 1.0) / np.where(is_voiced, before, 1.0)
    change = frames.shape[2 * apart :] - frames.shape[: -2 * apart]
    flux = np.sqrt(np.mean(change * change, axis=1))
    drift = np.abs(12 * np.log2(ratio))
    is_steady = is_voiced & (flux < _STEADY_DB) & (drift < _STEADY_SEMITONES)
    for begin, end in runs(is_steady):
        # A steady frame speaks for the frames it was compared with as well.
        start, stop = begin, end + 2 * apart
        if stop - start >= _LEAST_HUM_SECONDS * 100:
            yield Hum(start / 100, stop / 100, round(float(flux[begin:end].mean()), 2))
