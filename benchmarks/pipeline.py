"""Overhead of the feedback pipeline on both profiles: `make bench`.

Measures the time from the confirmation of an upload to the push of its transcript, minus the time
of the transcription (the increase of `coach_ai_transcribing_seconds_total`). The logs of the
processes show how much of it each part takes.
"""

import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from stacks import RunningStack, distributed, embedded  # noqa: E402

from coach_common.testing.servers import PrivateMariaDB, PrivateRabbitMQ  # noqa: E402
from coach_embedded.api_client import ApiClient  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "30"))
WARM_UP_ROUNDS = 2
PROFILES = os.environ.get("PROFILE", "embedded distributed").split()
GOALS_MS = {"embedded": 25, "distributed": 15}
RECORDING = ROOT / "tests" / "recordings" / "austen-0880.wav"
_TRANSCRIBING_SECONDS = re.compile(r"^coach_ai_transcribing_seconds_total (\S+)$", re.MULTILINE)
_LOG_EVENT = re.compile(r"\b(upload\.confirmed|job\.claimed|job\.ended)\b")
_LOG_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")

HOPS = (
    "request until media has confirmed the upload",
    "until ai has claimed the job",
    "job without the transcription",
    "until the push is received",
)

StartStack = Callable[[Path], AbstractAsyncContextManager[RunningStack]]


@dataclass
class Round:
    """Times of one upload in seconds since 1970, and the duration of its transcription."""

    started_at: float
    pushed_at: float
    transcribing_seconds: float

    @property
    def overhead_ms(self) -> float:
        """The time from the request to the push without the transcription."""
        return (self.pushed_at - self.started_at - self.transcribing_seconds) * 1000


async def run_rounds(stack: RunningStack) -> list[Round]:
    """Upload and confirm a recording repeatedly."""
    ai = stack.processes.get("ai")
    metrics = f"http://127.0.0.1:{ai.env['PORT']}/metrics" if ai else f"{stack.url}/metrics"
    rounds: list[Round] = []
    async with ApiClient(stack.url) as client, httpx.AsyncClient() as http:

        async def read_transcribing_seconds() -> float:
            match = _TRANSCRIBING_SECONDS.search((await http.get(metrics)).text)
            return float(match[1]) if match else 0.0

        await client.register("bench@example.com", "a long bench password")
        async with client.socket() as socket:
            for number in range(ROUNDS + WARM_UP_ROUNDS):
                session_id = await client.open_session(f"Round {number}", "Why?")
                key = await client.upload(RECORDING, "audio/wav", session_id=session_id)
                before = await read_transcribing_seconds()
                started_at, started = time.time(), time.perf_counter()
                await client.confirm(key, session_id=session_id)
                pushed = await socket.wait_for("transcript", seconds=60, session_id=session_id)
                transcribing = await read_transcribing_seconds() - before
                pushed_at = started_at + pushed.received_at - started
                rounds.append(Round(started_at, pushed_at, transcribing))
                print(f"\r{stack.profile}: {number + 1}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return rounds


def read_log_times(stack: RunningStack) -> dict[str, list[float]]:
    """Return the times of the log events that divide a round."""
    times: dict[str, list[float]] = {"upload.confirmed": [], "job.claimed": [], "job.ended": []}
    for process in stack.processes.values():
        for line in process.log_text().splitlines():
            event, at = _LOG_EVENT.search(line), _LOG_TIME.search(line)
            if event is None or at is None or "feedback" in line:
                continue
            times[event[1]].append(datetime.fromisoformat(at[0]).timestamp())
    return {name: sorted(found) for name, found in times.items()}


def split_rounds(rounds: list[Round], log_times: dict[str, list[float]]) -> list[list[float]]:
    """Return the milliseconds of each hop of each round."""
    hops = []
    for number, one in enumerate(rounds):
        confirmed, claimed, ended = (log_times[name][number] for name in log_times)
        seconds = (
            confirmed - one.started_at,
            claimed - confirmed,
            ended - claimed - one.transcribing_seconds,
            one.pushed_at - ended,
        )
        hops.append([second * 1000 for second in seconds])
    return hops


async def measure_profile(name: str, start: StartStack) -> tuple[str, list[float]]:
    """Return a row of the table, and the median of each hop in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as directory:
        async with start(Path(directory)) as stack:
            rounds = await run_rounds(stack)
            hops = split_rounds(rounds, read_log_times(stack))[WARM_UP_ROUNDS:]
    times = sorted(one.overhead_ms for one in rounds[WARM_UP_ROUNDS:])
    p50, p90 = statistics.median(times), times[int(len(times) * 0.9)]
    row = (
        f"| {name} | {p50:.1f} (goal ≤ {GOALS_MS[name]}) | {p90:.1f} | {times[0]:.1f}"
        f" | {times[-1]:.1f} | {len(times)} |"
    )
    return row, [statistics.median(column) for column in zip(*hops, strict=True)]


def render(profiles: dict[str, tuple[str, list[float]]], load_average: float) -> str:
    """Return the report."""
    lines = [
        "# Feedback pipeline overhead",
        "",
        "For developers and reviewers. Time from the confirmation of an upload to the push of its"
        f" transcript, minus the transcription. Written by `make bench` on {os.cpu_count()} cores"
        f" (load average {load_average:.0f}, which the speech recognition is part of).",
        "",
        "| profile | p50 ms | p90 ms | min ms | max ms | n |",
        "|---|---|---|---|---|---|",
        *(row for row, _ in profiles.values()),
        "",
        "Medians of the parts in milliseconds, from the timestamps of the client and of the log"
        " events `upload.confirmed`, `job.claimed` and `job.ended`:",
        "",
        f"| part | {' | '.join(profiles)} |",
        "|---|" + "---|" * len(profiles),
    ]
    for number, hop in enumerate(HOPS):
        medians = " | ".join(f"{hops[number]:.1f}" for _, hops in profiles.values())
        lines.append(f"| {hop} | {medians} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the report and write it to benchmarks/results."""
    profiles = {}
    if "embedded" in PROFILES:
        profiles["embedded"] = asyncio.run(measure_profile("embedded", embedded))
    if "distributed" in PROFILES:
        with PrivateMariaDB.run() as mariadb, PrivateRabbitMQ.run() as rabbitmq:
            profiles["distributed"] = asyncio.run(
                measure_profile(
                    "distributed", lambda directory: distributed(directory, mariadb, rabbitmq)
                )
            )
    report = render(profiles, os.getloadavg()[0])
    print(report)
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "pipeline.md").write_text(report)


if __name__ == "__main__":
    main()
