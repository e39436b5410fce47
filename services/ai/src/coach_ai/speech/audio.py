"""Audio of a recording, resampling, and detection of silences."""

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from coach_ai.domain import Silence
from coach_ai.speech.decoding import decode_recording
from coach_ai.speech.samples import SAMPLE_RATE, Samples

__all__ = ["SAMPLE_RATE", "Samples", "decode", "find_runs", "find_silences", "resample"]

_FRAME_SECONDS = 0.010
_MIN_SILENCE_SECONDS = 0.25
_MAX_CLICK_SECONDS = 0.05
_ABOVE_NOISE_DB = 12.0
_BELOW_SPEECH_DB = 25.0


def decode(recording: Path) -> Samples:
    """Return the audio of a recording at 16 kHz; see `decode_recording`.

    Raises:
        CannotTranscribe: If there is no audio track, or it cannot be decoded.
    """
    return decode_recording(recording).samples


def resample(samples: Samples, sample_rate: int) -> Samples:
    """Return mono samples of another sample rate at 16 kHz."""
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate = sample_rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    parts = [_to_samples(one) for one in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(parts) if parts else samples[:0]


def _to_samples(frame: Any) -> Samples:
    samples: Samples = frame.to_ndarray().reshape(-1)
    return samples


def find_silences(samples: Samples) -> tuple[Silence, ...]:
    """Return stretches of at least 250 ms without speech, by the energy of 10 ms frames.

    Whisper's word times hide pauses; energy locates them to 10 ms. The threshold is 12 dB above the
    noise floor and at least 25 dB below the speech level. Clicks under 50 ms do not end a silence.
    250 ms: Hincks 2005 (mean length of run).
    """
    size = int(SAMPLE_RATE * _FRAME_SECONDS)
    count = len(samples) // size
    if count == 0:
        return ()
    frames = samples[: count * size].reshape(count, size)
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size
    level = 10 * np.log10(power + 1e-10)
    floor, speech = np.percentile(level, [5, 95])
    threshold = max(min(floor + _ABOVE_NOISE_DB, speech - _BELOW_SPEECH_DB / 2), speech - 45.0)
    is_quiet = level < threshold
    silences: list[Silence] = []
    for begin, end in find_runs(_fill_clicks(is_quiet)):
        if (end - begin) * _FRAME_SECONDS >= _MIN_SILENCE_SECONDS:
            silences.append(
                Silence(round(begin * _FRAME_SECONDS, 2), round(end * _FRAME_SECONDS, 2))
            )
    return tuple(silences)


def _fill_clicks(is_quiet: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask with short loud runs set to quiet."""
    filled = is_quiet.copy()
    longest = int(_MAX_CLICK_SECONDS / _FRAME_SECONDS)
    for begin, end in find_runs(~is_quiet):
        if end - begin < longest and begin > 0 and end < len(is_quiet):
            filled[begin:end] = True
    return filled


def find_runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return begin and end of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
