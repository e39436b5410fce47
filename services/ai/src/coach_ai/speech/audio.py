"""Decoding of recordings with PyAV, and detection of silences.

Sizes that headers claim are not trusted, and a recording cannot make the decoder open other files
or addresses. No external programs are run."""

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from coach_ai.domain import CannotTranscribe, Silence

SAMPLE_RATE = 16_000
MAX_SECONDS = 30 * 60

Samples = NDArray[np.float32]

_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,mp3,wav,flac,aac"
_FRAME_SECONDS = 0.010
_MIN_SILENCE_SECONDS = 0.25
_MAX_CLICK_SECONDS = 0.05
_ABOVE_NOISE_DB = 12.0
_BELOW_SPEECH_DB = 25.0
_MAX_CHANNELS = 8
_SUPPORTED_SAMPLE_RATES = range(4_000, 192_001)
_DECODERS = (
    "aac,aac_fixed,mp3,mp3float,opus,libopus,vorbis,flac,alac,amrnb,amrwb,"
    "pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s32le,pcm_f32le,pcm_f64le,pcm_alaw,pcm_mulaw"
)
"""Audio decoders only. Video is never decoded, whatever its size."""


def decode(recording: Path) -> Samples:
    """Return the first audio track as mono float32 at 16 kHz.

    A truncated recording is decoded up to the point where it ends.

    Raises:
        CannotTranscribe: If there is no audio track, it cannot be decoded, or it is longer than 30
            minutes.
    """
    with recording.open("rb") as file:
        try:
            # A file object, not a path: a playlist in it cannot open other files.
            with av.open(
                file,
                mode="r",
                metadata_errors="ignore",
                options={
                    "format_whitelist": _FORMATS,
                    "protocol_whitelist": "none",
                    "codec_whitelist": _DECODERS,
                },
            ) as container:
                return _decode(container)
        except (av.FFmpegError, OSError, ValueError, IndexError, MemoryError) as error:
            raise CannotTranscribe("We could not read this recording.") from error


def _decode(container: Any) -> Samples:
    if not container.streams.audio:
        raise CannotTranscribe("This recording has no audio track.")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec.channels > _MAX_CHANNELS or codec.sample_rate not in _SUPPORTED_SAMPLE_RATES:
        raise CannotTranscribe("We could not read this recording.")
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    chunks: list[Samples] = []
    total = 0
    is_broken = False
    try:
        for frame in container.decode(stream):
            frame.pts = None
            for resampled in resampler.resample(frame):
                chunks.append(_to_samples(resampled))
                total += len(chunks[-1])
            if total > MAX_SECONDS * SAMPLE_RATE:
                raise CannotTranscribe("This recording is longer than 30 minutes.")
        chunks.extend(map(_to_samples, resampler.resample(None)))
    except av.FFmpegError:
        # Truncated: the decoded part is used.
        is_broken = True
    if not chunks:
        reason = "We could not read this recording." if is_broken else "This recording is empty."
        raise CannotTranscribe(reason)
    samples: Samples = np.concatenate(chunks).astype(np.float32, copy=False)
    return np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)


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
