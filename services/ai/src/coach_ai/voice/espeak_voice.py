"""The local voice: the program espeak-ng, in a process per sentence, without a network."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from coach_ai.token_usage import TokenUsage
from coach_ai.voice.speech import InvalidSpeech, Speech, VoiceName
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

PROGRAM = "espeak-ng"

_VOICES = {VoiceName.LOW: "en-us+m3", VoiceName.MEDIUM: "en-us", VoiceName.HIGH: "en-us+f3"}
_WORDS_PER_MINUTE = 160
_MAX_PROCESSES = 2
_TIMEOUT_SECONDS = 20.0
_FAILED = "The voice is unavailable. Please read the text."


def find_espeak() -> str | None:
    """Return the path of the installed program, or None."""
    return shutil.which(PROGRAM)


class EspeakVoice:
    """A Voice by espeak-ng. The text is passed over stdin, so it is never an option."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._slots = asyncio.Semaphore(_MAX_PROCESSES)
        self._model = ""

    async def get_model(self) -> str:
        """Return the name and version of the program."""
        if not self._model:
            output = await self._run("--version")
            version = output.decode(errors="replace").split("text-to-speech:")[-1].split()
            self._model = f"{PROGRAM} {version[0] if version else 'unknown'}"
        return self._model

    def max_tokens_needed(self, text: str) -> int:
        """Return 0: this voice uses no tokens."""
        return 0

    async def speak(self, text: str, voice: VoiceName, speed: float, usage: TokenUsage) -> Speech:
        """Return the spoken text. Raises Unavailable if the program fails."""
        words_per_minute = str(round(_WORDS_PER_MINUTE * speed))
        options = ("--stdin", "--stdout", "-b", "1", "-v", _VOICES[voice], "-s", words_per_minute)
        output = await self._run(*options, text=text)
        try:
            return Speech.from_wav(output)
        except InvalidSpeech as error:
            raise Unavailable(_FAILED) from error

    async def warm_up(self) -> None:
        """Do nothing: each sentence starts a process."""

    async def check(self) -> None:
        """Do nothing: a missing program is found when the service starts."""

    async def close(self) -> None:
        """Do nothing: each process ends with its sentence."""

    async def _run(self, *options: str, text: str = "") -> bytes:
        # A file instead of a pipe: uvloop raises RuntimeError if the program exits before it reads.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(text.encode())
            stdin.seek(0)
            async with self._slots:
                return await self._run_program(options, stdin)

    async def _run_program(self, options: Sequence[str], stdin: IO[bytes]) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                *options,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LANG": "C.UTF-8"},
            )
        except OSError as error:
            log.warning("voice.not_started", error=type(error).__name__)
            raise Unavailable(_FAILED) from error
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError as error:
            log.warning("voice.timed_out")
            raise Unavailable(_FAILED) from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            log.warning("voice.failed", status=process.returncode)
            raise Unavailable(_FAILED)
        return output
