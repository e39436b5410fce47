"""The coach's first words: from the question to the first `delta` of the stream, through the
gateway of the embedded profile, with the local coach.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from stacks import RunningStack, embedded  # noqa: E402

from coach_embedded.api_client import ApiClient  # noqa: E402

ROUNDS = 40
QUESTIONS = (
    "How do I tell a story about a project?",
    "Can you give me an example?",
    "They want to know my biggest weakness",
    "How was my last session?",
    "What is the capital of Peru?",
)


async def measure(stack: RunningStack) -> list[float]:
    """Return each round's time to the first words in milliseconds; the first two warm up."""
    found: list[float] = []
    async with ApiClient(stack.url) as phone:
        await phone.register("bench@example.com", "a long bench password")
        headers = {"authorization": f"Bearer {phone.token}", "accept": "text/event-stream"}
        conversation: dict[str, str] = {}
        async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
            for number in range(ROUNDS + 2):
                body = {"message": QUESTIONS[number % len(QUESTIONS)], **conversation}
                began = time.perf_counter()
                async with client.stream("POST", "/v1/ai/chat", json=body) as answer:
                    lines = answer.aiter_lines()
                    while not (await anext(lines)).startswith("event: delta"):
                        pass
                    found.append((time.perf_counter() - began) * 1000)
                    rest = [line async for line in lines]
                if "event: done" not in rest:
                    raise AssertionError(f"the reply broke off: {rest[-3:]}")
    return sorted(found[2:])


def main() -> None:
    """Print the line of the table."""

    async def run() -> list[float]:
        with tempfile.TemporaryDirectory(prefix="coach-bench-") as folder:
            async with embedded(Path(folder)) as stack:
                return await measure(stack)

    times = asyncio.run(run())
    p50, p90 = statistics.median(times), times[int(len(times) * 0.9)]
    print("| first words of the coach | p50 ms | p90 ms | min ms | max ms | n |")
    print("|---|---|---|---|---|---|")
    print(f"| local | {p50:.1f} | {p90:.1f} | {times[0]:.1f} | {times[-1]:.1f} | {len(times)} |")


if __name__ == "__main__":
    main()
