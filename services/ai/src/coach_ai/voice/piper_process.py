"""The program piper as a child process that speaks one sentence after the other.

With `--output-dir` piper reads a sentence per line, writes a WAV file for each and logs its path.
So the voice is loaded once. The speed is an option of the program and cannot change.
"""

import asyncio
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from coach_ai.process_sandbox import inherit_environment
from coach_ai.voice.speech import InvalidSpeech, Speech
from coach_common.errors import Unavailable

_MEMORY_BYTES = 4 * 1024**3
"""Address space, of which ONNX Runtime reserves much more than it uses."""
_MAX_FILE_BYTES = 16 * 1024**2
"""Six minutes of speech."""
_MAX_LINE_BYTES = 64 * 1024
_WROTE = "Wrote "
_FORCED_ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


class PiperFailed(Unavailable):
    """The program did not speak. Its process is stopped."""

    def __init__(self, reason: str) -> None:
        super().__init__("The voice is unavailable. Please read the text.")
        self.reason = reason


class PiperProcess:
    """A running piper with a voice and a length scale. Callers must not speak two texts at once.

    Args:
        program: Path of the program.
        voice: Path of the voice, an ONNX file with a JSON file beside it.
        length_scale: How much longer than usual the speech is.
    """

    def __init__(self, program: str, voice: Path, length_scale: float) -> None:
        self.length_scale = length_scale
        self._program, self._voice = program, voice
        self._directory = tempfile.TemporaryDirectory(prefix="genai-coach-voice-")
        self._child: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process can speak."""
        return self._child is not None and self._child.returncode is None

    @property
    def pid(self) -> int | None:
        """Process id of the child, or None before it is started."""
        return None if self._child is None else self._child.pid

    async def start(self) -> None:
        """Start the program. Raises PiperFailed if the system refuses."""
        path = self._directory.name
        try:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "coach_ai.voice.piper_launcher"),
                *(str(_MEMORY_BYTES), str(_MAX_FILE_BYTES), self._program),
                *("--model", str(self._voice)),
                *("--length-scale", f"{self.length_scale:.3f}"),
                *("--output-dir", path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=inherit_environment(os.environ) | _FORCED_ENVIRONMENT,
                limit=_MAX_LINE_BYTES,
            )
        except OSError as error:
            raise PiperFailed(type(error).__name__) from error

    async def speak(self, text: str, *, timeout_seconds: float) -> Speech:
        """Return a spoken sentence.

        Raises:
            PiperFailed: If the program exits, takes too long or writes something else.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                path = await self._request(_to_line(text))
            return await asyncio.to_thread(self._read, path)
        except TimeoutError:
            raise PiperFailed("timeout") from None
        except (OSError, ValueError, RuntimeError) as error:
            raise PiperFailed(type(error).__name__) from error

    async def stop(self) -> None:
        """Stop the program and delete its files."""
        child = self._child
        if child is not None and child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        await asyncio.to_thread(self._directory.cleanup)

    async def _request(self, line: bytes) -> Path:
        """Send a sentence and return the path that the program logs."""
        child = self._child
        if child is None or child.stdin is None or child.stderr is None:
            raise PiperFailed("not_started")
        child.stdin.write(line)
        await child.stdin.drain()
        while logged := await child.stderr.readline():
            _, found, path = logged.decode(errors="replace").rstrip().rpartition(_WROTE)
            if found:
                return Path(path)
        raise PiperFailed(f"exited with {await child.wait()}")

    def _read(self, path: Path) -> Speech:
        """Read and delete a file of the program. It may be nowhere else than in its directory."""
        if path.parent != Path(self._directory.name) or path.is_symlink():
            raise ValueError("the file is in another directory")
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        path.unlink()
        speech = Speech.from_wav(content)
        if not speech.samples:
            raise InvalidSpeech("the file has no samples")
        return speech


def _to_line(text: str) -> bytes:
    """Return a text as one line, without the brackets that enclose phonemes in piper."""
    plain = " ".join(text.replace("[[", " ").replace("]]", " ").split())
    return plain.encode(errors="replace") + b"\n"
