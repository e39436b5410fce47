"""Real speech through the real child process, and what is no speech."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio

from coach_ai.domain import Answer, AudioAnalysis, CannotTranscribe, Feedback, Progress, Transcript
from coach_ai.scoring.local.scorer import LocalScorer
from coach_ai.speech import whisper_model
from coach_ai.speech.audio import SAMPLE_RATE
from coach_ai.speech.local_transcriber import LocalTranscriber
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
async def test_read_speech_is_understood_within_five_percent(transcriber: LocalTranscriber) -> None:
    heard = {name: await transcriber.transcribe(RECORDINGS / name) for name in WORDS}

    errors = word_error_rate(" ".join(WORDS.values()), " ".join(h.text for h in heard.values()))
    assert errors <= 0.05
    for one in heard.values():
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
async def test_what_phones_and_browsers_record_is_understood(
    transcriber: LocalTranscriber,
    tmp_path: Path,
    name: str,
    format: str,
    codec: str,
    film: str | None,
) -> None:
    source = next(iter(WORDS))
    file = write_recording(tmp_path / name, speech(source), format, codec, video_codec=film)

    heard = await transcriber.transcribe(file)

    assert word_error_rate(WORDS[source], heard.text) <= 0.1


@pytest.mark.asyncio(loop_scope="module")
async def test_a_long_recording_is_understood_as_well_and_its_words_keep_their_times(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    samples = np.concatenate([speech(), np.zeros(20 * SAMPLE_RATE, np.float32), speech()])
    file = write_recording(tmp_path / "a.webm", samples, "webm", "libopus")

    heard = await transcriber.transcribe(file)

    assert word_error_rate(" ".join([*WORDS.values()] * 2), heard.text) <= 0.05
    firsts = [word.start for word in heard.words if word.text.lower() == "dashwood"]
    assert firsts[1] - firsts[0] == pytest.approx(len(speech()) / SAMPLE_RATE + 20, abs=0.3)


async def _judged(heard: Transcript) -> Feedback:
    answer = Answer("T", "Why?", heard.text, heard.language, heard.duration_seconds, heard.words)
    return await LocalScorer().score(answer, TokenUsage())


@pytest.mark.asyncio(loop_scope="module")
async def test_another_language_is_recognised_and_its_answer_not_scored(
    transcriber: LocalTranscriber,
) -> None:
    heard = await transcriber.transcribe(RECORDINGS / "german.ogg")

    judged = await _judged(heard)
    assert heard.language == "de"
    assert judged.overall_score is None
    assert "not in English" in judged.detailed_feedback


@pytest.mark.asyncio(loop_scope="module")
async def test_noise_louder_than_the_voice_leaves_a_transcript_that_is_not_judged(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    samples = speech()
    noise = np.random.default_rng(1).standard_normal(len(samples))
    noisy = samples + 1.25 * noise * np.sqrt(np.mean(samples**2))
    file = write_recording(tmp_path / "a.m4a", noisy / np.abs(noisy).max(), "ipod", "aac")

    heard = await transcriber.transcribe(file)

    judged = await _judged(heard)
    assert heard.text
    assert judged.overall_score is None
    assert "audio is too unclear" in judged.detailed_feedback


@pytest.mark.asyncio(loop_scope="module")
async def test_the_sound_is_told_first_and_then_how_far_a_long_recording_has_come(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    samples = np.resize(speech(), 125 * SAMPLE_RATE)
    file = write_recording(tmp_path / "a.m4a", samples, "ipod", "aac")
    news: list[AudioAnalysis | Progress] = []

    async def tell(one: AudioAnalysis | Progress) -> None:
        news.append(one)

    heard = await transcriber.transcribe(file, tell)

    first, *progress = news
    assert isinstance(first, AudioAnalysis)
    assert (first.silences, first.sound) == (heard.silences, heard.acoustic_features)
    done = [one.done_seconds for one in progress if isinstance(one, Progress)]
    assert len(done) == len(progress) >= 2
    assert sorted(done) == done
    assert 0 < done[0] < done[-1] <= heard.duration_seconds


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("seconds", [10, 60])
@pytest.mark.parametrize("kind", ["silence", "noise", "tone", "music"])
async def test_what_has_no_speech_has_no_words(
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
async def test_voices_that_say_nothing_are_not_understood(
    transcriber: LocalTranscriber, tmp_path: Path, seconds: int
) -> None:
    backwards = np.resize(speech()[::-1], seconds * SAMPLE_RATE)
    file = write_recording(tmp_path / "a.m4a", backwards, "ipod", "aac")

    with pytest.raises(CannotTranscribe, match="could not understand"):
        await transcriber.transcribe(file)


@pytest.mark.asyncio(loop_scope="module")
async def test_bombs_are_refused_in_bounded_memory(
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
async def test_what_a_recording_took_of_memory_is_given_back_once_it_was_heard(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    file = write_recording(tmp_path / "a.m4a", np.resize(speech(), 60 * SAMPLE_RATE), "ipod", "aac")

    await transcriber.transcribe(file)

    async with asyncio.timeout(20):
        while _kilobytes(transcriber, "VmRSS") > 0.7 * _kilobytes(transcriber, "VmHWM"):
            await asyncio.sleep(0.05)


def _kilobytes(transcriber: LocalTranscriber, figure: str) -> int:
    """Return what Linux says of the only child's memory."""
    (pid,) = [process.pid for process in transcriber.processes]
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{figure}:\s+(\d+) kB", status)[1])  # type: ignore[index]


def _silent_hours(file: Path) -> bytes:
    """Return two hours of silence as Opus: the same 60 ms again and again."""
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
async def test_a_child_that_dies_may_work_later_and_is_replaced(
    transcriber: LocalTranscriber,
) -> None:
    source = next(iter(WORDS))
    await transcriber.warm_up()
    pid = transcriber.processes[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    heard = await transcriber.transcribe(RECORDINGS / source)

    assert heard.text
    assert transcriber.processes[0].pid != pid


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("sent", "error", "reason"),
    [
        (signal.SIGSEGV, CannotTranscribe, "could not read"),
        (signal.SIGKILL, Unavailable, "interrupted"),
    ],
)
async def test_recording_is_given_up_if_two_processes_crash_but_not_if_they_are_killed(
    transcriber: LocalTranscriber,
    tmp_path: Path,
    sent: signal.Signals,
    error: type[Exception],
    reason: str,
) -> None:
    # A process that reads from a pipe stands still until it is written to; it is killed there.
    pipe = tmp_path / "a.m4a"
    os.mkfifo(pipe)
    asked = asyncio.create_task(transcriber.transcribe(pipe))
    for _ in range(2):
        writer = await _opened_by_a_reader(pipe)
        pid = transcriber.processes[0].pid
        assert pid is not None
        os.kill(pid, sent)
        while transcriber.processes[0].pid == pid:
            await asyncio.sleep(0.01)
        os.close(writer)

    with pytest.raises(error, match=reason):
        await asked


async def _opened_by_a_reader(pipe: Path) -> int:
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            await asyncio.sleep(0.01)


async def test_two_processes_work_at_the_same_time() -> None:
    transcriber = LocalTranscriber(None, processes=2)
    try:
        await transcriber.warm_up()
        pids = {process.pid for process in transcriber.processes}
        heard = await asyncio.gather(
            *(transcriber.transcribe(RECORDINGS / name) for name in [*WORDS][:2])
        )
    finally:
        await transcriber.close()

    assert len(pids) == 2
    assert [one.model for one in heard] == ["whisper-base"] * 2
    for name, one in zip(WORDS, heard, strict=False):
        assert word_error_rate(WORDS[name], one.text) <= 0.15


async def test_a_model_of_ones_own_is_named_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    for file in whisper_model.resolve(None).iterdir():
        (tmp_path / "copy" / file.name).symlink_to(file)
    transcriber = LocalTranscriber(tmp_path / "copy")
    try:
        heard = await transcriber.transcribe(RECORDINGS / next(iter(WORDS)))
    finally:
        await transcriber.close()

    assert (heard.provider, heard.model) == ("local", "copy")
