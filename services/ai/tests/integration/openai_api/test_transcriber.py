"""The OpenAI transcriber over real HTTP: chunks, word times and failures."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import Response

from coach_ai.domain import CannotTranscribe, Silence, Transcript, Word
from coach_ai.openai.transcriber import OpenAITranscriber
from coach_ai.ports import ProgressCallback, ignore_progress
from coach_ai.speech.alignment import align
from coach_ai.speech.audio import SAMPLE_RATE, decode
from coach_ai.speech.chunking import encode_opus, split_at_silence
from coach_ai.token_usage import TokenBudget
from coach_common.errors import Unavailable
from support.openai_server import OpenAIServer, error_response
from support.sounds import music, speech, write_recording


def _recording(folder: Path, seconds: float, *, pauses: tuple[float, ...] = ()) -> Path:
    samples = np.resize(speech(), int(seconds * SAMPLE_RATE))
    for begin in pauses:
        samples[int(begin * SAMPLE_RATE) : int((begin + 1.0) * SAMPLE_RATE)] = 0.0
    return write_recording(folder / "recording.m4a", samples, "ipod", "aac")


@pytest.fixture
async def transcriber(server: OpenAIServer) -> AsyncIterator[OpenAITranscriber]:
    transcriber = OpenAITranscriber("key", server.url, "gpt-transcribe", None)
    yield transcriber
    await transcriber.close()


async def test_audio_is_sent_as_mono_opus(
    server: OpenAIServer, transcriber: OpenAITranscriber, tmp_path: Path
) -> None:
    server.answers = [{"text": " Hello there. "}]

    transcript = await transcriber.transcribe(_recording(tmp_path, 20))

    assert (transcript.text, transcript.words, transcript.model) == (
        "Hello there.",
        (),
        "gpt-transcribe",
    )
    assert abs(transcript.duration_seconds - 20) < 0.2
    (sent,) = server.uploads
    assert sent.startswith(b"OggS") and len(sent) < 20 * 32_000 / 8 * 1.5
    (tmp_path / "sent.ogg").write_bytes(sent)
    assert abs(len(decode(tmp_path / "sent.ogg")) / SAMPLE_RATE - 20) < 0.2
    assert server.requests[0]["response_format"] == "json"


async def test_recording_without_speech_is_not_sent(
    server: OpenAIServer, transcriber: OpenAITranscriber, tmp_path: Path
) -> None:
    server.answers = [{"text": "Thanks for watching!"}]
    file = write_recording(tmp_path / "a.m4a", music(5), "ipod", "aac")

    with pytest.raises(CannotTranscribe, match="no speech"):
        await transcriber.transcribe(file)

    assert server.uploads == []


async def test_long_recording_is_split_at_silence_and_times_are_shifted(
    server: OpenAIServer, tmp_path: Path
) -> None:
    transcriber = OpenAITranscriber("key", server.url, "whisper-1", None, max_chunk_seconds=12)
    word = {"word": "word", "start": 1.0, "end": 2.0}
    server.answers = [{"text": "word", "language": "english", "duration": 1, "words": [word]}]

    transcript = await transcriber.transcribe(_recording(tmp_path, 26, pauses=(8, 11, 22)))
    await transcriber.close()

    pieces = split_at_silence(transcript.duration_seconds, transcript.silences or (), 12)
    assert [one.start for one in transcript.words] == pytest.approx(
        [1 + piece[0] for piece in pieces]
    )
    assert len(server.uploads) == len(pieces) >= 3
    for _, end in pieces[:-1]:
        assert any(pause.start < end < pause.end for pause in transcript.silences or ())
    assert transcript.language == "en"
    assert server.requests[0]["response_format"] == "verbose_json"


def test_chunks_cover_the_recording_and_respect_max_seconds() -> None:
    quiet = tuple(Silence(at, at + 1) for at in (9.0, 19.0, 25.0))

    assert split_at_silence(8.0, quiet, 10.0) == [(0.0, 8.0)]
    assert split_at_silence(30.0, quiet, 10.0) == [
        (0.0, 9.5),
        (9.5, 19.5),
        (19.5, 25.5),
        (25.5, 30.0),
    ]
    assert split_at_silence(25.0, (), 10.0) == [(0.0, 10.0), (10.0, 20.0), (20.0, 25.0)]


def test_half_an_hour_of_opus_is_under_25_megabytes() -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 60 * SAMPLE_RATE).astype(np.float32)

    assert len(encode_opus(noise)) * 10 < 25_000_000


def test_align_uses_only_times_of_matching_words() -> None:
    transcript = (
        Word("I", 0.0, 0.2),
        Word("fixed", 0.3, 0.6),
        Word("uh", 0.6, 0.7),
        Word("it.", 0.8, 1),
    )

    aligned = align("I repaired it, so to say.", transcript)

    assert [(word.text, word.start) for word in aligned] == [("I", 0.0), ("it,", 0.8)]


class _Local:
    """A local transcriber that returns the same words."""

    async def transcribe(
        self,
        recording: Path,
        on_progress: ProgressCallback = ignore_progress,
        *,
        prompt: str = "",
        budget: TokenBudget | None = None,
    ) -> Transcript:
        words = (Word("Hello", 1.0, 1.4), Word("there", 1.5, 1.9))
        return Transcript("Hello there", "en", 20.0, "local", "base", words)

    async def warm_up(self) -> None: ...

    async def check(self) -> None: ...

    async def close(self) -> None: ...


async def test_local_times_are_aligned_if_model_returns_none(
    server: OpenAIServer, tmp_path: Path
) -> None:
    transcriber = OpenAITranscriber("key", server.url, "gpt-transcribe", _Local())
    server.answers = [{"text": "Hello, there!"}]

    transcript = await transcriber.transcribe(_recording(tmp_path, 3))
    await transcriber.close()

    assert [(word.text, word.start) for word in transcript.words] == [
        ("Hello,", 1.0),
        ("there!", 1.5),
    ]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error_response(400, code="content_filter"), CannotTranscribe),
        (error_response(400), Unavailable),
        ({"text": "  "}, CannotTranscribe),
        (error_response(429, retry_after="9999"), Unavailable),
        (error_response(500), Unavailable),
        (error_response(401), Unavailable),
        (Response("<html>", media_type="text/html"), Unavailable),
    ],
)
async def test_transcription_failure_is_final_or_retryable(
    server: OpenAIServer,
    transcriber: OpenAITranscriber,
    tmp_path: Path,
    answer: Any,
    kind: type[Exception],
) -> None:
    server.answers = [answer]

    with pytest.raises(kind):
        await transcriber.transcribe(_recording(tmp_path, 2))
