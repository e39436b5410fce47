"""Decoding of common recording formats, and rejection of hostile files."""

import socket
from pathlib import Path

import av
import numpy as np
import pytest

from coach_ai.domain import CannotTranscribe
from coach_ai.speech.audio import SAMPLE_RATE, decode
from support.sounds import speech, wav, write_recording

SENTENCE = "austen-0880.wav"
LIVE = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


def _likeness(original: np.ndarray, decoded: np.ndarray) -> float:
    """Return the correlation of two loudness curves, with a delay of up to 0.2 s.

    Encoders shift phases, and put some silence before.
    """

    def curve(samples: np.ndarray) -> np.ndarray:
        loudness: np.ndarray = np.sqrt(np.convolve(samples**2, np.ones(800) / 800, "same"))[::80]
        return loudness

    one, other = curve(original), curve(decoded)
    found = []
    for shift in range(40):
        length = min(len(one), len(other) - shift)
        found.append(np.corrcoef(one[:length], other[shift : shift + length])[0, 1])
    return float(max(found))


@pytest.mark.parametrize(
    ("name", "format", "codec", "film", "options"),
    [
        ("a.m4a", "ipod", "aac", None, {}),
        ("a.mp4", "mp4", "aac", None, {}),
        ("fragmented.mp4", "mp4", "aac", None, LIVE),
        ("a.mp3", "mp3", "libmp3lame", None, {}),
        ("a.wav", "wav", "pcm_s16le", None, {}),
        ("float.wav", "wav", "pcm_f32le", None, {}),
        ("a.webm", "webm", "libopus", None, {}),
        ("without_length.webm", "webm", "libopus", None, {"live": "1"}),
        ("a.ogg", "ogg", "libopus", None, {}),
        ("a.aac", "adts", "aac", None, {}),
        ("a.flac", "flac", "flac", None, {}),
        ("film.mp4", "mp4", "aac", "mpeg4", {}),
        ("film.mov", "mov", "aac", "mpeg4", {}),
        ("film.m4v", "mp4", "aac", "mpeg4", {}),
        ("film.webm", "webm", "libopus", "libvpx", {}),
    ],
)
def test_decode_accepts_formats_of_phones_and_browsers(
    tmp_path: Path,
    name: str,
    format: str,
    codec: str,
    film: str | None,
    options: dict[str, str],
) -> None:
    original = speech(SENTENCE)
    file = write_recording(
        tmp_path / name, original, format, codec, video_codec=film, options=options
    )

    decoded = decode(file)

    assert len(decoded) == pytest.approx(len(original), abs=0.15 * SAMPLE_RATE)
    assert _likeness(original, decoded) > 0.95


@pytest.mark.parametrize("kept", [0.4, 0.9])
@pytest.mark.parametrize(
    ("name", "format", "codec"),
    [("a.webm", "webm", "libopus"), ("a.mp3", "mp3", "libmp3lame"), ("a.wav", "wav", "pcm_s16le")],
)
def test_truncated_recording_is_decoded_to_its_end(
    tmp_path: Path, name: str, format: str, codec: str, kept: float
) -> None:
    original = speech(SENTENCE)
    file = write_recording(tmp_path / name, original, format, codec)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])

    decoded = decode(file)

    assert len(decoded) >= (kept - 0.25) * len(original)
    assert _likeness(original, decoded) > 0.9


def test_mp4_without_index_is_rejected(tmp_path: Path) -> None:
    file = write_recording(tmp_path / "a.m4a", speech(SENTENCE), "ipod", "aac")
    content = file.read_bytes()
    file.write_bytes(content[: content.index(b"moov")])

    with pytest.raises(CannotTranscribe, match="could not read"):
        decode(file)


def test_video_without_audio_track_is_rejected(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), mode="w") as container:
        pictures = container.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        for packet in (*pictures.encode(picture), *pictures.encode(None)):
            container.mux(packet)

    with pytest.raises(CannotTranscribe, match="no audio track"):
        decode(tmp_path / "a.mp4")


def test_empty_audio_track_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(b""))

    with pytest.raises(CannotTranscribe, match="empty"):
        decode(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "could not read"),
        (b"<html>", "could not read"),
        (b"\0" * 1000, "could not read"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "could not read"),
        (wav(b"\0\1" * 192 * 1600, channels=192), "could not read"),
        (wav(b"\0\1" * 100_000, rate=1), "could not read"),
        (wav(b"\0\1" * 100_000, rate=0xFFFFFFF), "could not read"),
    ],
)
def test_undecodable_file_is_rejected_with_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "a.m4a").write_bytes(content)

    with pytest.raises(CannotTranscribe, match=reason):
        decode(tmp_path / "a.m4a")


def test_header_with_false_size_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(b"\0\1" * SAMPLE_RATE, claimed_bytes=0xFFFFFFFF - 36))

    assert len(decode(tmp_path / "a.wav")) == SAMPLE_RATE


def test_playlist_cannot_open_files_or_addresses(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(b"\0\1" * SAMPLE_RATE))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.wav"
    track = "#EXTINF:1,\n%s\n#EXT-X-ENDLIST\n"
    for content in (
        "#EXTM3U\n" + track % address,
        "#EXTM3U\n" + track % secret,
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f"ffconcat version 1.0\nfile '{address}'\n",
        f"concat:{secret}|{secret}",
        f"<MPD><Period><BaseURL>{address}</BaseURL></Period></MPD>",
        f"v=0\nc=IN IP4 127.0.0.1\nm=audio {listener.getsockname()[1]} RTP/AVP 0\n",
    ):
        (tmp_path / "a.mp4").write_text(content)
        with pytest.raises(CannotTranscribe, match="could not read"):
            decode(tmp_path / "a.mp4")

    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()
