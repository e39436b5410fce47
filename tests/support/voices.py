"""Synthetic voices with known pitch and pauses, and held vowels inserted into recordings."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coach_ai.domain import HeldVowel, Word
from coach_ai.speech.audio import SAMPLE_RATE, decode
from support.sounds import write_recording

Samples = NDArray[np.float32]

UH_FORMANTS = (600.0, 1200.0, 2500.0)
ER_FORMANTS = (500.0, 1450.0, 2400.0)
AH_FORMANTS = (700.0, 1150.0, 2550.0)
NASAL_FORMANTS = (250.0, 1100.0, 2200.0)
_BANDWIDTHS = (80.0, 110.0, 170.0)

PLANTED_PAUSES = [(4.0, 4.3), (9.0, 9.8), (15.5, 17.0), (24.0, 24.4)]
"""The pauses of `synthetic_voice`, in seconds."""


def hesitation(
    seconds: float,
    hertz: float,
    rng: np.random.Generator,
    *,
    formants: Sequence[float] = UH_FORMANTS,
    is_um: bool = False,
) -> Samples:
    """Return "uh", or "um" (its last 40 % hummed), at a level of 1 at most.

    Pulses at a pitch that falls by a semitone, with 0.5 % jitter and 3 % shimmer, through three
    formants (Klatt 1980), with some breath; the hum is 8 dB softer than the vowel.
    """
    source = _pulses(seconds, hertz, rng)
    vowel = _shaped(source, formants)
    if is_um:
        hummed = _shaped(source, NASAL_FORMANTS)
        hummed *= 0.4 * vowel.std() / hummed.std()
        where = np.arange(len(source)) / len(source)
        mix = np.clip((where - 0.55) / 0.1, 0, 1)
        vowel = (1 - mix) * vowel + mix * hummed
    edge = int(0.03 * SAMPLE_RATE)
    fade = np.minimum(1, np.minimum(np.arange(len(vowel)), np.arange(len(vowel))[::-1]) / edge)
    vowel = vowel / np.abs(vowel).max() * fade
    return vowel.astype(np.float32)  # type: ignore[no-any-return]


def synthesize(pitch: NDArray[np.float64]) -> Samples:
    """Return a voice of eleven harmonics with this pitch, one value per sample; 0 is unvoiced."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    voice = sum(0.1 / k * np.sin(k * phase) for k in range(1, 12))
    return np.where(pitch > 0, voice, 0.0).astype(np.float32)  # type: ignore[no-any-return]


def synthetic_voice(mean: float = 180.0, deviation: float = 25.0) -> Samples:
    """Return 30 s of a voice whose pitch varies as a sine, with the known pauses."""
    time = np.arange(30 * SAMPLE_RATE) / SAMPLE_RATE
    pitch = mean + deviation * np.sqrt(2) * np.sin(2 * np.pi * 0.7 * time)
    for begin, end in PLANTED_PAUSES:
        pitch[int(begin * SAMPLE_RATE) : int(end * SAMPLE_RATE)] = 0.0
    return synthesize(pitch)


def with_hesitations(
    samples: Samples, rng: np.random.Generator
) -> tuple[Samples, list[tuple[float, float]]]:
    """Return speech with up to three "uh" or "um" of 0.25 to 0.6 s, and from when to when.

    They are placed where speech is sparse, at least a second apart, and are softer than the speech.
    """
    loudness = float(np.percentile(np.abs(samples), 98))
    planted = [
        (
            where,
            loudness
            * rng.uniform(0.4, 0.9)
            * hesitation(
                rng.uniform(0.25, 0.6),
                rng.uniform(80, 110),
                rng,
                formants=(UH_FORMANTS, ER_FORMANTS, AH_FORMANTS)[rng.integers(3)],
                is_um=bool(rng.random() < 0.5),
            ),
        )
        for where in _quietest(samples, 3)
    ]
    spliced, begins = splice(samples, planted)
    return spliced, [
        (begin, begin + len(sound) / SAMPLE_RATE)
        for begin, (_, sound) in zip(begins, planted, strict=True)
    ]


def overlaps(vowel: HeldVowel | Word, span: tuple[float, float]) -> bool:
    """True if a vowel covers more than 100 ms of a span."""
    return min(vowel.end, span[1]) - max(vowel.start, span[0]) > 0.1


def splice(
    samples: Samples, planted: Sequence[tuple[float, Samples]]
) -> tuple[Samples, list[float]]:
    """Insert each planted sound at its second of the original; return where each begins now."""
    parts: list[Samples] = []
    begins: list[float] = []
    last = 0
    length = 0
    for second, sound in sorted(planted, key=lambda one: one[0]):
        at = int(second * SAMPLE_RATE)
        parts += [samples[last:at], sound]
        length += at - last
        begins.append(length / SAMPLE_RATE)
        length += len(sound)
        last = at
    return np.concatenate([*parts, samples[last:]]), begins


def _through_44100(samples: Samples, folder: Path) -> Samples:
    return decode(write_recording(folder / "voice.wav", samples, "wav", "pcm_s16le", rate=44_100))


def _noisy(samples: Samples) -> Samples:
    power = float(np.mean(samples[samples != 0] ** 2))
    noise = np.random.default_rng(5).standard_normal(len(samples)) * np.sqrt(power / 100)
    return (samples + noise).astype(np.float32)


AUDIO_CHANGES: dict[str, Callable[[Samples, Path], Samples]] = {
    "nothing": lambda samples, _: samples,
    "6 dB louder": lambda samples, _: (samples * 2).astype(np.float32),
    "6 dB softer": lambda samples, _: (samples / 2).astype(np.float32),
    "44.1 kHz": _through_44100,
    "noise 20 dB below": lambda samples, _: _noisy(samples),
}
"""Changes of the audio that must not change what is measured."""


def _quietest(samples: Samples, count: int) -> list[float]:
    energy = np.convolve(samples * samples, np.ones(800) / 800, "same")
    chosen: list[float] = []
    for at in np.argsort(energy[SAMPLE_RATE // 2 : -SAMPLE_RATE // 2]) + SAMPLE_RATE // 2:
        if len(chosen) < count and all(abs(at / SAMPLE_RATE - other) > 1 for other in chosen):
            chosen.append(float(at / SAMPLE_RATE))
    return sorted(chosen)


def _pulses(seconds: float, hertz: float, rng: np.random.Generator) -> NDArray[np.float64]:
    source = 0.003 * rng.standard_normal(int(seconds * SAMPLE_RATE))
    at = 0.0
    while at < len(source):
        source[int(at)] += 1 + 0.03 * rng.standard_normal()
        falling = hertz * 2 ** (-at / len(source) / 12)
        at += SAMPLE_RATE / falling * (1 + 0.005 * rng.standard_normal())
    return source


def _shaped(source: NDArray[np.float64], formants: Sequence[float]) -> NDArray[np.float64]:
    """Filter by the formants' response, with a glottal slope of 12 dB an octave."""
    size = 2 * len(source)
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
    response = 1 / (1 - 0.97 * z)
    for hertz, width in zip(formants, _BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * width / SAMPLE_RATE)
        response = response / (
            1 - 2 * radius * np.cos(2 * np.pi * hertz / SAMPLE_RATE) * z + (radius * z) ** 2
        )
    return np.fft.irfft(np.fft.rfft(source, size) * response, size)[: len(source)]
