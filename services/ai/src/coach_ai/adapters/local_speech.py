"""Local speech recognition: a child process with whisper base, kept warm."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from coach_ai.adapters import speech_model
from coach_ai.domain import CannotTranscribe, Silence, Sound, Transcript, Word
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get(__name__)

PROVIDER = "local"
_MEMORY_BYTES = 6 * 1024**3
_START_SECONDS = 60.0
_DECODE_SECONDS = 60.0
_LINE_BYTES = 64 * 1024**2


class LocalTranscriber:
    """A Transcriber over one child process; one recording at a time."""

    def __init__(self, model_folder: Path | None) -> None:
        self._folder = model_folder
        self._turn = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None

    async def transcribe(self, recording: Path) -> Transcript:
        """Return the words, with times, and the silences."""
        async with self._turn:
            child = await self._running()
            try:
                said = await self._ask(child, recording)
            except BaseException:
                # Whatever it was doing, it cannot be told to stop: the next one gets a new child.
                await self._kill()
                raise
        if "cannot" in said:
            raise CannotTranscribe(said["cannot"])
        return _transcript(said["transcript"])

    async def warm_up(self) -> None:
        """Start the child ahead of the first recording."""
        async with self._turn:
            await self._running()

    async def check(self) -> None:
        """Raise Unavailable where there is no model."""
        try:
            speech_model.resolve(self._folder)
        except speech_model.ModelMissing as error:
            raise Unavailable(str(error)) from None

    async def close(self) -> None:
        """End the child."""
        await self._kill()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._child is not None and self._child.returncode is None:
            return self._child
        await self.check()
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "coach_ai.adapters.speech_child",
            str(speech_model.resolve(self._folder)),
            str(min(4, os.cpu_count() or 1)),
            str(_MEMORY_BYTES),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
        self._child = child
        try:
            await _line(child, _START_SECONDS)
        except BaseException:
            await self._kill()
            raise
        log.info("speech.started", pid=child.pid)
        return child

    async def _ask(self, child: asyncio.subprocess.Process, recording: Path) -> dict[str, Any]:
        if child.stdin is None:
            raise Unavailable("Transcription is away.")
        child.stdin.write(json.dumps({"path": str(recording)}).encode() + b"\n")
        with suppress(ConnectionError):
            await child.stdin.drain()
        said = await _line(child, _DECODE_SECONDS)
        if "decoded_seconds" in said:
            said = await _line(child, 30.0 + 2.0 * float(said["decoded_seconds"]))
        return said

    async def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def _line(child: asyncio.subprocess.Process, seconds: float) -> dict[str, Any]:
    if child.stdout is None:
        raise Unavailable("Transcription is away.")
    try:
        async with asyncio.timeout(seconds):
            line = await child.stdout.readline()
    except TimeoutError:
        log.error("speech.too_slow", seconds=seconds)
        raise Unavailable("Transcription took too long.") from None
    if not line:
        log.error("speech.died", status=child.returncode)
        raise Unavailable("Transcription stopped unexpectedly.")
    said: dict[str, Any] = json.loads(line)
    return said


def _transcript(said: dict[str, Any]) -> Transcript:
    return Transcript(
        text=said["text"],
        language=said["language"],
        duration_seconds=said["duration_seconds"],
        provider=PROVIDER,
        model=speech_model.MODEL,
        words=tuple(Word(*word) for word in said["words"]),
        silences=tuple(Silence(**silence) for silence in said["silences"]),
        sound=Sound.of(said["sound"]),
    )
