"""`coach demo [--url URL]`: upload two recordings, run an interview, and print the feedback.

It starts a temporary server, or uses the one at URL.

Exits with 0 only if every result is the expected one.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import httpx
import jiwer
import typer

from coach_common.cli import function_command
from coach_embedded.api_client import ApiClient, ApiClientError, ClientSocket
from coach_embedded.demo_interview import run_interview
from coach_embedded.demo_steps import DemoFailed, format_score, require, show, step

QUESTION = "Tell me about a time you solved a hard problem."
_START_SECONDS = 60.0
_TRANSCRIPT_SECONDS = 180.0
_FEEDBACK_SECONDS = 60.0
_STOP_SECONDS = 10.0

_WER_TRANSFORM = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.SubstituteRegexes({r"[’']": "'", r"[-–—]": " ", r"\bmr\.?(?=\s)": "mister"}),
        jiwer.RemovePunctuation(),  # type: ignore[no-untyped-call]
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording with its reference transcript."""

    name: str
    file: Path
    content_type: str
    reference_text: str
    max_error_rate: float


def _parse_base_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise typer.BadParameter("must start with http:// or https://")
    return text.rstrip("/")


def demo(
    url: Annotated[
        str | None,
        typer.Option(
            parser=_parse_base_url,
            metavar="URL",
            help="Base URL of a running gateway. Default: start a temporary server.",
        ),
    ] = None,
) -> None:
    """Upload two recordings, run a spoken interview, and print the feedback.

    The exit status is 0 only if every result is the expected one.
    """
    try:
        asyncio.run(_demo(url))
    except (DemoFailed, ApiClientError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


main = function_command("demo", demo, example="coach demo --url https://coach.example.com")


async def _demo(url: str | None) -> None:
    started_at = time.perf_counter()
    if url is None:
        with tempfile.TemporaryDirectory(prefix="coach-demo-") as directory:
            async with _server(Path(directory)) as temporary_url:
                await _run_sessions(temporary_url)
    else:
        try:
            await _run_sessions(url)
        except (OSError, httpx.HTTPError) as error:
            raise DemoFailed(f"{url}: {error or type(error).__name__}") from None
    print(f"\nDemo completed in {time.perf_counter() - started_at:.1f} s.")


async def _run_sessions(url: str) -> None:
    async with ApiClient(url) as client:
        async with step("Register"):
            # A deployment keeps its accounts, so that each run needs its own.
            await client.register(f"demo-{uuid4().hex}@example.com", "a long demo password")
        async with client.socket() as socket:
            for recording in _recordings():
                await _run_session(client, socket, recording)
        await run_interview(client)
        async with step("Delete the account"):
            await client.delete_account("a long demo password")


async def _run_session(client: ApiClient, socket: ClientSocket, recording: Recording) -> None:
    print(f"\n── {recording.name} ── “{QUESTION}”")
    async with step("Create a session"):
        session_id = await client.open_session(recording.name, QUESTION)
    async with step(f"Upload {recording.file.stat().st_size // 1024} KiB to storage"):
        key = await client.upload(recording.file, recording.content_type, session_id=session_id)
    async with step("Confirm"):
        confirmed = await client.confirm(key, session_id=session_id)
    async with step("Transcribe"):
        pushed = await socket.wait_for(
            "transcript", seconds=_TRANSCRIPT_SECONDS, session_id=session_id
        )
    text = str(pushed.frame["text"])
    show("Transcript", text)
    rate = word_error_rate(recording.reference_text, text)
    print(f"  Word error rate: {rate:.1%} against the known text")
    async with step("Complete"):
        await client.complete(session_id)
    async with step("Score"):
        pushed_feedback_frame = await socket.wait_for(
            "feedback", seconds=_FEEDBACK_SECONDS, session_id=session_id, status="ready"
        )
    feedback = await client.feedback(session_id)
    upload = await client.call("GET", f"/upload/{confirmed['upload_id']}")
    show_feedback(feedback)
    require(feedback["status"] == "ready", f"the feedback is {feedback['status']}")
    require(
        upload["transcript"] == feedback["transcript"] == text,
        "transcripts of the upload and the feedback differ",
    )
    pushed_feedback = {name: pushed_feedback_frame.frame.get(name) for name in feedback}
    require(pushed_feedback == feedback, "the pushed feedback differs from the API response")
    require(rate <= recording.max_error_rate, f"the word error rate is {rate:.1%}")
    for claim in feedback["evidence"]:
        require(claim["quote"] in text, f"quote not found in transcript: {claim['quote']!r}")
    _require_expected_outcome(recording, feedback)


def _require_expected_outcome(recording: Recording, feedback: dict[str, Any]) -> None:
    """Require a score with evidence for the answer, and no score for the off-topic reading."""
    if recording.name == "A spoken answer":
        require(feedback["overall_score"] is not None, "the answer was not scored")
        require(bool(feedback["evidence"]), "the score has no evidence")
    else:
        require(feedback["overall_score"] is None, "an off-topic reading was scored")
        require(bool(feedback["detailed_feedback"]), "the missing score has no reason")


def show_feedback(feedback: dict[str, Any]) -> None:
    """Print a feedback for people."""
    scores = ("overall", "communication", "technical", "clarity")
    print(
        "  Scores: "
        + ", ".join(f"{name} {format_score(feedback[f'{name}_score'])}" for name in scores)
        + f"   ({feedback['provider']}, {feedback['model']}, rubric {feedback['rubric_version']})"
    )
    for name, metric in feedback["delivery"].items():
        if isinstance(metric, dict) and metric.get("value") is not None:
            print(f"    {name.replace('_', ' ')}: {metric['value']} {metric.get('unit', '')}")
    if (reason := feedback["delivery"].get("reason")) is not None:
        print(f"    delivery not measurable: {reason}")
    for title, remarks in (
        ("Strengths", feedback["strengths"]),
        ("Improvements", feedback["improvements"]),
    ):
        for remark in remarks:
            show(title, remark)
    for claim in feedback["evidence"]:
        start, end = claim.get("start_seconds"), claim.get("end_seconds")
        time_range = "" if start is None or end is None else f" ({start:.1f}–{end:.1f} s)"
        show(f"Evidence, {claim['dimension']}", f"“{claim['quote']}”{time_range}")
    show("Summary", feedback["detailed_feedback"])


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Return the word error rate. Ignores case and punctuation; `Mr.` equals `mister`."""
    return float(
        jiwer.wer(
            reference,
            hypothesis,
            reference_transform=_WER_TRANSFORM,
            hypothesis_transform=_WER_TRANSFORM,
        )
    )


def _recordings() -> list[Recording]:
    directory = Path(str(files("coach_embedded") / "recordings"))
    return [
        Recording(
            "A spoken answer",
            directory / "answer.m4a",
            "audio/m4a",
            (directory / "answer.txt").read_text(),
            max_error_rate=0.10,
        ),
        Recording(
            "Off-topic reading",
            directory / "reading.wav",
            "audio/wav",
            (directory / "reading.txt").read_text(),
            max_error_rate=0.05,
        ),
    ]


@asynccontextmanager
async def _server(directory: Path) -> AsyncIterator[str]:
    """Start a server on free ports with a new data directory. Stops it when the block ends."""
    log = directory / "server.log"
    with log.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "coach_embedded",
            env={
                **os.environ,
                "DATA_DIR": str(directory / "data"),
                "HOST": "127.0.0.1",
                "PORT": "0",
                "STORE_PORT": "0",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
        )
        try:
            async with step("Start a server"):
                url = await _read_url(process, log)
            yield url
            async with step("Stop the server"):
                process.send_signal(signal.SIGINT)
                async with asyncio.timeout(_STOP_SECONDS):
                    status = await process.wait()
            require(status == 0, f"the server stopped with status {status}")
        except TimeoutError:
            raise DemoFailed("the server did not stop") from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _read_url(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 # it is a pipe
    try:
        async with asyncio.timeout(_START_SECONDS):
            line = (await process.stdout.readline()).decode()
    except TimeoutError:
        line = ""
    words = [word for word in line.split() if word.startswith("http://")]
    if not words:
        raise DemoFailed(f"the server did not start:\n{log.read_text()[-2000:]}")
    return words[0]
