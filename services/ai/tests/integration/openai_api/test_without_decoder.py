"""The OpenAI transcriber without a decoder sends recordings unchanged. Only WAV files are split."""

import wave
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coach_ai.domain import CannotTranscribe, GapReason
from coach_ai.openai import recording_splitter, wav
from coach_ai.openai.recording_splitter import UnchangedSplitter
from coach_ai.openai.transcriber import OpenAITranscriber, estimate_audio_tokens
from coach_ai.token_usage import UnlimitedBudget
from coach_common.recordings import MAX_RECORDING_SECONDS
from support.openai_server import OpenAIServer, error_response

RATE = 8_000


@pytest.fixture
async def transcriber(server: OpenAIServer) -> AsyncIterator[OpenAITranscriber]:
    transcriber = OpenAITranscriber(
        "key", server.url, "whisper-1", None, splitter=UnchangedSplitter(), max_chunk_seconds=60
    )
    yield transcriber
    await transcriber.close()


class Budget(UnlimitedBudget):
    """Records how many tokens were reserved."""

    __slots__ = ("reserved",)

    async def reserve(self, tokens: int) -> None:
        self.reserved = tokens


def _write_wav(path: Path, seconds: float, *, quiet_at: tuple[float, ...] = ()) -> Path:
    samples = array("h", [8000, -8000]) * int(seconds * RATE / 2)
    for at in quiet_at:
        samples[int(at * RATE) : int((at + 1) * RATE)] = array("h", [0]) * RATE
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


async def test_recording_is_sent_unchanged_and_its_duration_comes_from_the_provider(
    server: OpenAIServer, transcriber: OpenAITranscriber, tmp_path: Path
) -> None:
    content = b"OggS" + bytes(3_000)
    (tmp_path / "a.m4a").write_bytes(content)
    word = {"word": "Hello", "start": 0.5, "end": 0.9}
    server.answers = [{"text": "Hello.", "duration": "1.25", "words": [word]}]
    budget = Budget()

    transcript = await transcriber.transcribe(tmp_path / "a.m4a", budget=budget)

    assert server.uploads == [content]
    assert (transcript.text, transcript.duration_seconds) == ("Hello.", 1.25)
    assert [(one.text, one.start) for one in transcript.words] == [("Hello", 0.5)]
    assert (transcript.silences, transcript.acoustic_features, transcript.coverage) == (
        None,
        None,
        None,
    )
    # Reserved for the longest audio of this size, used for the measured one.
    assert (budget.reserved, budget.usage.tokens_in) == (estimate_audio_tokens(3_004 / 500), 13)


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        ({"usage": {"type": "duration", "seconds": 7}}, 7.0),
        ({"words": [{"word": "Hello", "start": 0.5, "end": 0.9}]}, 0.9),
        ({"duration": "unknown"}, 0.0),
    ],
    ids=["usage", "words", "none"],
)
async def test_duration_comes_from_what_the_provider_reports(
    server: OpenAIServer,
    transcriber: OpenAITranscriber,
    tmp_path: Path,
    response: dict[str, Any],
    seconds: float,
) -> None:
    (tmp_path / "a").write_bytes(b"fLaC" + bytes(100))
    server.answers = [{"text": "Hello."} | response]

    assert (await transcriber.transcribe(tmp_path / "a")).duration_seconds == seconds


async def test_wav_is_split_in_quiet_places_and_times_are_shifted(
    server: OpenAIServer, transcriber: OpenAITranscriber, tmp_path: Path
) -> None:
    recording = _write_wav(tmp_path / "a", 130, quiet_at=(50, 105))
    word = {"word": "word", "start": 1.0, "end": 2.0}
    server.answers = [{"text": "word", "words": [word]}]
    progress: list[Any] = []

    async def on_progress(update: Any) -> None:
        progress.append(update)

    transcript = await transcriber.transcribe(recording, on_progress)

    begins = [one.start - 1 for one in transcript.words]
    assert begins[0] == 0 and 50 < begins[1] < 51 and 105 < begins[2] < 106
    assert sum(len(one) - 44 for one in server.uploads) == 130 * RATE * 2
    assert transcript.duration_seconds == 130
    assert transcript.coverage is not None and transcript.coverage.heard_seconds == 130
    assert [(one.done_seconds, one.duration_seconds) for one in progress][-1] == (130, 130)


async def test_wav_that_the_server_finds_too_long_is_split_into_shorter_chunks(
    server: OpenAIServer, transcriber: OpenAITranscriber, tmp_path: Path
) -> None:
    recording = _write_wav(tmp_path / "a", 61)
    server.answers = [error_response(413), {"text": "word"}]

    transcript = await transcriber.transcribe(recording)

    assert len(server.uploads) == 1 + len(transcript.text.split())
    assert max(len(one) for one in server.uploads[1:]) <= 30 * RATE * 2 + 44


def test_wav_is_cut_after_thirty_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_splitter, "MAX_RECORDING_SECONDS", 20)
    form = recording_splitter.SpeechForm(chunk_seconds=60)

    split = recording_splitter._split_unchanged(_write_wav(tmp_path / "a", 25), tmp_path, form)

    assert MAX_RECORDING_SECONDS == 1800
    assert split.sent_seconds == 20
    assert split.coverage is not None
    assert (split.coverage.duration_seconds, split.coverage.heard_seconds) == (25, 20)
    (gap,) = split.coverage.gaps
    assert (gap.start, gap.end, gap.reason) == (20, 25, GapReason.TOO_LONG)


def test_wav_with_a_wrong_size_in_its_header_lasts_as_long_as_its_samples(tmp_path: Path) -> None:
    recording = _write_wav(tmp_path / "a", 10)
    content = bytearray(recording.read_bytes())
    content[40:44] = b"\xff\xff\xff\x7f"
    recording.write_bytes(content)

    duration = wav.read_duration(recording)
    parts = wav.split(recording, tmp_path, max_seconds=60, max_bytes=10**6, end_seconds=60)

    assert duration == pytest.approx(10, abs=0.01)
    assert sum(part.seconds for part in parts) == pytest.approx(10, abs=0.01)
    (tmp_path / "b").write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    assert wav.read_duration(tmp_path / "b") is None


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"OggS\0", "audio/ogg"),
        (b"\x1a\x45\xdf\xa3", "audio/webm"),
        (b"\0\0\0\x18ftypM4A ", "audio/mp4"),
        (b"RIFF\0\0\0\0WAVE", "audio/wav"),
        (b"RF64\0\0\0\0WAVE", "audio/wav"),
        (b"\0\0\0\x18styp3gp4", "audio/mp4"),
        (b"\0" * 40 + b"\xff\xfb\x90", "audio/mp3"),
        (b"fLaC", "audio/flac"),
        (b"ID3\x04", "audio/mp3"),
        (b"\xff\xfb\x90", "audio/mp3"),
        (b"\xff\xf1\x50", "audio/aac"),
        (b"#!AMR\n", "audio/amr"),
        (b"caff\0", "audio/caf"),
    ],
    ids=[
        "ogg",
        "webm",
        "mp4",
        "wav",
        "wav64",
        "segment",
        "zeros",
        "flac",
        "id3",
        "mp3",
        "aac",
        "amr",
        "caf",
    ],
)
def test_format_is_read_from_the_content(head: bytes, media_type: str) -> None:
    assert recording_splitter._identify(head) == media_type


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"<!doctype html>", "could not read"), (b"OggS" + bytes(60), "25 MB")],
    ids=["empty", "page", "large"],
)
async def test_recording_that_cannot_be_sent_fails_for_good(
    server: OpenAIServer,
    transcriber: OpenAITranscriber,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    message: str,
) -> None:
    monkeypatch.setattr(recording_splitter, "MAX_FILE_BYTES", 50)
    (tmp_path / "a").write_bytes(content)

    with pytest.raises(CannotTranscribe, match=message):
        await transcriber.transcribe(tmp_path / "a")

    assert server.uploads == []


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (error_response(400, "Invalid file format."), "could not read"),
        (error_response(413), "longer than the AI provider accepts"),
    ],
    ids=["format", "length"],
)
async def test_refused_recording_is_not_sent_in_another_form(
    server: OpenAIServer,
    transcriber: OpenAITranscriber,
    tmp_path: Path,
    refusal: Any,
    message: str,
) -> None:
    (tmp_path / "a").write_bytes(b"#!AMR\n" + bytes(100))
    server.answers = [refusal]

    with pytest.raises(CannotTranscribe, match=message):
        await transcriber.transcribe(tmp_path / "a")

    assert len(server.uploads) == 1
