"""One speech process as its parent sees it: started when needed, killed when it is late."""

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from coach_ai.adapters import speech_model
from coach_ai.domain import CannotTranscribe, Progress, SoundTrack
from coach_ai.ports import Tell, nobody
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

UNREADABLE = "We could not read this recording."

_ENVIRONMENT = {
    # CTranslate2 takes and gives back tens of megabytes for every layer. glibc asks the kernel for
    # each of them and returns it, so that a sixth of all the time went into pages of zeros: they
    # are kept instead, in one heap of large pages, until a recording has been heard.
    "GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736"
    ":glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1",
    # Threads that wait sleep: those of OpenMP and of numpy took each other's processors.
    "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": "1",
}
"""What a child must find when it begins; an operator's own settings come first."""

_MEMORY_BYTES = 6 * 1024**3
_START_SECONDS = 60.0
_DECODE_SECONDS = 60.0
_LINE_BYTES = 64 * 1024**2


class SpeechDied(Unavailable):
    """The process crashed, ran out of memory or time over a recording, and was ended."""


class SpeechProcess:
    """A child with a model; one request at a time (its owner sees to that)."""

    def __init__(self, folder: Path | None, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Return the child's process id, None where none runs."""
        return None if self._child is None else self._child.pid

    async def start(self) -> asyncio.subprocess.Process:
        """Return the running child, a new one if need be."""
        if self._child is not None and self._child.returncode is None:
            return self._child
        self._child = child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "coach_ai.adapters.speech_child",
            str(self._folder or speech_model.default_folder()),
            str(self._threads),
            str(_MEMORY_BYTES),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_ENVIRONMENT | dict(os.environ),
            limit=_LINE_BYTES,
        )
        try:
            await _line(child, _START_SECONDS)
        except BaseException as error:
            await self.kill()
            if isinstance(error, SpeechDied):
                raise Unavailable("Transcription does not start.") from error
            raise
        log.info("speech.started", pid=child.pid)
        return child

    async def ask(self, request: dict[str, Any], tell: Tell = nobody) -> dict[str, Any]:
        """Return the child's answer, having told what it said before; CannotTranscribe with its
        reason.

        Where a child dies over it, a fresh one is asked; a recording that two died over is itself
        to blame.
        """
        try:
            return await self._ask(request, tell)
        except SpeechDied:
            log.warning("speech.again")
        try:
            return await self._ask(request, tell)
        except SpeechDied as error:
            raise CannotTranscribe(UNREADABLE) from error

    async def kill(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _ask(self, request: dict[str, Any], tell: Tell) -> dict[str, Any]:
        child = await self.start()
        try:
            said = await _answer(child, request, tell)
        except BaseException:
            # Whatever it was doing, it cannot be told to stop: the next one gets a new child.
            await self.kill()
            raise
        if "cannot" in said:
            raise CannotTranscribe(said["cannot"])
        if "unavailable" in said:
            log.error("speech.unavailable", reason=said["unavailable"])
            raise Unavailable("The speech model does not load.")
        return said


async def _answer(
    child: asyncio.subprocess.Process, request: dict[str, Any], tell: Tell
) -> dict[str, Any]:
    if child.stdin is None:
        raise SpeechDied("Transcription is away.")
    child.stdin.write(json.dumps(request).encode() + b"\n")
    with suppress(ConnectionError):
        await child.stdin.drain()
    said = await _line(child, _DECODE_SECONDS)
    if "decoded_seconds" not in said:
        return said
    until = time.monotonic() + 30.0 + 2.0 * float(said["decoded_seconds"])
    while True:
        said = await _line(child, until - time.monotonic())
        if "track" in said:
            await tell(SoundTrack.of(said["track"]))
        elif "progress" in said:
            await tell(Progress(**said["progress"]))
        else:
            return said


async def _line(child: asyncio.subprocess.Process, seconds: float) -> dict[str, Any]:
    if child.stdout is None:
        raise SpeechDied("Transcription is away.")
    try:
        async with asyncio.timeout(seconds):
            line = await child.stdout.readline()
    except TimeoutError:
        log.error("speech.too_slow", seconds=seconds)
        raise SpeechDied("Transcription took too long.") from None
    if not line:
        log.error("speech.died", status=child.returncode)
        raise SpeechDied("Transcription stopped unexpectedly.")
    said: dict[str, Any] = json.loads(line)
    return said
