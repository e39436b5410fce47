"""The local transcriber with its real child process, on speech and on recordings without speech."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio

from coach_ai.domain import Answer, AudioAnalysis, CannotTranscribe, Feedback, Progress, Transcript
from coach_ai.scoring.local.scorer import LocalScorer
from coach_ai.speech import process as process_module
from coach_ai.speech import whisper_model
from coach_ai.speech.audio import SAMPLE_RATE
from coach_ai.speech.local_transcriber import LocalTranscriber
from coach_ai.speech.process import SpeechProcess, SpeechProcessInterrupted
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable
from coach_embedded.demo import word_error_rate
from support.sounds import RECORDINGS, WORDS, music, speech, wav, write_recording

pytestmark = pytest.mark.speech


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def transcriber() -> AsyncIterator[LocalTranscriber]:
    transcriber = LocalTranscriber(None)
    yield transcriber
    await transcriber.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_local_transcriber_has_at_most_5_percent_word_errors_for_read_speech(
    transcriber: LocalTranscriber,
) -> None:
    transcript = {name: await transcriber.transcribe(RECORDINGS / name) for name in WORDS}

    errors = word_error_rate(
        " ".join(WORDS.values()), " ".join(h.text for h in transcript.values())
    )
    assert errors <= 0.05
    for one in transcript.values():
        assert one.language == "en"
        times = [time for word in one.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert times[-1] <= one.duration_seconds + 0.1


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "format", "codec", "film"),
    [("a.m4a", "ipod", "aac", None), ("a.webm", "webm", "libopus", None),
     ("a.mp3", "mp3", "libmp3lame", None), ("a.mov", "mov", "aac", "mpeg4")],
)  # fmt: skip
async def test_local_transcriber_accepts_formats_of_phones_and_browsers(
    transcriber: LocalTranscriber,
    tmp_path: Path,
    name: str,
    format: str,
    codec: str,
    film: str | None,
) -> None:
    source = next(iter(WORDS))
    file = write_recording(tmp_path / name, speech(source), format, codec, video_codec=film)

    transcript = await transcriber.transcribe(file)

    assert word_error_rate(WORDS[source], transcript.text) <= 0.1


@pytest.mark.asyncio(loop_scope="module")
async def test_long_recording_keeps_word_accuracy_and_word_times(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    samples = np.concatenate([speech(), np.zeros(20 * SAMPLE_RATE, np.float32), speech()])
    file = write_recording(tmp_path / "a.webm", samples, "webm", "libopus")

    transcript = await transcriber.transcribe(file)

    assert word_error_rate(" ".join([*WORDS.values()] * 2), transcript.text) <= 0.05
    firsts = [word.start for word in transcript.words if word.text.lower() == "dashwood"]
    assert firsts[1] - firsts[0] == pytest.approx(len(speech()) / SAMPLE_RATE + 20, abs=0.3)


async def _score(transcript: Transcript) -> Feedback:
    answer = Answer(
        "T",
        "Why?",
        transcript.text,
        transcript.language,
        transcript.duration_seconds,
        transcript.words,
    )
    return await LocalScorer().score(answer, TokenUsage())


@pytest.mark.asyncio(loop_scope="module")
async def test_answer_in_another_language_is_detected_and_not_scored(
    transcriber: LocalTranscriber,
) -> None:
    transcript = await transcriber.transcribe(RECORDINGS / "german.ogg")

    feedback = await _score(transcript)
    assert transcript.language == "de"
    assert feedback.overall_score is None
    assert "not in English" in feedback.detailed_feedback


@pytest.mark.asyncio(loop_scope="module")
async def test_transcript_of_noisy_recording_is_not_scored(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    samples = speech()
    noise = np.random.default_rng(1).standard_normal(len(samples))
    noisy = samples + 1.25 * noise * np.sqrt(np.mean(samples**2))
    file = write_recording(tmp_path / "a.m4a", noisy / np.abs(noisy).max(), "ipod", "aac")

    transcript = await transcriber.transcribe(file)

    feedback = await _score(transcript)
    assert transcript.text
    assert feedback.overall_score is None
    assert "audio is too unclear" in feedback.detailed_feedback


@pytest.mark.asyncio(loop_scope="module")
async def test_progress_callback_gets_analysis_then_progress(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    samples = np.resize(speech(), 125 * SAMPLE_RATE)
    file = write_recording(tmp_path / "a.m4a", samples, "ipod", "aac")
    news: list[AudioAnalysis | Progress] = []

    async def on_progress(one: AudioAnalysis | Progress) -> None:
        news.append(one)

    transcript = await transcriber.transcribe(file, on_progress)

    first, *progress = news
    assert isinstance(first, AudioAnalysis)
    assert (first.silences, first.acoustic_features) == (
        transcript.silences,
        transcript.acoustic_features,
    )
    done = [one.done_seconds for one in progress if isinstance(one, Progress)]
    assert len(done) == len(progress) >= 2
    assert sorted(done) == done
    assert 0 < done[0] < done[-1] <= transcript.duration_seconds


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("seconds", [10, 60])
@pytest.mark.parametrize("kind", ["silence", "noise", "tone", "music"])
async def test_recording_without_speech_is_rejected(
    transcriber: LocalTranscriber, tmp_path: Path, kind: str, seconds: int
) -> None:
    time = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    samples = {
        "silence": np.zeros(len(time)),
        "noise": 0.05 * np.random.default_rng(3).standard_normal(len(time)),
        "tone": 0.2 * np.sin(2 * np.pi * 440 * time),
        "music": music(seconds),
    }[kind]
    file = write_recording(tmp_path / "a.m4a", samples, "ipod", "aac")

    with pytest.raises(CannotTranscribe, match="no speech"):
        await transcriber.transcribe(file)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("seconds", [7, 46])
async def test_unintelligible_voices_are_rejected(
    transcriber: LocalTranscriber, tmp_path: Path, seconds: int
) -> None:
    backwards = np.resize(speech()[::-1], seconds * SAMPLE_RATE)
    file = write_recording(tmp_path / "a.m4a", backwards, "ipod", "aac")

    with pytest.raises(CannotTranscribe, match="could not understand"):
        await transcriber.transcribe(file)


@pytest.mark.asyncio(loop_scope="module")
async def test_decompression_bomb_is_rejected_in_bounded_memory(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    await transcriber.warm_up()
    bombs = {
        "silent_hours.ogg": _silent_hours(tmp_path / "silent_hours.ogg"),
        "channels.wav": wav(b"\0\1" * 192 * 1600, channels=192),
        "slow.wav": wav(b"\0\1" * 1_000_000, rate=1),
        "claim.wav": wav(b"\0\0" * SAMPLE_RATE, claimed_bytes=0xFFFFFFFF - 36),
        "atoms.mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0\0\0\x08free" * 1_000_000,
    }
    for name, content in bombs.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CannotTranscribe):
            await transcriber.transcribe(tmp_path / name)

    assert _kilobytes(transcriber, "VmHWM") < 1.5 * 1024**2


@pytest.mark.asyncio(loop_scope="module")
async def test_speech_process_releases_memory_after_a_recording(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    file = write_recording(tmp_path / "a.m4a", np.resize(speech(), 60 * SAMPLE_RATE), "ipod", "aac")

    await transcriber.transcribe(file)

    async with asyncio.timeout(20):
        while _kilobytes(transcriber, "VmRSS") > 0.7 * _kilobytes(transcriber, "VmHWM"):
            await asyncio.sleep(0.05)


def _kilobytes(transcriber: LocalTranscriber, figure: str) -> int:
    """Return the memory of the only child process, as Linux reports it."""
    (pid,) = [process.pid for process in transcriber.processes]
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{figure}:\s+(\d+) kB", status)[1])  # type: ignore[index]


def _silent_hours(file: Path) -> bytes:
    """Return two hours of silence as Opus: the same 60 ms repeated."""
    with av.open(str(file), mode="w", format="ogg") as container:
        stream: Any = container.add_stream("libopus", rate=48_000)
        stream.layout = "mono"
        stream.options = {"frame_duration": "60"}
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 2880), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 48_000
        packets = [*stream.encode(frame), *stream.encode(frame), *stream.encode(None)]
        content = bytes(packets[0])
        for number in range(2 * 3600 * 1000 // 60):
            packet = av.Packet(content)
            packet.stream = stream
            packet.time_base = Fraction(1, 48_000)
            packet.pts = packet.dts = number * 2880
            packet.duration = 2880
            container.mux(packet)
    return file.read_bytes()


@pytest.mark.asyncio(loop_scope="module")
async def test_killed_speech_process_is_replaced(
    transcriber: LocalTranscriber,
) -> None:
    source = next(iter(WORDS))
    await transcriber.warm_up()
    pid = transcriber.processes[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    transcript = await transcriber.transcribe(RECORDINGS / source)

    assert transcript.text
    assert transcriber.processes[0].pid != pid


class ObservedProcess(SpeechProcess):
    """A speech process that tells which children have started."""

    def __init__(self) -> None:
        super().__init__(None, threads=1)
        self.started = asyncio.Queue[int]()

    async def start(self) -> asyncio.subprocess.Process:
        child = await super().start()
        self.started.put_nowait(child.pid)
        return child


@pytest.mark.parametrize(
    ("sent", "error", "reason"),
    [
        (signal.SIGSEGV, CannotTranscribe, "could not read"),
        (signal.SIGKILL, SpeechProcessInterrupted, "interrupted"),
    ],
)
async def test_recording_is_given_up_if_two_processes_crash_but_not_if_they_are_killed(
    tmp_path: Path, sent: signal.Signals, error: type[Exception], reason: str
) -> None:
    # No process writes to this pipe, so the child that opens it waits there until it is killed.
    pipe = tmp_path / "a.m4a"
    os.mkfifo(pipe)
    process = ObservedProcess()
    asked = asyncio.create_task(process.request({"path": str(pipe)}))
    try:
        async with asyncio.timeout(120):
            for _ in range(2):
                os.kill(await process.started.get(), sent)
            with pytest.raises(error, match=reason):
                await asked
    finally:
        await process.kill()


async def test_full_disk_of_the_speech_process_is_not_about_the_recording(tmp_path: Path) -> None:
    (tmp_path / "0.ogg").symlink_to("/dev/full")
    process = SpeechProcess(None, threads=1)
    try:
        with pytest.raises(Unavailable, match="out of disk space"):
            await process.request(
                {
                    "path": str(RECORDINGS / next(iter(WORDS))),
                    "chunks_dir": str(tmp_path),
                    "max_seconds": 60.0,
                }
            )
    finally:
        await process.kill()


async def test_child_that_ends_its_output_and_goes_on_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_module, "_EXIT_TIMEOUT_SECONDS", 0.2)
    stuck = SpeechProcess(None, threads=1)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import os, time; os.close(1); time.sleep(3600)",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    stuck._child = child
    try:
        async with asyncio.timeout(120):
            await stuck.request({})
        assert stuck.pid not in (None, child.pid)
        assert await child.wait() == -signal.SIGKILL
    finally:
        await stuck.kill()


async def test_two_speech_processes_work_in_parallel() -> None:
    names = [*WORDS][:2]
    transcriber = LocalTranscriber(None, processes=2)
    try:
        await transcriber.warm_up()
        pids = {process.pid for process in transcriber.processes}
        transcripts = await asyncio.gather(
            *(transcriber.transcribe(RECORDINGS / name) for name in names)
        )
        one_by_one = [await transcriber.transcribe(RECORDINGS / name) for name in names]
    finally:
        await transcriber.close()

    assert len(pids) == 2
    assert [one.model for one in transcripts] == ["whisper-base"] * 2
    assert [one.text for one in transcripts] == [one.text for one in one_by_one]
    reference = " ".join(WORDS[name] for name in names)
    assert word_error_rate(reference, " ".join(one.text for one in transcripts)) <= 0.15


async def test_custom_model_has_name_of_its_directory(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    for file in whisper_model.resolve(None).iterdir():
        (tmp_path / "copy" / file.name).symlink_to(file)
    transcriber = LocalTranscriber(tmp_path / "copy")
    try:
        transcript = await transcriber.transcribe(RECORDINGS / next(iter(WORDS)))
    finally:
        await transcriber.close()

    assert (transcript.provider, transcript.model) == ("local", "copy")
