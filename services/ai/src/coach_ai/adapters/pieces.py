"""A recording as OpenAI's API takes it: cut where nobody speaks, as small mono Opus."""

import io
from typing import Any

import av

from coach_ai.adapters.audio import RATE, Samples
from coach_ai.domain import Silence

BIT_RATE = 32_000
_OPUS_RATE = 48_000


def cut(duration: float, quiet: tuple[Silence, ...], longest: float) -> list[tuple[float, float]]:
    """Return pieces of at most `longest` seconds, cut in the middle of the last pause of each.

    Where nobody pauses, the cut falls at `longest`.
    """
    pieces: list[tuple[float, float]] = []
    begin = 0.0
    while duration - begin > longest:
        middles = [(pause.start + pause.end) / 2 for pause in quiet]
        fitting = [middle for middle in middles if begin + 1.0 < middle <= begin + longest]
        end = fitting[-1] if fitting else begin + longest
        pieces.append((begin, end))
        begin = end
    pieces.append((begin, duration))
    return pieces


def encode(samples: Samples) -> bytes:
    """Return mono Opus at 32 kbit/s in Ogg."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="ogg") as container:
        stream: Any = container.add_stream("libopus", rate=_OPUS_RATE)
        stream.bit_rate = BIT_RATE
        stream.layout = "mono"
        resampler = av.AudioResampler(format="flt", layout="mono", rate=_OPUS_RATE)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = RATE
        for resampled in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))
    return buffer.getvalue()
