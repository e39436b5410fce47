"""Sound tracks: decoding what phones record, and finding where nobody speaks. No system programs.

PyAV decodes; nothing a header claims is believed, and no other file or address is opened.
"""

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from coach_ai.domain import CannotTranscribe, Silence

RATE = 16_000
MAX_SECONDS = 30 * 60

Samples = NDArray[np.float32]

_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,mp3,wav,flac,aac"
_FRAME_SECONDS = 0.010
_MIN_PAUSE_SECONDS = 0.25
_JOINED_SECONDS = 0.05
_ABOVE_NOISE_DB = 12.0
_BELOW_SPEECH_DB = 25.0
_MAX_CHANNELS = 8
_RATES = range(4_000, 192_001)
_DECODERS = (
    "aac,aac_fixed,mp3,mp3float,opus,libopus,vorbis,flac,alac,amrnb,amrwb,"
    "pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s32le,pcm_f32le,pcm_f64le,pcm_alaw,pcm_mulaw"
)
"""Sound only: what a film shows is never decoded, however large it claims to be."""


def decode(recording: Path) -> Samples:
    """Return the first sound track as mono float32 at 16 kHz.

    Raises CannotTranscribe where there is none, it cannot be read, or it is over 30 minutes.
    """
    with recording.open("rb") as file:
        try:
            # A file object, not a path: a playlist inside it finds nothing else to open.
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
        raise CannotTranscribe("This recording has no sound track.")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec.channels > _MAX_CHANNELS or codec.sample_rate not in _RATES:
        raise CannotTranscribe("We could not read this recording.")
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    chunks: list[Samples] = []
    total = 0
    is_broken = False
    try:
        for frame in container.decode(stream):
            frame.pts = None
            for resampled in resampler.resample(frame):
                chunks.append(_mono(resampled))
                total += len(chunks[-1])
            if total > MAX_SECONDS * RATE:
                raise CannotTranscribe("This recording is longer than 30 minutes.")
        chunks.extend(map(_mono, resampler.resample(None)))
    except av.FFmpegError:
        # A recording that was cut off: what came before the cut still counts.
        is_broken = True
    if not chunks:
        reason = "We could not read this recording." if is_broken else "This recording is empty."
        raise CannotTranscribe(reason)
    samples: Samples = np.concatenate(chunks).astype(np.float32, copy=False)
    return np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)


def resampled(samples: Samples, rate: int) -> Samples:
    """Return mono sound of another rate at 16 kHz."""
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    parts = [_mono(one) for one in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(parts) if parts else samples[:0]


def _mono(frame: Any) -> Samples:
    samples: Samples = frame.to_ndarray().reshape(-1)
    return samples


def silences(samples: Samples) -> tuple[Silence, ...]:
    """Return stretches of at least 250 ms without voice, by the energy of 10 ms frames.

    Whisper's word times hide pauses; energy shows them to 10 ms. The threshold lies 12 dB above
    the noise floor and at least 25 dB below speech level; clicks under 50 ms do not end a pause.
    250 ms: Hincks 2005 (mean length of run).
    """
    size = int(RATE * _FRAME_SECONDS)
    count = len(samples) // size
    if count == 0:
        return ()
    frames = samples[: count * size].reshape(count, size)
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size
    level = 10 * np.log10(power + 1e-10)
    floor, speech = np.percentile(level, [5, 95])
    threshold = max(min(floor + _ABOVE_NOISE_DB, speech - _BELOW_SPEECH_DB / 2), speech - 45.0)
    is_quiet = level < threshold
    found: list[Silence] = []
    for begin, end in runs(_without_clicks(is_quiet)):
        if (end - begin) * _FRAME_SECONDS >= _MIN_PAUSE_SECONDS:
            found.append(Silence(round(begin * _FRAME_SECONDS, 2), round(end * _FRAME_SECONDS, 2)))
    return tuple(found)


def _without_clicks(is_quiet: NDArray[np.bool_]) -> NDArray[np.bool_]:
    filled = is_quiet.copy()
    longest = int(_JOINED_SECONDS / _FRAME_SECONDS)
    for begin, end in runs(~is_quiet):
        if end - begin < longest and begin > 0 and end < len(is_quiet):
            filled[begin:end] = True
    return filled


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return begin and end of each stretch that is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
