"""A local neural voice: the program piper, which an operator installs beside the service."""

import asyncio
import hashlib
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prometheus_client import Gauge

from coach_ai.token_usage import TokenUsage
from coach_ai.voice.piper_process import PiperFailed, PiperProcess
from coach_ai.voice.speech import Speech, VoiceName
from coach_common import logs

log = logs.get_logger(__name__)

PIPER_AVAILABLE = Gauge(
    "coach_ai_piper_available", "1 if piper speaks, 0 if it is missing or its last sentence failed."
)

_PITCHES = {VoiceName.LOW: 0.9, VoiceName.MEDIUM: 1.0, VoiceName.HIGH: 1.1}
"""A voice file has one pitch. The others are samples at another rate, spoken so much faster or
slower that the tempo stays."""
_MAX_PROCESSES = 2
_TIMEOUT_SECONDS = 20.0
"""Of a sentence. The first one of a process includes loading the voice."""
_RETRY_SECONDS = 60.0
_DIGEST_CHARACTERS = 12


def find_piper(program: str, voice: Path) -> str | None:
    """Return the path of the program, or None with a log line if it or the voice is missing."""
    path = shutil.which(program)
    missing = "program" if path is None else "" if _is_voice(voice) else "voice"
    PIPER_AVAILABLE.set(0 if missing else 1)
    if missing:
        log.warning("voice.piper_missing", missing=missing)
        return None
    return path


def _is_voice(voice: Path) -> bool:
    return voice.is_file() and Path(f"{voice}.json").is_file()


class PiperVoice:
    """A Voice by piper. At most two processes run, each with the voice loaded at one speed.

    A process that fails is stopped, and the sentence is sent once more to a new one. If that fails
    too, all sentences are refused for a minute.

    Args:
        program: Path of the program.
        voice: Path of the voice.
        timeout_seconds: Time for a sentence.
        now: Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        program: str,
        voice: Path,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._program, self._voice = program, voice.absolute()
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._slots = asyncio.Semaphore(_MAX_PROCESSES)
        self._idle: list[PiperProcess] = []
        """Processes that wait for a sentence, the longest waiting first."""
        self._busy = 0
        self._blocked_until = 0.0
        self._model = ""

    async def get_model(self) -> str:
        """Return the name of the voice with a digest of its file."""
        if not self._model:
            try:
                digest = await asyncio.to_thread(_digest_file, self._voice)
            except OSError as error:
                raise PiperFailed(type(error).__name__) from error
            self._model = f"piper {self._voice.stem} {digest}"
        return self._model

    def max_tokens_needed(self, text: str) -> int:
        """Return 0: this voice uses no tokens."""
        return 0

    async def speak(self, text: str, voice: VoiceName, speed: float, usage: TokenUsage) -> Speech:
        """Return the spoken text. Raises Unavailable if the program fails."""
        pitch = _PITCHES[voice]
        if self._now() < self._blocked_until:
            raise PiperFailed("blocked")
        async with self._slots:
            try:
                speech = await self._speak_or_retry(text, pitch / speed)
            except PiperFailed as error:
                self._blocked_until = self._now() + _RETRY_SECONDS
                PIPER_AVAILABLE.set(0)
                log.warning("voice.piper_failed", reason=error.reason)
                raise
        PIPER_AVAILABLE.set(1)
        return Speech(speech.samples, round(speech.sample_rate * pitch))

    async def check(self) -> None:
        """Do nothing: without a voice the client shows the text."""

    async def warm_up(self) -> None:
        """Load the voice at the usual speed, so that the first sentence does not wait for it."""
        async with self._slots:
            with suppress(PiperFailed):  # The first sentence reports it.
                await self._put_back(await self._take(1.0))

    async def close(self) -> None:
        """Stop the processes that wait for a sentence."""
        idle, self._idle = self._idle, []
        for process in idle:
            await process.stop()

    async def _speak_or_retry(self, text: str, length_scale: float) -> Speech:
        try:
            return await self._speak(text, length_scale)
        except PiperFailed as error:
            if error.reason == "timeout":
                raise
            log.info("voice.piper_restarted", reason=error.reason)
        return await self._speak(text, length_scale)

    async def _speak(self, text: str, length_scale: float) -> Speech:
        process = await self._take(length_scale)
        try:
            speech = await process.speak(text, timeout_seconds=self._timeout_seconds)
        except BaseException:
            # A process that was not read to its end would answer the next sentence with this one.
            self._busy -= 1
            await process.stop()
            raise
        await self._put_back(process)
        return speech

    async def _take(self, length_scale: float) -> PiperProcess:
        """Return a running process, and stop the one that waits longest if there are too many."""
        self._busy += 1
        try:
            for process in self._idle:
                if process.is_running and process.length_scale == length_scale:
                    self._idle.remove(process)
                    return process
            while self._idle and len(self._idle) + self._busy > _MAX_PROCESSES:
                await self._idle.pop(0).stop()
            process = PiperProcess(self._program, self._voice, length_scale)
            await process.start()
        except BaseException:
            self._busy -= 1
            raise
        return process

    async def _put_back(self, process: PiperProcess) -> None:
        self._busy -= 1
        if process.is_running:
            self._idle.append(process)
        else:
            await process.stop()


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGEST_CHARACTERS]
