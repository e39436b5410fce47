"""Splitting WAV files without a decoder. Plain Python: the samples are copied, not converted."""

import sys
import wave
from array import array
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_BYTES = 2
_WINDOW_SECONDS = 0.2
_SEARCH_SECONDS = 20.0
"""A chunk ends in the quietest window of its last 20 s."""
_SAMPLES_PER_WINDOW = 200
"""Samples of a window that are read. More do not change which window is the quietest."""


@dataclass(frozen=True, slots=True)
class WavPart:
    """A part of a WAV file, in a file with its own header. Times are seconds of the recording."""

    path: Path
    begin: float
    seconds: float


def read_duration(recording: Path) -> float | None:
    """Return the seconds of a WAV file with 16-bit samples, or None for any other file.

    A file that is shorter than its header states lasts as long as it has samples.
    """
    try:
        with wave.open(str(recording), "rb") as file:
            if file.getsampwidth() != _SAMPLE_BYTES or not file.getframerate():
                return None
            return _count_frames(file, recording) / file.getframerate() or None
    except (wave.Error, EOFError):
        return None


def split(
    recording: Path, directory: Path, *, max_seconds: float, max_bytes: int, end_seconds: float
) -> list[WavPart]:
    """Write the first `end_seconds` as WAV files of at most `max_seconds` and `max_bytes` samples.

    `recording` must have a duration by `read_duration`.
    """
    parts: list[WavPart] = []
    with wave.open(str(recording), "rb") as file:
        rate, channels = file.getframerate(), file.getnchannels()
        frame_bytes = channels * _SAMPLE_BYTES
        total = min(_count_frames(file, recording), int(end_seconds * rate))
        longest = max(1, min(int(max_seconds * rate), max_bytes // frame_bytes))
        begin = 0
        while begin < total:
            file.setpos(begin)
            content = file.readframes(min(longest, total - begin))
            if begin + longest < total:
                content = content[: _find_quiet_frame(content, channels, rate) * frame_bytes]
            frames = len(content) // frame_bytes
            if not frames:
                break
            path = directory / f"{len(parts)}.wav"
            with wave.open(str(path), "wb") as written:
                written.setnchannels(channels)
                written.setsampwidth(_SAMPLE_BYTES)
                written.setframerate(rate)
                written.writeframes(content)
            parts.append(WavPart(path, begin / rate, frames / rate))
            begin += frames
    return parts


def _count_frames(file: wave.Wave_read, recording: Path) -> int:
    frame_bytes = file.getnchannels() * _SAMPLE_BYTES
    return min(file.getnframes(), recording.stat().st_size // frame_bytes)


def _find_quiet_frame(content: bytes, channels: int, rate: int) -> int:
    """Return the middle of the quietest window in the last 20 s, or in the second half."""
    samples = array("h", content)
    if sys.byteorder == "big":
        samples.byteswap()
    frames = len(samples) // channels
    window = max(1, int(_WINDOW_SECONDS * rate))
    step = max(1, window // _SAMPLES_PER_WINDOW) * channels
    first = max(frames // 2, frames - int(_SEARCH_SECONDS * rate))
    best, quietest = frames, None
    for begin in range(first, frames - window + 1, window):
        part = samples[begin * channels : (begin + window) * channels : step]
        level = sum(map(abs, part))
        if quietest is None or level <= quietest:
            best, quietest = begin + window // 2, level
    return best
