"""Splitting a recording at silences, and encoding it as mono Opus or WAV, for OpenAI's API."""

import io
import wave
from typing import Any

import av
import numpy as np

from coach_ai.domain import Silence
from coach_ai.speech.audio import SAMPLE_RATE, Samples

BIT_RATE = 32_000
_OPUS_RATE = 48_000


def split_at_silence(
    duration: float, silences: tuple[Silence, ...], max_seconds: float
) -> list[tuple[float, float]]:
    """Return (begin, end) of chunks of at most `max_seconds`.

    A chunk ends in the middle of its last silence, or at `max_seconds` if it has none.
    """
    chunks: list[tuple[float, float]] = []
    begin = 0.0
    while duration - begin > max_seconds:
        middles = [(silence.start + silence.end) / 2 for silence in silences]
        fitting = [middle for middle in middles if begin + 1.0 < middle <= begin + max_seconds]
        end = fitting[-1] if fitting else begin + max_seconds
        chunks.append((begin, end))
        begin = end
    chunks.append((begin, duration))
    return chunks


def encode_opus(samples: Samples) -> bytes:
    """Return mono Opus at 32 kbit/s in Ogg."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="ogg") as container:
        stream: Any = container.add_stream("libopus", rate=_OPUS_RATE)
        stream.bit_rate = BIT_RATE
        stream.layout = "mono"
        resampler = av.AudioResampler(format="flt", layout="mono", rate=_OPUS_RATE)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for resampled in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def encode_wav(samples: Samples) -> bytes:
    """Return mono WAV with 16 bits at 16 kHz."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
