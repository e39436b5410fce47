"""The voice of piper: programs that fail in its place, and the real one if it is installed.

The real program needs `make voice-piper`, or PIPER_PROGRAM and PIPER_VOICE in the environment.
"""

import asyncio
import os
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path

import pytest

from coach_ai.token_usage import TokenUsage
from coach_ai.voice.piper_process import PiperFailed
from coach_ai.voice.piper_voice import PiperVoice, find_piper
from coach_ai.voice.speech import Speech, VoiceName
from coach_common.errors import Unavailable

ROOT = Path(__file__).parents[5]
QUESTION = "Tell me about a time you solved a hard problem."

# Speaks 100 samples per character, as piper does: a sentence per line, a file and a log line each.
_PROGRAM = """#!{python}
import os, sys, time, wave
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
directory, scale = options["--output-dir"], float(options["--length-scale"])
starts = "{state}/starts"
with open(starts, "a") as file:
    file.write(f"{{os.getpid()}} {{scale}}\\n")
number = len(open(starts).readlines())
def write(path, samples):
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, 22050, 0, "NONE", ""))
        file.writeframes(samples)
for line in sys.stdin:
    text = line.strip()
    path = os.path.join(directory, f"{{time.monotonic_ns()}}.wav")
    samples = b"\\x01\\x02" * int(100 * len(text) * scale)
{behaviour}
    write(path, samples)
    print(f"INFO:piper:Wrote {{path}}", file=sys.stderr)
"""


def _install(directory: Path, behaviour: str = "pass") -> tuple[str, Path]:
    """Write a program and a voice. `behaviour` runs before a sentence is written."""
    program, voice = directory / "piper", directory / "voice.onnx"
    indented = "\n".join(f"    {line}" for line in behaviour.splitlines())
    program.write_text(_PROGRAM.format(python=sys.executable, state=directory, behaviour=indented))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    voice.write_bytes(b"an ONNX model")
    Path(f"{voice}.json").write_text("{}")
    return str(program), voice


def _read_starts(directory: Path) -> list[tuple[int, float]]:
    """Return the process id and length scale of each start."""
    lines = (directory / "starts").read_text().splitlines()
    return [(int(pid), float(scale)) for pid, scale in (line.split() for line in lines)]


async def _speak(
    voice: PiperVoice, text: str = QUESTION, name: VoiceName = VoiceName.MEDIUM, speed: float = 1.0
) -> Speech:
    return await voice.speak(text, name, speed, TokenUsage())


async def test_process_is_reused_and_its_files_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    voice = PiperVoice(*_install(tmp_path))
    await voice.warm_up()
    first, second = await _speak(voice), await _speak(voice, "Why?\nSay [[it]] again.")
    ((pid, scale),) = _read_starts(tmp_path)
    (files,) = tmp_path.glob("genai-coach-voice-*")
    left = list(files.iterdir())
    await voice.close()

    assert first == Speech(b"\x01\x02" * 100 * len(QUESTION), 22_050)
    assert len(second.samples) == 2 * 100 * len("Why? Say it again.")
    assert scale == 1.0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert left == []
    assert not files.exists()


async def test_pitch_changes_the_rate_and_keeps_the_tempo(tmp_path: Path) -> None:
    voice = PiperVoice(*_install(tmp_path))
    low, high, fast = (
        await _speak(voice, name=VoiceName.LOW),
        await _speak(voice, name=VoiceName.HIGH),
        await _speak(voice, speed=2.0),
    )
    starts = _read_starts(tmp_path)
    await voice.close()

    seconds = [len(one.samples) / 2 / one.sample_rate for one in (low, high)]
    assert low.sample_rate < 22_050 < high.sample_rate
    assert abs(seconds[0] - seconds[1]) < 0.02 * seconds[0]
    assert len(fast.samples) == len(QUESTION) * 100
    assert [scale for _, scale in starts] == [0.9, 1.1, 0.5]


async def test_two_processes_run_at_most(tmp_path: Path) -> None:
    voice = PiperVoice(*_install(tmp_path))
    await asyncio.gather(*(_speak(voice, speed=one) for one in (0.5, 0.8, 1.0, 1.5, 2.0)))
    running = [pid for pid, _ in _read_starts(tmp_path) if Path(f"/proc/{pid}").exists()]
    await voice.close()

    assert len(running) <= 2


@pytest.mark.parametrize(
    "crash", ["if number == 1: os._exit(3)", "if number == 1: os.kill(os.getpid(), 11)"]
)
async def test_process_that_dies_is_restarted(tmp_path: Path, crash: str) -> None:
    voice = PiperVoice(*_install(tmp_path, crash))
    speech = await _speak(voice)
    await voice.close()

    assert speech.samples
    assert len(_read_starts(tmp_path)) == 2


async def test_process_killed_between_sentences_is_replaced(tmp_path: Path) -> None:
    voice = PiperVoice(*_install(tmp_path))
    await _speak(voice)
    ((pid, _),) = _read_starts(tmp_path)
    os.kill(pid, 9)
    while Path(f"/proc/{pid}").exists():
        await asyncio.sleep(0.01)
    speech = await _speak(voice)
    await voice.close()

    assert speech.samples


@pytest.mark.parametrize(
    "behaviour",
    [
        "sys.exit(1)",
        "open(path, 'w').write('no wav'); print('Wrote ' + path, file=sys.stderr); continue",
        "samples = b''",
        "print('Wrote /etc/passwd', file=sys.stderr); continue",
        "os.symlink('/etc/passwd', path); print('Wrote ' + path, file=sys.stderr); continue",
        "print('x' * 200_000, file=sys.stderr); continue",
        "samples = bytes(20 * 1024**2)",
        "bytearray(5 * 1024**3)",
    ],
    ids=["exit", "no wav", "empty", "other file", "link", "long line", "file limit", "memory"],
)
async def test_failing_program_is_unavailable_and_rests(tmp_path: Path, behaviour: str) -> None:
    now = [0.0]
    voice = PiperVoice(*_install(tmp_path, behaviour), now=lambda: now[0])
    for _ in range(3):
        with pytest.raises(Unavailable):
            await _speak(voice)
    starts = len(_read_starts(tmp_path))
    now[0] = 61.0
    with pytest.raises(Unavailable):
        await _speak(voice)
    await voice.close()

    assert starts == 2
    assert len(_read_starts(tmp_path)) == 4
    assert not any(Path(f"/proc/{pid}").exists() for pid, _ in _read_starts(tmp_path))


async def test_hanging_program_is_killed(tmp_path: Path) -> None:
    voice = PiperVoice(*_install(tmp_path, "time.sleep(600)"), timeout_seconds=1.0)
    with pytest.raises(PiperFailed, match="unavailable"):
        await _speak(voice)
    ((pid, _),) = _read_starts(tmp_path)

    assert not Path(f"/proc/{pid}").exists()


async def test_cancelled_sentence_is_not_the_next_one(tmp_path: Path) -> None:
    voice = PiperVoice(*_install(tmp_path, "time.sleep(600 if text == 'Slow.' else 0)"))
    speaking = asyncio.create_task(_speak(voice, "Slow."))
    while not (tmp_path / "starts").exists():
        await asyncio.sleep(0.01)
    speaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await speaking
    speech = await _speak(voice)
    await voice.close()

    assert len(speech.samples) == 2 * 100 * len(QUESTION)


async def test_program_gets_no_secret_no_network_and_dies_with_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    look = (
        "import json, socket\n"
        f"with open('{tmp_path}/seen', 'w') as file:\n"
        "    json.dump([sorted(os.environ), socket.if_nameindex()], file)"
    )
    voice = PiperVoice(*_install(tmp_path, look))
    await _speak(voice)
    await voice.close()

    seen = (tmp_path / "seen").read_text()
    assert "OPENAI" not in seen and "SECRET" not in seen
    assert "eth" not in seen


def test_missing_program_or_voice_is_found_at_the_start(tmp_path: Path) -> None:
    program, voice = _install(tmp_path)

    assert find_piper(program, voice) == program
    assert find_piper(str(tmp_path / "other"), voice) is None
    assert find_piper(program, tmp_path / "other.onnx") is None
    Path(f"{voice}.json").unlink()
    assert find_piper(program, voice) is None


async def test_model_names_the_content_of_the_voice(tmp_path: Path) -> None:
    program, voice = _install(tmp_path)
    first = await PiperVoice(program, voice).get_model()
    voice.write_bytes(b"another model")
    second = await PiperVoice(program, voice).get_model()

    assert first.startswith("piper voice ") and first != second


@pytest.fixture
def real_piper() -> PiperVoice:
    """A voice of the installed program."""
    program = os.environ.get("PIPER_PROGRAM") or shutil.which(str(ROOT / ".piper/bin/piper"))
    found = sorted((ROOT / ".piper").glob("lib/*/site-packages/*/data/*.onnx"))
    voice = os.environ.get("PIPER_VOICE") or (str(found[0]) if found else None)
    if program is None or voice is None:
        pytest.skip("piper is not installed: make voice-piper")
    return PiperVoice(program, Path(voice))


async def test_real_voice_speaks_at_each_speed_and_pitch(real_piper: PiperVoice) -> None:
    usual = await _speak(real_piper)
    started_at = time.monotonic()
    again = await _speak(real_piper)
    seconds = time.monotonic() - started_at
    slow = await _speak(real_piper, speed=0.5)
    low = await _speak(real_piper, name=VoiceName.LOW)
    model = await real_piper.get_model()
    await real_piper.close()

    assert model.startswith("piper ")
    assert usual.sample_rate >= 16_000 and len(set(usual.samples)) > 50
    assert 1.5 < len(usual.samples) / 2 / usual.sample_rate < 10
    assert again.samples and seconds < 60
    assert len(slow.samples) > 1.5 * len(usual.samples)
    assert low.sample_rate < usual.sample_rate
