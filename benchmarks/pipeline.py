"""The pipeline's own overhead: from the confirm to the push of the transcript, less the
transcription itself, on both profiles. `make bench`.

The time of the transcription is what ai's counter `coach_ai_transcribing_seconds_total` grew by.
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
_SPENT = re.compile(r"^coach_ai_transcribing_seconds_total (\S+)$", re.MULTILINE)

Open = Callable[[Path], AbstractAsyncContextManager[RunningStack]]


async def measure(stack: RunningStack) -> list[float]:
    """Return the overhead of each round in milliseconds; the first two rounds warm up."""
    ai = stack.processes.get("ai")
    metrics = f"http://127.0.0.1:{ai.env['PORT']}/metrics" if ai else f"{stack.url}/metrics"
    found: list[float] = []
    async with ApiClient(stack.url) as phone, httpx.AsyncClient() as client:

        async def spent() -> float:
            match = _SPENT.search((await client.get(metrics)).text)
            return float(match[1]) if match else 0.0

        await phone.register("bench@example.com", "a long bench password")
        async with phone.socket() as socket:
            for number in range(ROUNDS + 2):
                session_id = await phone.open_session(f"Round {number}", "Why?")
                key = await phone.upload(RECORDING, "audio/wav", session_id=session_id)
                before = await spent()
                began = time.perf_counter()
                await phone.confirm(key, session_id=session_id)
                push = await socket.wait_for("transcript", seconds=60, session_id=session_id)
                total = push.received_at - began
                found.append((total - (await spent() - before)) * 1000)
                print(f"\r{stack.profile}: {number + 1}/{ROUNDS + 2}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return sorted(found[2:])


async def run(name: str, start: Open) -> str:
    """Return a line of the table."""
    with tempfile.TemporaryDirectory(prefix="coach-bench-") as folder:
        async with start(Path(folder)) as stack:
            times = await measure(stack)
    p50, p90 = statistics.median(times), times[int(len(times) * 0.9)]
    return f"| {name} | {p50:.1f} | {p90:.1f} | {times[0]:.1f} | {times[-1]:.1f} | {len(times)} |"


def main() -> None:
    """Print the table and keep it in benchmarks/results."""
    lines = [
        "| profile | p50 ms | p90 ms | min ms | max ms | n |",
        "|---|---|---|---|---|---|",
        asyncio.run(run("embedded", embedded)),
    ]
    with PrivateMariaDB.run() as mariadb, PrivateRabbitMQ.run() as rabbitmq:
        lines.append(
            asyncio.run(run("distributed", lambda folder: distributed(folder, mariadb, rabbitmq)))
        )
    table = "\n".join(lines)
    print(f"Confirm to the push of the transcript, less the transcription itself:\n\n{table}")
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "pipeline.md").write_text(
        "# The pipeline's own overhead\n\nConfirm to the push of the transcript, less the"
        f" transcription itself (`make bench`).\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
