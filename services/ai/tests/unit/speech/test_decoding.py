"""Decoding keeps the time axis, continues after damage and chooses track and channel."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from coach_ai.domain import CannotTranscribe
from coach_ai.speech.decoding import decode_recording
from coach_ai.speech.samples import SAMPLE_RATE
from coach_ai.speech.voice_activity import count_speech_seconds
from coach_common.recordings import MAX_RECORDING_SECONDS
from support.container_files import damage, encode, erase, hide_codec
from support.sounds import speech, wav

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def spoken() -> Samples:
    """24.7 s of speech."""
    return speech()


def _likeness(original: Samples, decoded: Samples, max_late: float = 0.2) -> float:
    """Return how alike two loudness curves are, the second up to `max_late` seconds later."""

    def curve(samples: Samples) -> Samples:
        loudness: Samples = np.sqrt(np.convolve(samples**2, np.ones(800) / 800, "same"))[::80]
        return loudness

    one, other = curve(original), curve(decoded)
    found = []
    for shift in range(round(max_late * 200)):
        length = min(len(one), len(other) - shift)
        found.append(np.corrcoef(one[:length], other[shift : shift + length])[0, 1])
    return float(max(found))


def _noise(count: int, level: float = 0.05) -> Samples:
    return (level * np.random.default_rng(3).standard_normal(count)).astype(np.float32)


def _low_tone(count: int) -> Samples:
    return (0.2 * np.sin(2 * np.pi * 50 * np.arange(count) / SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "format", "codec", "first", "second"),
    [
        ("a.mp3", "mp3", "libmp3lame", (44_100, "mono"), (48_000, "stereo")),
        ("a.aac", "adts", "aac", (44_100, "mono"), (16_000, "mono")),
        ("b.aac", "adts", "aac", (44_100, "mono"), (44_100, "stereo")),
        ("a.ogg", "ogg", "vorbis", (44_100, "stereo"), (48_000, "stereo")),
        ("b.ogg", "ogg", "libopus", (48_000, "mono"), (48_000, "stereo")),
    ],
)
def test_recording_is_decoded_whole_if_its_format_changes(
    tmp_path: Path,
    spoken: Samples,
    name: str,
    format: str,
    codec: str,
    first: tuple[int, str],
    second: tuple[int, str],
) -> None:
    half = 9 * SAMPLE_RATE
    content = b""
    for (rate, layout), part in ((first, spoken[:half]), (second, spoken[half:])):
        file = encode(tmp_path / "part", [part], format, codec, rate=rate, layout=layout)
        content += file.read_bytes()
    (tmp_path / name).write_bytes(content)

    decoded = decode_recording(tmp_path / name)

    assert len(decoded.samples) == pytest.approx(len(spoken), abs=0.3 * SAMPLE_RATE)
    assert _likeness(spoken[:half], decoded.samples[:half]) > 0.95
    assert _likeness(spoken[half:], decoded.samples[half:]) > 0.9
    assert decoded.coverage.gaps == ()


@pytest.mark.parametrize("break_file", [damage, erase])
@pytest.mark.parametrize(
    ("name", "format", "codec", "rate"),
    [
        ("a.m4a", "ipod", "aac", 16_000),
        ("a.mp3", "mp3", "libmp3lame", 16_000),
        ("a.aac", "adts", "aac", 16_000),
        ("a.ogg", "ogg", "libopus", 48_000),
        ("a.webm", "webm", "libopus", 48_000),
        ("a.flac", "flac", "flac", 16_000),
    ],
)
def test_damage_leaves_a_gap_and_what_follows_keeps_its_time(
    tmp_path: Path,
    spoken: Samples,
    break_file: Any,
    name: str,
    format: str,
    codec: str,
    rate: int,
) -> None:
    file = break_file(encode(tmp_path / name, [spoken], format, codec, rate=rate))

    decoded = decode_recording(file)

    assert [gap.reason for gap in decoded.coverage.gaps] == ["damaged"]
    (gap,) = decoded.coverage.gaps
    assert 6 < gap.start < gap.end < 11
    assert decoded.coverage.heard_seconds < decoded.coverage.duration_seconds
    # ADTS has no timestamps: how much its demuxer skipped is not known.
    tolerance = 0.4 if name == "a.aac" else 0.15
    assert decoded.coverage.duration_seconds == pytest.approx(
        len(spoken) / SAMPLE_RATE, abs=tolerance
    )
    after = 12 * SAMPLE_RATE
    tail = decoded.samples[after - round(tolerance * SAMPLE_RATE) :]
    assert _likeness(spoken[after:], tail, max_late=2 * tolerance) > 0.9


@pytest.mark.parametrize(
    ("name", "format", "codec", "rate"),
    [
        ("a.webm", "webm", "libopus", 48_000),
        ("a.m4a", "ipod", "aac", 16_000),
        ("a.ogg", "ogg", "libopus", 48_000),
    ],
)
def test_time_without_packets_is_silence(
    tmp_path: Path, spoken: Samples, name: str, format: str, codec: str, rate: int
) -> None:
    file = encode(tmp_path / name, [spoken], format, codec, rate=rate, gap=(9.0, 20.0))

    decoded = decode_recording(file)

    assert decoded.coverage.duration_seconds == pytest.approx(
        len(spoken) / SAMPLE_RATE + 20, abs=0.1
    )
    assert decoded.coverage.heard_seconds == pytest.approx(len(spoken) / SAMPLE_RATE, abs=0.1)
    (gap,) = decoded.coverage.gaps
    assert (gap.start, gap.end) == pytest.approx((9, 29), abs=0.1)
    assert gap.reason == "missing"
    assert not decoded.samples[int(9.1 * SAMPLE_RATE) : int(28.9 * SAMPLE_RATE)].any()
    assert _likeness(spoken[9 * SAMPLE_RATE :], decoded.samples[29 * SAMPLE_RATE :]) > 0.9


def test_timestamps_that_jump_over_30_minutes_lose_nothing(tmp_path: Path, spoken: Samples) -> None:
    file = encode(tmp_path / "a.webm", [spoken], "webm", "libopus", rate=48_000, gap=(9, 9000))

    decoded = decode_recording(file)

    assert decoded.coverage.duration_seconds == pytest.approx(len(spoken) / SAMPLE_RATE, abs=0.1)
    assert decoded.coverage.gaps == ()


def test_short_pauses_of_the_encoder_are_one_gap(tmp_path: Path, spoken: Samples) -> None:
    # Discontinuous transmission: one packet of comfort noise each 400 ms.
    with av.open(str(tmp_path / "a.webm"), mode="w", format="webm") as container:
        stream: Any = container.add_stream("libopus", rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 960), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 48_000
        content = bytes([*stream.encode(frame), *stream.encode(frame), *stream.encode(None)][0])
        for number in range(30):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = number * 400
            packet.duration = 20
            container.mux(packet)

    decoded = decode_recording(tmp_path / "a.webm")

    assert decoded.coverage.duration_seconds == pytest.approx(11.62, abs=0.05)
    assert len(decoded.coverage.gaps) == 1


@pytest.mark.parametrize("default", [None, 1])
@pytest.mark.parametrize("kind", ["silence", "hum"])
def test_track_with_speech_is_chosen(
    tmp_path: Path, spoken: Samples, kind: str, default: int | None
) -> None:
    other = np.zeros_like(spoken) if kind == "silence" else _low_tone(len(spoken))
    file = encode(tmp_path / "a.mp4", [other, spoken], "mp4", "aac", default=default)

    decoded = decode_recording(file)

    assert decoded.track == 1
    assert _likeness(spoken, decoded.samples) > 0.95


def test_default_track_is_chosen_of_two_with_speech(tmp_path: Path, spoken: Samples) -> None:
    tracks = [spoken[::-1], spoken]
    file = encode(tmp_path / "a.mp4", tracks, "mp4", "aac", default=1)

    assert decode_recording(file).track == 1


@pytest.mark.parametrize("unknown", [0, 1])
def test_track_without_a_decoder_is_never_chosen(
    tmp_path: Path, spoken: Samples, unknown: int
) -> None:
    file = encode(tmp_path / "a.mov", [spoken, spoken], "mov", "aac", default=unknown)
    hide_codec(file, track=unknown)

    decoded = decode_recording(file)

    assert decoded.track == 1 - unknown
    assert _likeness(spoken, decoded.samples) > 0.95


def test_recording_without_any_decoder_is_unreadable(tmp_path: Path, spoken: Samples) -> None:
    file = hide_codec(encode(tmp_path / "a.mov", [spoken], "mov", "aac"), track=0)

    with pytest.raises(CannotTranscribe, match="could not read"):
        decode_recording(file)


def _stereo(kind: str, spoken: Samples) -> Samples:
    silence = np.zeros_like(spoken)
    return np.stack(
        {
            "out of phase": (spoken, -spoken),
            "nearly out of phase": (spoken, -0.97 * spoken),
            "noise right": (spoken, _noise(len(spoken), 0.3)),
            "noise left": (_noise(len(spoken), 0.3), spoken),
            "left only": (spoken, silence),
            "tone right": (spoken, _low_tone(len(spoken))),
            "equal": (spoken, spoken),
        }[kind]
    ).astype(np.float32)


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac"])
@pytest.mark.parametrize(
    ("kind", "channel"),
    [
        ("out of phase", "0 or 1"),
        ("nearly out of phase", "0 or 1"),
        ("noise right", "0"),
        ("noise left", "1"),
        ("left only", "0"),
        ("tone right", "0"),
        ("equal", "mean"),
    ],
)
def test_better_channel_is_taken_if_channels_cancel_or_differ(
    tmp_path: Path, spoken: Samples, kind: str, channel: str, codec: str
) -> None:
    format = "wav" if codec.startswith("pcm") else "ipod"
    file = encode(tmp_path / "a", [_stereo(kind, spoken)], format, codec, layout="stereo")

    decoded = decode_recording(file)

    assert decoded.channel in channel.split(" or ")
    assert _likeness(spoken, decoded.samples) > 0.95
    assert np.std(decoded.samples) == pytest.approx(np.std(spoken), rel=0.15)


def test_both_speakers_are_kept_if_each_has_a_channel(tmp_path: Path, spoken: Samples) -> None:
    half = len(spoken) // 2
    left, right = spoken.copy(), spoken.copy()
    left[half:] = _noise(len(spoken) - half, 0.0005)
    right[:half] = _noise(half, 0.0005)
    file = encode(
        tmp_path / "a.wav", [np.stack([left, right])], "wav", "pcm_s16le", layout="stereo"
    )

    decoded = decode_recording(file)

    assert count_speech_seconds(decoded.samples) == pytest.approx(
        count_speech_seconds(spoken), rel=0.1
    )


def test_four_channels_of_which_two_cancel_are_decoded(tmp_path: Path, spoken: Samples) -> None:
    channels = np.stack([spoken, -spoken, 0.5 * spoken, -0.5 * spoken]).astype(np.float32)
    content = (channels.T * 32767).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(wav(content, channels=4))

    decoded = decode_recording(tmp_path / "a.wav")

    assert _likeness(spoken, decoded.samples) > 0.95


def _silent_opus(file: Path, seconds: float) -> Path:
    """Write silence as Opus: the same 60 ms again and again."""
    with av.open(str(file), mode="w", format="ogg") as container:
        stream: Any = container.add_stream("libopus", rate=48_000)
        stream.layout = "mono"
        stream.options = {"frame_duration": "60"}
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 2880), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 48_000
        content = bytes([*stream.encode(frame), *stream.encode(frame), *stream.encode(None)][0])
        for number in range(round(seconds / 0.06)):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, 48_000)
            packet.pts = packet.dts = number * 2880
            packet.duration = 2880
            container.mux(packet)
    return file


@pytest.mark.parametrize("seconds", [1799.94, 1800.0, 1800.3])
def test_padding_does_not_make_a_recording_too_long(tmp_path: Path, seconds: float) -> None:
    decoded = decode_recording(_silent_opus(tmp_path / "a.ogg", seconds))

    assert decoded.coverage.duration_seconds == pytest.approx(
        min(seconds, MAX_RECORDING_SECONDS), abs=0.07
    )
    assert decoded.coverage.duration_seconds <= MAX_RECORDING_SECONDS
    assert decoded.coverage.gaps == ()


@pytest.mark.parametrize("seconds", [1801.0, 1860.0, 14_400.0])
def test_first_30_minutes_of_a_longer_recording_are_decoded(tmp_path: Path, seconds: float) -> None:
    decoded = decode_recording(_silent_opus(tmp_path / "a.ogg", seconds))

    assert len(decoded.samples) == MAX_RECORDING_SECONDS * SAMPLE_RATE
    assert decoded.coverage.heard_seconds == MAX_RECORDING_SECONDS
    assert decoded.coverage.duration_seconds == pytest.approx(seconds, abs=0.1)
    (gap,) = decoded.coverage.gaps
    assert (gap.start, gap.reason) == (MAX_RECORDING_SECONDS, "too_long")
    assert gap.end == pytest.approx(seconds, abs=0.1)


def test_missing_end_is_reported(tmp_path: Path, spoken: Samples) -> None:
    file = encode(tmp_path / "a.mkv", [spoken], "matroska", "libopus", rate=48_000)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])

    decoded = decode_recording(file)

    assert 10 < decoded.coverage.heard_seconds < 15
    assert decoded.coverage.duration_seconds == pytest.approx(len(spoken) / SAMPLE_RATE, abs=0.1)
    assert [gap.reason for gap in decoded.coverage.gaps] == ["missing"]
    assert len(decoded.samples) == pytest.approx(
        decoded.coverage.heard_seconds * SAMPLE_RATE, abs=16
    )


def test_samples_are_finite_and_within_full_scale(tmp_path: Path, spoken: Samples) -> None:
    broken = spoken.copy()
    broken[1000:1100] = np.nan
    broken[5000:5010] = np.inf
    broken[6000:6010] = -np.inf
    broken[7000:7010] = 1e30
    file = encode(tmp_path / "a.wav", [broken], "wav", "pcm_f32le")

    decoded = decode_recording(file)

    assert np.isfinite(decoded.samples).all()
    assert np.abs(decoded.samples).max() <= 1.0
    assert _likeness(spoken[SAMPLE_RATE:], decoded.samples[SAMPLE_RATE:]) > 0.99


@pytest.mark.parametrize("codec", ["adpcm_ima_wav", "pcm_s24le", "pcm_f64le", "pcm_mulaw"])
def test_wav_is_decoded_with_each_codec(tmp_path: Path, spoken: Samples, codec: str) -> None:
    file = encode(tmp_path / "a.wav", [spoken], "wav", codec)

    assert _likeness(spoken, decode_recording(file).samples) > 0.95


def test_random_damage_never_raises_anything_but_cannot_transcribe(
    tmp_path: Path, spoken: Samples
) -> None:
    part = spoken[: 4 * SAMPLE_RATE]
    sources = [
        encode(tmp_path / "a.m4a", [part], "ipod", "aac"),
        encode(tmp_path / "a.ogg", [part], "ogg", "libopus", rate=48_000),
        encode(tmp_path / "a.webm", [part], "webm", "libopus", rate=48_000),
        encode(tmp_path / "a.mp3", [part], "mp3", "libmp3lame"),
    ]
    contents = [source.read_bytes() for source in sources]
    chance = np.random.default_rng(5)
    for number in range(80):
        content = bytearray(contents[number % len(contents)])
        for at in chance.integers(0, len(content), 20):
            content[at] = chance.integers(256)
        (tmp_path / "broken").write_bytes(content)
        try:
            decoded = decode_recording(tmp_path / "broken")
        except CannotTranscribe:
            continue
        assert decoded.coverage.heard_seconds <= decoded.coverage.duration_seconds + 0.1
        ends = [time for gap in decoded.coverage.gaps for time in (gap.start, gap.end)]
        assert all(one <= other for one, other in pairwise(ends))
