"""Test audio: real speech, synthetic music, and recordings in common and hostile formats."""

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from coach_ai.speech.audio import SAMPLE_RATE, Samples, decode

RECORDINGS = Path(__file__).parents[1] / "recordings"
WORDS = dict(
    line.split("\t") for line in (RECORDINGS / "words.tsv").read_text().splitlines() if line
)


def speech(*names: str) -> Samples:
    """Return recordings one after the other, or all five if none is named."""
    return np.concatenate([decode(RECORDINGS / name) for name in names or WORDS])


def music(seconds: int) -> Samples:
    """Return loud music without singing: plucked notes, chords and a drum."""
    chance = np.random.default_rng(1)
    time = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    beat = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    melody = np.concatenate(
        [
            np.exp(-6 * beat) * sum(np.sin(2 * np.pi * note * k * beat) / k for k in range(1, 6))
            for note in chance.choice([220, 262, 294, 330, 392, 440, 523], seconds * 4)
        ]
    )
    chords = 0.2 * sum(np.sin(2 * np.pi * note * time) for note in (130.8, 164.8, 196.0))
    drum = 0.5 * chance.standard_normal(len(time)) * np.exp(-20 * ((time * 2) % 1))
    mixed: Samples = (0.15 * (melody + chords + drum)).astype(np.float32)
    return mixed


def write_recording(
    file: Path,
    samples: NDArray[Any],
    format: str,
    codec: str,
    *,
    rate: int | None = None,
    video_codec: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a mono recording; with `video_codec` it has a video track."""
    with av.open(str(file), mode="w", format=format, options=options or {}) as container:
        sound: Any = container.add_stream(
            codec, rate=rate or (48_000 if codec == "libopus" else SAMPLE_RATE)
        )
        sound.layout = "mono"
        if video_codec is not None:
            _add_video(container, video_codec, len(samples) / SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray(
            (samples * 32767).astype(np.int16).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE
        resampler = av.AudioResampler(sound.format, sound.layout, sound.rate, 1024)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(sound.encode(part))
    return file


def _add_video(container: Any, codec: str, seconds: float) -> None:
    pictures = container.add_stream(codec, rate=5)
    pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
    for number in range(int(seconds * 5)):
        shade = np.full((48, 64, 3), number % 256, np.uint8)
        container.mux(pictures.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
    container.mux(pictures.encode(None))


def wav(
    content: bytes, *, rate: int = SAMPLE_RATE, channels: int = 1, claimed_bytes: int | None = None
) -> bytes:
    """Return a 16-bit WAV file whose header claims `claimed_bytes`."""
    length = len(content) if claimed_bytes is None else claimed_bytes
    width = channels * 2
    head = struct.pack(
        "<IHHIIHH", 16, 1, channels, rate, rate * width & 0xFFFFFFFF, width & 0xFFFF, 16
    )
    size = struct.pack("<I", min(0xFFFFFFFF, length + 36))
    return b"RIFF" + size + b"WAVEfmt " + head + b"data" + struct.pack("<I", length) + content
