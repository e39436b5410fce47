"""Files of live recordings in progress. Audio is on disk as soon as `append` returns."""

import fcntl
import hashlib
import json
import os
import struct
import time
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from coach_ai.domain import CannotTranscribe

MAX_BYTES = 100 * 1024**2
"""The default limit of uploaded audio."""

CONTENT_TYPES = {"pcm16": "audio/wav", "webm": "audio/webm", "ogg": "audio/ogg"}
_SAMPLE_RATES = range(8_000, 48_001)


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """The object key and format of a live recording, and the sample rate of raw audio."""

    key: str
    format: str
    sample_rate: int | None

    @classmethod
    def parse(cls, key: object, format: object, sample_rate: object) -> "RecordingInfo":
        """Return the validated description. Raises CannotTranscribe if a field is invalid."""
        if not isinstance(key, str) or not key or not isinstance(format, str):
            raise CannotTranscribe("`key` and `format` are required.")
        if format not in CONTENT_TYPES:
            raise CannotTranscribe(f"format must be one of {', '.join(CONTENT_TYPES)}.")
        if format != "pcm16":
            return cls(key, format, None)
        if not isinstance(sample_rate, int) or sample_rate not in _SAMPLE_RATES:
            raise CannotTranscribe("sample_rate must be from 8000 to 48000.")
        return cls(key, format, sample_rate)


class RecordingFile:
    """The file of one live recording, locked against other tasks and processes."""

    def __init__(self, info: RecordingInfo, path: Path, file: FileIO) -> None:
        self.info = info
        self.path = path
        self._file = file
        self.received = file.seek(0, os.SEEK_END)

    @classmethod
    def open_locked(cls, directory: Path, info: RecordingInfo) -> "RecordingFile | None":
        """Open a new or existing file and lock it. Return None if it is locked already."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / f"{hashlib.sha256(info.key.encode()).hexdigest()}.audio"
        file = FileIO(path, "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        path.with_suffix(".json").write_text(json.dumps(asdict(info)))
        return cls(info, path, file)

    @classmethod
    def lock_abandoned(cls, directory: Path, seconds: float) -> list["RecordingFile"]:
        """Lock and return the unlocked files without new audio for `seconds`."""
        files = []
        for path in directory.glob("*.audio"):
            try:
                if time.time() - path.stat().st_mtime < seconds:
                    continue
                info = RecordingInfo(**json.loads(path.with_suffix(".json").read_text()))
            except (OSError, ValueError, TypeError):
                continue
            if (spool := cls.open_locked(directory, info)) is not None:
                files.append(spool)
        return files

    def append(self, content: bytes) -> None:
        """Append audio. The operating system has it when this returns."""
        if self.received + len(content) > MAX_BYTES:
            raise CannotTranscribe("This recording is too long.")
        self._file.write(content)
        self.received += len(content)

    def content(self) -> bytes:
        """Return the recording as a playable file. Raw audio gets a WAV header."""
        content = self.path.read_bytes()
        sample_rate = self.info.sample_rate
        if sample_rate is None:
            return content
        content = content[: len(content) // 2 * 2]
        format_chunk = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, sample_rate * 2, 2, 16)
        sizes = struct.pack("<I", len(content) + 36), struct.pack("<I", len(content))
        return b"RIFF" + sizes[0] + b"WAVEfmt " + format_chunk + b"data" + sizes[1] + content

    def unlock(self) -> None:
        """Unlock the file. It stays for a client that resumes."""
        self._file.close()

    def delete(self) -> None:
        """Delete the file and unlock it."""
        self.path.with_suffix(".json").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self._file.close()
