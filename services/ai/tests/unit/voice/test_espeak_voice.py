"""The local voice: the real program if it is installed, and programs that fail or hang."""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from coach_ai.token_usage import TokenUsage
from coach_ai.voice import espeak_voice
from coach_ai.voice.espeak_voice import EspeakVoice, find_espeak
from coach_ai.voice.speech import InvalidSpeech, Speech, VoiceName, encode_wav
from coach_common.errors import Unavailable

QUESTION = "Tell me about a time you changed your mind."


@pytest.fixture
def espeak() -> EspeakVoice:
    """A voice of the installed program."""
    program = find_espeak()
    if program is None:
        pytest.skip("espeak-ng is not installed: make voice")
    return EspeakVoice(program)


def _write_program(directory: Path, script: str) -> str:
    program = directory / "espeak-ng"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


async def test_speech_is_longer_if_it_is_slower(espeak: EspeakVoice) -> None:
    usage = TokenUsage()
    slow, usual, fast = [
        await espeak.speak(QUESTION, VoiceName.MEDIUM, speed, usage) for speed in (0.5, 1.0, 2.0)
    ]

    assert (await espeak.get_model()).startswith("espeak-ng 1.")
    assert slow.sample_rate == usual.sample_rate >= 16_000
    assert len(slow.samples) > 1.5 * len(usual.samples) > 2 * len(fast.samples) > 0
    assert len(set(usual.samples)) > 50
    assert usage.tokens == 0


async def test_voices_differ_and_the_same_voice_repeats_itself(espeak: EspeakVoice) -> None:
    spoken = [await espeak.speak(QUESTION, voice, 1.0, TokenUsage()) for voice in VoiceName]
    again = await espeak.speak(QUESTION, VoiceName.LOW, 1.0, TokenUsage())

    assert len({one.samples for one in spoken}) == len(VoiceName)
    assert again == spoken[0]


async def test_text_is_never_an_option_or_markup(espeak: EspeakVoice, tmp_path: Path) -> None:
    target = tmp_path / "leak.wav"
    plain = await espeak.speak(f"-w {target}", VoiceName.MEDIUM, 1.0, TokenUsage())

    assert plain.samples
    assert not target.exists()


@pytest.mark.parametrize("script", ["exit 3", "cat >/dev/null; echo no wav", "kill -9 $$"])
async def test_failing_program_is_unavailable(tmp_path: Path, script: str) -> None:
    voice = EspeakVoice(_write_program(tmp_path, script))

    with pytest.raises(Unavailable):
        await voice.speak(QUESTION, VoiceName.MEDIUM, 1.0, TokenUsage())


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_program_may_exit_before_it_reads(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    program = _write_program(tmp_path, "echo eSpeak NG text-to-speech: 9.9")
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        models = {runner.run(EspeakVoice(program).get_model()) for _ in range(20)}

    assert models == {"espeak-ng 9.9"}


async def test_removed_program_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await EspeakVoice(str(tmp_path / "gone")).speak("Hi", VoiceName.LOW, 1.0, TokenUsage())


async def test_hanging_program_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak_voice, "_TIMEOUT_SECONDS", 0.5)
    pid_file = tmp_path / "pid"
    voice = EspeakVoice(_write_program(tmp_path, f"echo $$ > {pid_file}; exec sleep 600"))

    with pytest.raises(Unavailable):
        await voice.speak(QUESTION, VoiceName.MEDIUM, 1.0, TokenUsage())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_cancelled_request_kills_its_program(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    voice = EspeakVoice(_write_program(tmp_path, f"echo $$ > {pid_file}; exec sleep 600"))
    speaking = asyncio.create_task(voice.speak(QUESTION, VoiceName.LOW, 1.0, TokenUsage()))
    while not pid_file.exists() or not pid_file.read_text():
        await asyncio.sleep(0.01)
    speaking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await speaking
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_wav_of_several_parts_contains_their_samples() -> None:
    parts = [Speech(b"\x01\x00" * 5, 8000), Speech(b"\x02\x00" * 3, 8000)]

    assert Speech.from_wav(encode_wav(parts)) == Speech(b"\x01\x00" * 5 + b"\x02\x00" * 3, 8000)


def test_parts_of_different_rates_and_other_data_are_refused() -> None:
    with pytest.raises(InvalidSpeech):
        encode_wav([Speech(b"", 8000), Speech(b"", 16_000)])
    for data in (b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", os.urandom(100)):
        with pytest.raises(InvalidSpeech):
            Speech.from_wav(data)
