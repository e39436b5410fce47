"""Mixing of channels to mono: their mean, or the best channel if they cancel or differ."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from coach_ai.speech.samples import SAMPLE_RATE, Samples
from coach_ai.speech.voice_activity import count_speech_seconds

MEAN = "mean"

_BLOCK_SAMPLES = 30 * SAMPLE_RATE
_SILENT_DB = -90.0
_SILENT_BESIDE_DB = 50.0
"""A channel this far below the loudest one holds no separate signal."""
_MIN_MEAN_POWER = 0.7
"""Power of the mean by the mean of the powers: 1 for equal channels, 0.5 for two without relation,
0 for two that cancel. Above this, the mean holds what each channel holds."""
_SIMILAR_LEVELS_DB = 6.0
_MAX_CANDIDATES = 4
_ENOUGH_SPEECH = 0.9
_MAX_RANGE_DB = 60.0
_LEVEL_WEIGHT = 0.2
_LEVEL_FRAME = SAMPLE_RATE // 50


class ChannelMixer:
    """Collects audio of any number of channels and returns it as mono, in order.

    The mix is chosen per block of 30 s, and again if the number of channels changes. Output is
    finite and within ±1.
    """

    def __init__(self) -> None:
        self._mixed: list[Samples] = []
        self._waiting: list[Samples] = []
        self._waiting_samples = 0
        self._choices: Counter[str] = Counter()
        self._levels: NDArray[np.float64] | None = None
        self._choice = MEAN

    def append(self, block: Samples) -> None:
        """Add audio of shape (channels, samples)."""
        if self._waiting and len(self._waiting[0]) != len(block):
            self._mix()
        self._waiting.append(block)
        self._waiting_samples += block.shape[1]
        if self._waiting_samples >= _BLOCK_SAMPLES:
            self._mix()

    def append_silence(self, samples: int) -> None:
        """Add silence."""
        self._mix()
        self._mixed.append(np.zeros(samples, np.float32))

    def finish(self) -> tuple[Samples, str]:
        """Return all audio, and what most of it was taken from: `mono`, `mean` or a number."""
        self._mix()
        samples = np.concatenate(self._mixed) if self._mixed else np.zeros(0, np.float32)
        self._mixed = [samples]
        return samples, max(self._choices, key=self._choices.__getitem__, default="mono")

    def _mix(self) -> None:
        if not self._waiting:
            return
        block = np.concatenate(self._waiting, axis=1)
        self._waiting, self._waiting_samples = [], 0
        np.nan_to_num(block, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
        np.clip(block, -1.0, 1.0, out=block)
        if len(block) == 1:
            choice, mono = "mono", block[0]
        else:
            choice, mono = self._choose(block)
        self._choices[choice] += len(mono)
        self._mixed.append(mono)

    def _choose(self, block: Samples) -> tuple[str, Samples]:
        power = np.einsum("ij,ij->i", block, block, dtype=np.float64) / block.shape[1]
        levels = 10 * np.log10(power + 1e-12)
        loudest = float(levels.max())
        if loudest < _SILENT_DB:
            return MEAN, block.mean(axis=0)
        audible = [int(i) for i in np.argsort(-levels) if levels[i] > loudest - _SILENT_BESIDE_DB]
        mean: Samples = block[audible].mean(axis=0)
        if len(audible) == 1:
            return str(audible[0]), block[audible[0]]
        if float(np.mean(mean.astype(np.float64) ** 2)) >= _MIN_MEAN_POWER * power[audible].mean():
            return MEAN, mean
        mixes = {MEAN: mean} | {str(i): block[i] for i in audible[:_MAX_CANDIDATES]}
        if (
            self._levels is None
            or len(self._levels) != len(levels)
            or np.abs(self._levels - levels).max() > _SIMILAR_LEVELS_DB
            or self._choice not in mixes
        ):
            self._choice = _find_best(mixes)
            self._levels = levels
        return self._choice, mixes[self._choice]


def _find_best(mixes: dict[str, Samples]) -> str:
    """Return the mix with most voice; among equals, the one that stands out most from its noise."""
    seconds = {name: count_speech_seconds(mix) for name, mix in mixes.items()}
    most = max(seconds.values())
    return max(
        (name for name in mixes if seconds[name] >= _ENOUGH_SPEECH * most),
        key=lambda name: _measure_clarity(mixes[name]),
    )


def _measure_clarity(samples: Samples) -> float:
    """Return how far speech lies above the noise in dB, with a small bonus for a high level."""
    count = len(samples) // _LEVEL_FRAME
    if not count:
        return 0.0
    frames = samples[: count * _LEVEL_FRAME].reshape(count, _LEVEL_FRAME)
    levels = 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-10)
    noise, speech = np.percentile(levels, [10, 95])
    return float(min(speech - noise, _MAX_RANGE_DB) + _LEVEL_WEIGHT * speech)
