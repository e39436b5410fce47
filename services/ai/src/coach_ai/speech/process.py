"""The speech process as its parent sees it: started on demand, killed if it exceeds its time.

Requests and responses are JSON lines. A request may be answered by several events (keys `event`)
before its response.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from coach_ai.domain import AudioAnalysis, CannotTranscribe, JobInterrupted, Progress
from coach_ai.ports import ProgressCallback, ignore_progress
from coach_ai.process_sandbox import inherit_environment
from coach_ai.speech import whisper_model
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

AUDIO_ANALYSIS = TypeAdapter(AudioAnalysis)

UNREADABLE_MESSAGE = "We could not read this recording."

_DEFAULT_ENVIRONMENT = {
    # CTranslate2 allocates and frees tens of megabytes per layer. glibc returns each block to the
    # kernel, and a sixth of the time went into zeroing new pages. With these settings the memory
    # stays in one heap of large pages until the recording is transcribed.
    "GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736"
    ":glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1",
    # Waiting threads sleep: the threads of OpenMP and of numpy would compete for the processors.
    "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Performance settings of the child. The operator's own values take precedence."""
_FORCED_ENVIRONMENT = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
_INHERITED_PREFIXES = ("LC_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "GLIBC_", "CT2_")
"""The child decodes files from strangers, so it gets no other variable: no key, token or URL."""

_MEMORY_BYTES = 6 * 1024**3
_START_TIMEOUT_SECONDS = 60.0
_DECODE_TIMEOUT_SECONDS = 60.0
_MIN_TRANSCRIBE_TIMEOUT_SECONDS = 30.0
_TRANSCRIBE_TIMEOUT_PER_AUDIO_SECOND = 2.0
_EXIT_TIMEOUT_SECONDS = 5.0
"""After its output has ended or it was killed. The next request is served by a new child."""
_MIN_BUSY_SHARE = 0.5
"""A child that had the processor for less of its time was delayed by the machine."""
_OUTSIDE_SIGNALS = frozenset((-signal.SIGKILL, -signal.SIGTERM))
"""Sent by the kernel when memory runs out, or by an operator. A decoder's crash has others."""
_MAX_LINE_BYTES = 64 * 1024**2


def build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the child: nothing secret, and telemetry disabled."""
    inherited = inherit_environment(environment, prefixes=_INHERITED_PREFIXES)
    return _DEFAULT_ENVIRONMENT | inherited | _FORCED_ENVIRONMENT


class SpeechProcessCrashed(Unavailable):
    """The child crashed, or used up its time during a request. The recording may be the cause."""


class SpeechProcessInterrupted(JobInterrupted):
    """The child was killed from outside, or was not given the processor. Try again later."""


class SpeechProcess:
    """A child process with a speech model. Callers must not send two requests at once."""

    def __init__(self, model_dir: Path | None, threads: int) -> None:
        self._model_dir = model_dir
        self._threads = threads
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child, or None if none is running."""
        return None if self._child is None else self._child.pid

    async def start(self) -> asyncio.subprocess.Process:
        """Return the running child, and start one if there is none.

        Raises:
            SpeechProcessInterrupted: If the machine interrupted the child.
            Unavailable: If the child does not get ready within a minute.
        """
        if self._child is not None and self._child.returncode is None:
            return self._child
        self._child = child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "coach_ai.speech.process_main",
            str(self._model_dir or whisper_model.default_dir()),
            str(self._threads),
            str(_MEMORY_BYTES),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=build_environment(os.environ),
            limit=_MAX_LINE_BYTES,
        )
        try:
            await _read_line(child, _START_TIMEOUT_SECONDS)
        except BaseException as error:
            await self.kill()
            if isinstance(error, SpeechProcessCrashed):
                raise Unavailable("Transcription could not be started.") from error
            raise
        log.info("speech.started", pid=child.pid)
        return child

    async def request(
        self, message: Mapping[str, object], on_progress: ProgressCallback = ignore_progress
    ) -> dict[str, Any]:
        """Send a request and return the response. Calls `on_progress` for each event.

        If the child exits, the request is sent once more to a new child. A recording is only given
        up if both children crashed: the machine can also kill or delay a child.

        Raises:
            CannotTranscribe: If the recording cannot be transcribed, or both children crashed.
            SpeechProcessInterrupted: If the machine interrupted the child.
            Unavailable: If the speech model cannot be loaded, or the disk is full.
        """
        try:
            return await self._request(message, on_progress)
        except (SpeechProcessCrashed, SpeechProcessInterrupted) as error:
            log.warning("speech.process_restarted", reason=str(error))
            has_crashed = isinstance(error, SpeechProcessCrashed)
        try:
            return await self._request(message, on_progress)
        except SpeechProcessCrashed as error:
            if has_crashed:
                raise CannotTranscribe(UNREADABLE_MESSAGE) from error
            raise

    async def kill(self) -> None:
        """Kill the child, if one is running."""
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await _wait_for_exit(child)

    async def _request(
        self, message: Mapping[str, object], on_progress: ProgressCallback
    ) -> dict[str, Any]:
        child = await self.start()
        try:
            response = await _exchange(child, message, on_progress)
        except BaseException:
            # The child cannot stop its current work, so it is replaced.
            await self.kill()
            raise
        if "error" in response:
            raise CannotTranscribe(response["error"])
        if "unavailable" in response:
            log.error("speech.model_not_loaded", reason=response["unavailable"])
            raise Unavailable("The speech model could not be loaded.")
        if "machine_error" in response:
            log.error("speech.machine_failed", reason=response["machine_error"])
            raise Unavailable("The server is out of disk space or open files.")
        return response


async def _exchange(
    child: asyncio.subprocess.Process,
    message: Mapping[str, object],
    on_progress: ProgressCallback,
) -> dict[str, Any]:
    """Send a request and read lines until its response.

    Decoding the recording has a fixed time limit. After that the limit depends on its duration.
    """
    if child.stdin is None:
        raise SpeechProcessCrashed("Transcription is unavailable.")
    child.stdin.write(json.dumps(message).encode() + b"\n")
    with suppress(ConnectionError):
        await child.stdin.drain()
    deadline = time.monotonic() + _DECODE_TIMEOUT_SECONDS
    while True:
        line = await _read_line(child, deadline - time.monotonic())
        match line.get("event"):
            case None:
                return line
            case "decoded":
                deadline = (
                    time.monotonic()
                    + _MIN_TRANSCRIBE_TIMEOUT_SECONDS
                    + _TRANSCRIBE_TIMEOUT_PER_AUDIO_SECOND * float(line["seconds"])
                )
            case "analysis":
                await on_progress(AUDIO_ANALYSIS.validate_python(line["analysis"]))
            case "progress":
                await on_progress(Progress(line["done_seconds"], line["duration_seconds"]))


async def _read_line(child: asyncio.subprocess.Process, seconds: float) -> dict[str, Any]:
    if child.stdout is None:
        raise SpeechProcessCrashed("Transcription is unavailable.")
    used_before = _processor_seconds(child.pid)
    try:
        async with asyncio.timeout(seconds):
            line = await child.stdout.readline()
    except TimeoutError:
        used_seconds = _processor_seconds(child.pid) - used_before
        log.error("speech.timed_out", seconds=seconds, processor_seconds=used_seconds)
        if used_seconds < _MIN_BUSY_SHARE * seconds:
            raise SpeechProcessInterrupted("Transcription is delayed.") from None
        raise SpeechProcessCrashed("Transcription took too long.") from None
    if not line:
        status = await _wait_for_exit(child)
        log.error("speech.process_exited", status=status)
        if status in _OUTSIDE_SIGNALS:
            raise SpeechProcessInterrupted("Transcription was interrupted.")
        raise SpeechProcessCrashed("Transcription stopped unexpectedly.")
    parsed: dict[str, Any] = json.loads(line)
    return parsed


async def _wait_for_exit(child: asyncio.subprocess.Process) -> int | None:
    """Return the exit status, or None if the child does not exit in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_TIMEOUT_SECONDS):
            return await child.wait()
    return None


def _processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used, or 0 if the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
