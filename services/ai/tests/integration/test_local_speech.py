"""Real speech through the real child process, and what is no speech."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
import pytest_asyncio

from coach_ai.adapters.audio import RATE
from coach_ai.adapters.local_speech import LocalTranscriber
from coach_ai.domain import CannotTranscribe
from coach_common.errors import Unavailable
from coach_embedded.demo import word_error_rate

pytestmark = pytest.mark.speech

RECORDINGS = Path(__file__).parents[4] / "tests" / "recordings"
WORDS = dict(
    line.split("\t") for line in (RECORDINGS / "words.tsv").read_text().splitlines() if line
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def transcriber() -> AsyncIterator[LocalTranscriber]:
    transcriber = LocalTranscriber(None)
    yield transcriber
    await transcriber.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_read_speech_is_understood_within_five_percent(transcriber: LocalTranscriber) -> None:
    heard = {name: await transcriber.transcribe(RECORDINGS / name) for name in WORDS}

    errors = word_error_rate(" ".join(WORDS.values()), " ".join(h.text for h in heard.values()))
    assert errors <= 0.05
    for one in heard.values():
        assert one.language == "en"
        times = [time for word in one.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert times[-1] <= one.duration_seconds + 0.1


def _write(file: Path, samples: np.ndarray, format: str, codec: str) -> Path:
    with av.open(str(file), mode="w", format=format) as container:
        stream = container.add_stream(codec, rate=48_000 if codec == "libopus" else RATE)
        frame = av.AudioFrame.from_ndarray(
            (samples * 32767).astype(np.int16).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.format, stream.layout, stream.rate, 1024)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))
    return file


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "format", "codec"),
    [("a.m4a", "mp4", "aac"), ("a.webm", "webm", "libopus"), ("a.ogg", "ogg", "libopus"),
     ("a.mp3", "mp3", "libmp3lame"), ("a.flac", "flac", "flac"), ("a.mov", "mov", "aac")],
)  # fmt: skip
async def test_what_phones_and_browsers_record_is_decoded(
    transcriber: LocalTranscriber, tmp_path: Path, name: str, format: str, codec: str
) -> None:
    from coach_ai.adapters.audio import decode

    source = next(iter(WORDS))
    file = _write(tmp_path / name, decode(RECORDINGS / source), format, codec)

    heard = await transcriber.transcribe(file)

    assert word_error_rate(WORDS[source], heard.text) <= 0.1


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", ["silence", "noise", "tone"])
async def test_what_has_no_speech_has_no_words(
    transcriber: LocalTranscriber, tmp_path: Path, kind: str
) -> None:
    time = np.arange(5 * RATE) / RATE
    samples = {
        "silence": np.zeros(len(time)),
        "noise": 0.05 * np.random.default_rng(3).standard_normal(len(time)),
        "tone": 0.2 * np.sin(2 * np.pi * 440 * time),
    }[kind]
    file = _write(tmp_path / "a.m4a", samples, "mp4", "aac")

    with pytest.raises(CannotTranscribe, match="no speech"):
        await transcriber.transcribe(file)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "content",
    [
        b"", b"<html>", b"\0" * 1000, b"RIFF\xff\xff\xff\xffWAVEfmt ",
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_said(
    transcriber: LocalTranscriber, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "a.m4a"
    file.write_bytes(content)

    with pytest.raises(CannotTranscribe):
        await transcriber.transcribe(file)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_child_that_dies_may_work_later_and_is_replaced(
    transcriber: LocalTranscriber,
) -> None:
    source = next(iter(WORDS))
    await transcriber.warm_up()
    assert transcriber._child is not None
    os.kill(transcriber._child.pid, signal.SIGKILL)

    with suppress(Unavailable):
        await transcriber.transcribe(RECORDINGS / source)

    assert (await transcriber.transcribe(RECORDINGS / source)).text
