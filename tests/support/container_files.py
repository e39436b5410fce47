"""Recordings with the faults that real containers have, written with PyAV."""

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16_000

Samples = NDArray[np.float32]

DEFAULT = av.stream.Disposition.default


def encode(
    file: Path,
    tracks: Sequence[Samples],
    format: str,
    codec: str,
    *,
    rate: int = RATE,
    layout: str = "mono",
    default: int | None = None,
    gap: tuple[float, float] | None = None,
) -> Path:
    """Write each array (samples, or channels and samples, at 16 kHz) as one audio track.

    `default` is the index of the track with the `default` flag. With `gap`, packets after its
    first value in seconds are stamped later by its second.
    """
    with av.open(str(file), mode="w", format=format) as container:
        streams: list[Any] = []
        for index in range(len(tracks)):
            stream: Any = container.add_stream(codec, rate=rate, options={"strict": "-2"})
            stream.layout = layout
            if default is not None:
                stream.disposition = DEFAULT if index == default else type(DEFAULT)(0)
            streams.append(stream)
        for stream, samples in zip(streams, tracks, strict=True):
            for packet in _packets(stream, np.atleast_2d(samples), layout):
                if gap is not None and packet.pts * packet.time_base >= gap[0]:
                    later = int(gap[1] / packet.time_base)
                    packet.pts += later
                    packet.dts += later
                container.mux(packet)
    return file


def _packets(stream: Any, samples: Samples, layout: str) -> list[Any]:
    frame_layout = layout if len(samples) > 1 else "mono"
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout=frame_layout
    )
    frame.sample_rate = RATE
    size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.format, stream.layout, stream.rate, size)
    packets: list[Any] = []
    position = 0
    for part in (*resampler.resample(frame), *resampler.resample(None), None):
        if part is not None:
            part.pts, part.time_base = position, Fraction(1, stream.rate)
            position += part.samples
        packets += [packet for packet in stream.encode(part) if packet.pts is not None]
    return packets


def damage(file: Path, size: int = 400, *, at: float = 0.3) -> Path:
    """Overwrite bytes with random ones, at this part of the file."""
    content = bytearray(file.read_bytes())
    begin = int(len(content) * at)
    content[begin : begin + size] = random.Random(1).randbytes(size)
    file.write_bytes(content)
    return file


def erase(file: Path, size: int = 4096, *, at: float = 0.3) -> Path:
    """Overwrite a block with zeros, as a lost block of a disk reads."""
    content = bytearray(file.read_bytes())
    begin = int(len(content) * at)
    content[begin : begin + size] = bytes(size)
    file.write_bytes(content)
    return file


def hide_codec(file: Path, *, track: int) -> Path:
    """Give one track of an MP4 file a codec that FFmpeg does not know, as Apple's `apac`."""
    head, *tracks = file.read_bytes().split(b"trak")
    tracks[track] = tracks[track].replace(b"mp4a", b"apac").replace(b"esds", b"none")
    file.write_bytes(b"trak".join([head, *tracks]))
    return file
