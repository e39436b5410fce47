"""Live recordings on disk while they are spoken: what came is kept, whatever breaks afterwards."""

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
"""What an uploaded recording may have, too."""

CONTENT_TYPES = {"pcm16": "audio/wav", "webm": "audio/webm", "ogg": "audio/ogg"}
_RATES = range(8_000, 48_001)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a live recording is: its key in the store, its format, and of raw sound the rate."""

    key: str
    format: str
    rate: int | None

    @classmethod
    def of(cls, key: object, format: object, rate: object) -> "Recorded":
        """Return what was announced; CannotTranscribe where it is none of ours."""
        if not isinstance(key, str) or not key or not isinstance(format, str):
            raise CannotTranscribe("Live audio needs a key and a format.")
        if format not in CONTENT_TYPES:
            raise CannotTranscribe(f"Live audio is one of {', '.join(CONTENT_TYPES)}.")
        if format != "pcm16":
            return cls(key, format, None)
        if not isinstance(rate, int) or rate not in _RATES:
            raise CannotTranscribe("Raw audio needs a sample rate from 8000 to 48000.")
        return cls(key, format, rate)


class Spool:
    """The file of one live recording; whoever holds it has it locked, in whatever process."""

    def __init__(self, recorded: Recorded, path: Path, file: FileIO) -> None:
        self.recorded = recorded
        self.path = path
        self._file = file
        self.received = file.seek(0, os.SEEK_END)

    @classmethod
    def hold(cls, folder: Path, recorded: Recorded) -> "Spool | None":
        """Open the spool, a new one or the one that a broken connection left; None while held."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{hashlib.sha256(recorded.key.encode()).hexdigest()}.audio"
        file = FileIO(path, "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        path.with_suffix(".json").write_text(json.dumps(asdict(recorded)))
        return cls(recorded, path, file)

    @classmethod
    def abandoned(cls, folder: Path, seconds: float) -> list["Spool"]:
        """Hold what nobody holds and nothing was added to for so long."""
        found = []
        for path in folder.glob("*.audio"):
            try:
                if time.time() - path.stat().st_mtime < seconds:
                    continue
                recorded = Recorded(**json.loads(path.with_suffix(".json").read_text()))
            except (OSError, ValueError, TypeError):
                continue
            if (spool := cls.hold(folder, recorded)) is not None:
                found.append(spool)
        return found

    def append(self, content: bytes) -> None:
        """Keep what came, at once: the operating system has it when this returns."""
        if self.received + len(content) > MAX_BYTES:
            raise CannotTranscribe("This recording is too long.")
        self._file.write(content)
        self.received += len(content)

    def content(self) -> bytes:
        """Return the recording as a file that a player opens."""
        content = self.path.read_bytes()
        rate = self.recorded.rate
        if rate is None:
            return content
        content = content[: len(content) // 2 * 2]
        head = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
        sizes = struct.pack("<I", len(content) + 36), struct.pack("<I", len(content))
        return b"RIFF" + sizes[0] + b"WAVEfmt " + head + b"data" + sizes[1] + content

    def release(self) -> None:
        """Let go; the file stays for whoever resumes."""
        self._file.close()

    def remove(self) -> None:
        """Let go, and leave nothing: it is in the store."""
        self.path.with_suffix(".json").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self._file.close()
