"""Overhead of the feedback pipeline on both profiles: `make bench`.

Measures the time from the confirmation of an upload to the push of its transcript, minus the time
of the transcription (the increase of `coach_ai_transcribing_seconds_total`).
"""

import asyncio
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from stacks import RunningStack, distributed, embedded  # noqa: E402

from coach_common.testing.servers import PrivateMariaDB, PrivateRabbitMQ  # noqa: E402
from coach_embedded.api_client import ApiClient  # noqa: E402

ROUNDS = 30
RECORDING = ROOT / "tests" / "recordings" / "austen-0880.wav"
_TRANSCRIBING_SECONDS = re.compile(r"^coach_ai_transcribing_seconds_total (\S+)$", re.MULTILINE)

StartStack = Callable[[Path], AbstractAsyncContextManager[RunningStack]]


async def measure(stack: RunningStack) -> list[float]:
    """Return the sorted overheads in milliseconds. The first two rounds are a warm-up."""
    ai = stack.processes.get("ai")
    metrics = f"http://127.0.0.1:{ai.env['PORT']}/metrics" if ai else f"{stack.url}/metrics"
    overheads_ms: list[float] = []
    async with ApiClient(stack.url) as client, httpx.AsyncClient() as http:

        async def read_transcribing_seconds() -> float:
            match = _TRANSCRIBING_SECONDS.search((await http.get(metrics)).text)
            return float(match[1]) if match else 0.0

        await client.register("bench@example.com", "a long bench password")
        async with client.socket() as socket:
            for number in range(ROUNDS + 2):
                session_id = await client.open_session(f"Round {number}", "Why?")
                key = await client.upload(RECORDING, "audio/wav", session_id=session_id)
                before = await read_transcribing_seconds()
                started_at = time.perf_counter()
                await client.confirm(key, session_id=session_id)
                pushed = await socket.wait_for("transcript", seconds=60, session_id=session_id)
                total = pushed.received_at - started_at
                overheads_ms.append((total - (await read_transcribing_seconds() - before)) * 1000)
                print(f"\r{stack.profile}: {number + 1}/{ROUNDS + 2}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return sorted(overheads_ms[2:])


async def measure_profile(name: str, start: StartStack) -> str:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as directory:
        async with start(Path(directory)) as stack:
            times = await measure(stack)
    p50, p90 = statistics.median(times), times[int(len(times) * 0.9)]
    return f"| {name} | {p50:.1f} | {p90:.1f} | {times[0]:.1f} | {times[-1]:.1f} | {len(times)} |"


def main() -> None:
    """Print the table and write it to benchmarks/results."""
    lines = [
        "| profile | p50 ms | p90 ms | min ms | max ms | n |",
        "|---|---|---|---|---|---|",
        asyncio.run(measure_profile("embedded", embedded)),
    ]
    with PrivateMariaDB.run() as mariadb, PrivateRabbitMQ.run() as rabbitmq:
        lines.append(
            asyncio.run(
                measure_profile(
                    "distributed", lambda directory: distributed(directory, mariadb, rabbitmq)
                )
            )
        )
    table = "\n".join(lines)
    print(f"From confirmation to pushed transcript, minus transcription:\n\n{table}")
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "pipeline.md").write_text(
        "# Feedback pipeline overhead\n\nFor developers and reviewers."
        " Time from the confirmation of an upload to the push of its"
        f" transcript, minus the transcription. Written by `make bench`.\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
