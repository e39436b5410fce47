"""For developers and reviewers. Speech latency, and speed compared with plain faster-whisper.

`make bench-ai`. Recordings of half a minute and of ten minutes (real speech, repeated) are
transcribed alternately by this project and by faster-whisper alone, with the same model, beam and
batch. Then, on the embedded system: the time from confirming one and two minutes of speech to
their delivery metrics and feedback, six parallel uploads with one and two workers, live phrases.
"""

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests")]

from stacks import RunningStack, embedded  # noqa: E402

from coach_ai.speech import whisper_model  # noqa: E402
from coach_ai.speech.audio import SAMPLE_RATE, find_silences  # noqa: E402
from coach_ai.speech.local_transcriber import LocalTranscriber  # noqa: E402
from coach_ai.text import tokenize  # noqa: E402
from coach_embedded.api_client import ApiClient, ApiClientError, ClientSocket  # noqa: E402
from coach_embedded.demo import word_error_rate  # noqa: E402
from support.sounds import RECORDINGS, WORDS, speech, write_recording  # noqa: E402

ROUNDS = {30: 3, 600: 1}
ANSWERS = 3
ANSWER_SECONDS = (60, 120)
UPLOADS = 6
LIVE_ROUNDS = 1
BATCHED_FROM_SECONDS = 45


@dataclass(frozen=True, slots=True)
class SpeechClip:
    """Consecutive sentences of real speech in the format of a mobile recording."""

    file: Path
    seconds: float
    words: str

    @classmethod
    def build(cls, folder: Path, at_least: int) -> "SpeechClip":
        """Return whole sentences of at least `at_least` seconds."""
        sentences, recordings, length = [], [], 0.0
        for name, words in itertools.cycle(WORDS.items()):
            recordings.append(speech(name))
            sentences.append(words)
            length += len(recordings[-1]) / SAMPLE_RATE
            if length >= at_least:
                break
        file = write_recording(
            folder / f"{at_least}.m4a", np.concatenate(recordings), "ipod", "aac"
        )
        return cls(file, length, " ".join(sentences))

    def errors(self, text: str) -> float:
        """Return the word error rate; `ill-disposed` is two words."""
        return word_error_rate(self.words, text.replace("-", " "))


def run_baseline(model: str, threads: str) -> None:
    """Serve faster-whisper alone over stdin and stdout, with the same model and options."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    os.nice(5)  # Like the speech process, which shares the machine with the services.
    whisper = WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=int(threads))
    print("ready", flush=True)
    for line in sys.stdin:
        path, seconds = json.loads(line)
        if seconds < BATCHED_FROM_SECONDS:
            segments, _ = whisper.transcribe(
                path, beam_size=5, condition_on_previous_text=False,
                word_timestamps=True, vad_filter=True,
            )  # fmt: skip
        else:
            segments, _ = BatchedInferencePipeline(whisper).transcribe(
                path, beam_size=1, batch_size=8, word_timestamps=True, vad_filter=True
            )
        print(json.dumps(" ".join(segment.text.strip() for segment in segments)), flush=True)


class BaselineWhisper:
    """The baseline process, as its parent uses it."""

    def __init__(self, threads: int) -> None:
        command = [sys.executable, __file__, "--bare", str(whisper_model.resolve(None))]
        self.process = subprocess.Popen(
            [*command, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line()

    def transcribe(self, tile: SpeechClip) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(tile.file), tile.seconds]) + "\n")
        self.process.stdin.flush()
        return str(json.loads(self._line()))

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, which other load affects little."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_megabytes(pid: int) -> int:
    """Return the peak resident memory of a process, as Linux reports it."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


async def compare(folder: Path) -> list[str]:
    """Return the table of speeds, and the word errors on the recordings themselves."""
    ours, theirs = LocalTranscriber(None), BaselineWhisper(threads=2)
    await ours.warm_up()
    lines = [
        "| recording | transcriber | median s | share of its length | CPU s | word errors"
        " | peak MB so far | n |",
        "|---|---|---|---|---|---|---|---|",
    ]
    transcripts = [await ours.transcribe(RECORDINGS / name) for name in WORDS]
    errors = word_error_rate(
        " ".join(WORDS.values()), " ".join(one.text.replace("-", " ") for one in transcripts)
    )
    pid = ours.processes[0].pid
    assert pid is not None
    for seconds, rounds in ROUNDS.items():
        tile = SpeechClip.build(folder, seconds)
        times: dict[str, list[float]] = {"this project": [], "faster-whisper alone": []}
        spent: dict[str, list[float]] = {name: [] for name in times}
        processes = {"this project": pid, "faster-whisper alone": theirs.process.pid}
        texts: dict[str, str] = {}
        for _ in range(rounds):
            for name in times:
                before = cpu_seconds(processes[name])
                began = time.perf_counter()
                if name == "this project":
                    texts[name] = (await ours.transcribe(tile.file)).text
                else:
                    texts[name] = await asyncio.to_thread(theirs.transcribe, tile)
                times[name].append(time.perf_counter() - began)
                spent[name].append(cpu_seconds(processes[name]) - before)
        for name, found in times.items():
            median = statistics.median(found)
            lines.append(
                f"| {tile.seconds:.0f} s | {name} | {median:.2f} | {median / tile.seconds:.3f} |"
                f" {statistics.median(spent[name]):.1f} |"
                f" {tile.errors(texts[name]):.1%} | {peak_megabytes(processes[name])} | {rounds} |"
            )
            print(lines[-1], file=sys.stderr)
    await ours.close()
    theirs.process.kill()
    return [*lines, "", f"The five recordings one by one: {errors:.1%} word errors.", ""]


async def measure_feedback_latency(stack: RunningStack, clip: SpeechClip) -> list[str]:
    """Return the time from confirming a recording to its metrics and feedback."""
    times: dict[str, list[float]] = {
        "acoustic metrics": [],
        "transcript": [],
        "all delivery metrics": [],
        "feedback": [],
    }
    async with ApiClient(stack.url) as phone:
        await phone.register(f"bench{clip.seconds:.0f}@example.com", "a long bench password")
        async with phone.socket() as socket:
            for number in range(ANSWERS + 1):
                session_id = await phone.open_session(f"Answer {number}", "Tell me about a change.")
                key = await phone.upload(clip.file, "audio/m4a", session_id=session_id)
                await phone.complete(session_id, audio_s3_key=key, duration_seconds=clip.seconds)
                began = time.perf_counter()
                await phone.confirm(key, session_id=session_id)
                found = await _pushes(socket, session_id, began)
                for name, at in found.items():
                    if number:  # The first warms up.
                        times[name].append(at)
    lines = [
        f"| from the confirm of {clip.seconds:.0f} s of speech to its | median s | max s | n |",
        "|---|---|---|---|",
    ]
    for name, seconds in times.items():
        shown = (
            f"{statistics.median(seconds):.2f} | {max(seconds):.2f}"
            if seconds
            else "none arrived |"
        )
        lines.append(f"| {name} | {shown} | {len(seconds)} |")
    return [*lines, ""]


async def _pushes(socket: ClientSocket, session_id: str, began: float) -> dict[str, float]:
    """Return when each push about a session arrived, until its feedback."""
    found: dict[str, float] = {}
    stages = {"transcribing": "acoustic metrics", "scoring": "all delivery metrics"}
    for _ in range(2400):
        for kind in ("transcript", "feedback"):
            for push in socket.frames(kind):
                if push.frame["session_id"] == session_id:
                    name = stages.get(push.frame.get("status"), "feedback")
                    name = "transcript" if kind == "transcript" else name
                    found.setdefault(name, push.received_at - began)
        if "feedback" in found:
            return found
        await asyncio.sleep(0.05)
    raise ApiClientError("no feedback on the socket within two minutes")


async def throughput(stack: RunningStack, tile: SpeechClip) -> float:
    """Return the seconds of speech transcribed per second, with six queued uploads."""
    async with ApiClient(stack.url) as phone:
        await phone.register("many@example.com", "a long bench password")
        async with phone.socket() as socket:
            keys = {}
            for number in range(UPLOADS):
                session_id = await phone.open_session(f"Upload {number}", "Why?")
                keys[session_id] = await phone.upload(tile.file, "audio/m4a", session_id=session_id)
            began = time.perf_counter()
            await asyncio.gather(*(phone.confirm(k, session_id=s) for s, k in keys.items()))
            pushes = [
                await socket.wait_for("transcript", seconds=300, session_id=session_id)
                for session_id in keys
            ]
    return UPLOADS * tile.seconds / (max(push.received_at for push in pushes) - began)


async def measure_speech(folder: Path) -> list[str]:
    """Return the section about speech."""
    return ["## Speech", "", *await compare(folder)]


async def measure_system(folder: Path) -> list[str]:
    """Return the section about the whole system."""
    lines = ["## System", ""]
    answers = [SpeechClip.build(folder, seconds) for seconds in ANSWER_SECONDS]
    half_minute = SpeechClip.build(folder, 30)
    rates = {}
    for workers in (1, 2):
        place = folder / str(workers)
        place.mkdir()
        async with embedded(place, TRANSCRIPTION_WORKERS=str(workers)) as stack:
            if workers == 1:
                for clip in answers:
                    lines += await measure_feedback_latency(stack, clip)
            rates[workers] = await throughput(stack, half_minute)
            print(rates, file=sys.stderr)
    lines += ["| workers | seconds of speech per second, six uploads of 30 s |", "|---|---|"]
    return [*lines, *(f"| {workers} | {rate:.1f} |" for workers, rate in rates.items()), ""]


async def measure_live(folder: Path) -> list[str]:
    """Return the section about live speech, with 1.5 s of silence after each sentence."""
    lags: list[float] = []
    async with embedded(folder) as stack, ApiClient(stack.url) as phone:
        await phone.register("live@example.com", "a long bench password")
        async with phone.socket() as socket:
            for round_number in range(LIVE_ROUNDS + 1):
                found = await _spoken(phone, socket)
                if round_number:  # The first warms up.
                    lags += found
            text = socket.frames("partial")[-1].frame["text"]
    errors = word_error_rate(" ".join(WORDS.values()), text.replace("-", " "))
    spoken = LIVE_ROUNDS * len(WORDS)
    p50, p90 = statistics.median(lags), sorted(lags)[int(len(lags) * 0.9)]
    return [
        "## Live",
        "",
        "| from the end of a phrase to its text | p50 s | p90 s | max s | n of phrases spoken |",
        "|---|---|---|---|---|",
        f"| one speaker | {p50:.2f} | {p90:.2f} | {max(lags):.2f} | {len(lags)} of {spoken} |",
        "",
        f"The live text, before the final transcript replaces it: {errors:.1%} word errors.",
    ]


async def _spoken(phone: ApiClient, socket: ClientSocket) -> list[float]:
    """Send the sentences in real time; return the delay of each last word after its speech."""
    session_id = await phone.open_session("Live", "Why?")
    await socket.send("audio_start", format="pcm16", sample_rate=SAMPLE_RATE, session_id=session_id)
    await socket.wait_for("audio_started", seconds=20, session_id=session_id)
    ends: list[tuple[float, str]] = []
    clock = time.perf_counter()
    for name, words in WORDS.items():
        samples = np.concatenate([speech(name), np.zeros(int(1.5 * SAMPLE_RATE), np.float32)])
        voice_ends = find_silences(samples)[-1].start
        ends.append((clock + voice_ends, words.split()[-1]))
        for begin in range(0, len(samples), SAMPLE_RATE // 10):
            piece = samples[begin : begin + SAMPLE_RATE // 10]
            clock += len(piece) / SAMPLE_RATE
            await asyncio.sleep(max(0.0, clock - time.perf_counter()))
            await socket.send_audio((piece * 32767).astype("<i2").tobytes())
    await asyncio.sleep(2.0)
    lags = []
    for at, word in ends:
        for push in socket.frames("partial"):
            if push.received_at > at and tokenize(push.frame["text"])[-1] == word:
                lags.append(push.received_at - at)
                break
    await socket.send("audio_end")
    await socket.wait_for("transcript", seconds=120, session_id=session_id)
    return lags


SECTIONS = {"speech": measure_speech, "system": measure_system, "live": measure_live}


def main() -> None:
    """Measure the given sections, or all, print them and write them to the page."""
    if sys.argv[1:2] == ["--bare"]:
        run_baseline(*sys.argv[2:])
        return
    results = ROOT / "benchmarks" / "results"
    page = results / "ai.md"
    before = page.read_text().split("\n## ")[1:] if page.exists() else []
    known = {f"## {section}".split("\n")[0]: f"## {section}".strip() for section in before}
    for name in sys.argv[1:] or SECTIONS:
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory(prefix="coach-bench-") as folder:
            section = "\n".join(asyncio.run(SECTIONS[name](Path(folder)))).strip()
        section += (
            f"\n\nThe machine's load average before: {load:.1f}, on {os.cpu_count()} processors."
        )
        print(section)
        known[section.split("\n")[0]] = section
        page.write_text(
            "\n\n".join(["# Speech and scoring latency", (__doc__ or "").strip(), *known.values()])
            + "\n"
        )


if __name__ == "__main__":
    main()
