"""Files of live recordings in progress. Audio is on disk as soon as `append` returns.

Layout: `<directory>/<user id>/<name>.audio` with a description in `<name>.json`, where `name` is
the last part of the object key.
"""

import fcntl
import json
import os
import re
import stat
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any
from uuid import UUID

from coach_ai.domain.recordings import CannotTranscribe
from coach_common.errors import NotFound, TooManyRequests, Unavailable
from coach_common.ids import parse_id

MAX_RECORDING_BYTES = 100 * 1024**2
"""The default limit of uploaded audio."""
MAX_USER_BYTES = 256 * 1024**2
"""Of all recordings of a user that are not in the object store yet."""
MAX_USER_RECORDINGS = 20

CONTENT_TYPES = {"pcm16": "audio/wav", "webm": "audio/webm", "ogg": "audio/ogg"}
_EXTENSIONS = {"pcm16": "wav", "webm": "webm", "ogg": "ogg"}
_MIN_SAMPLE_RATE = 8_000
_MAX_SAMPLE_RATE = 48_000
_KEY_PATTERN = re.compile(
    r"uploads/(?P<user>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"/(?P<name>\d{13}_[0-9a-f]{8}\.(?P<extension>\w{2,5}))",
    re.ASCII,
)
"""The keys that media issues."""
_MIN_RETRY_SECONDS = 5.0
_MAX_RETRY_SECONDS = 300.0
_MAX_RETRY_EXPONENT = 10
MAX_RETRY_PERIOD_SECONDS = 24 * 3600.0
"""From the last byte. An upload that still fails then is given up."""
MAX_REJECTED_ATTEMPTS = 10
_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeDirectory(Unavailable):
    """The directory is missing, a symbolic link, or belongs to another account."""

    code = "live_unavailable"


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """A live recording: its object key, session, format, and the sample rate of raw audio."""

    key: str
    session_id: str | None
    format: str
    sample_rate: int | None
    attempts: int = 0
    """Failed uploads."""
    retry_at: float = 0.0
    """Unix time of the next upload."""

    @classmethod
    def parse(cls, start: Mapping[str, Any], *, user_id: UUID) -> "RecordingInfo":
        """Return the description in a `start` message.

        Raises:
            CannotTranscribe: If the format or the sample rate is invalid.
            NotFound: If the session id is invalid, or media issues no such key for this user
                and format.
        """
        audio_format, session_id = start.get("format"), start.get("session_id")
        if not isinstance(audio_format, str) or audio_format not in CONTENT_TYPES:
            raise CannotTranscribe(f"format must be one of {', '.join(CONTENT_TYPES)}.")
        parts = _KEY_PATTERN.fullmatch(str(start.get("key")))
        if (
            parts is None
            or parts["user"] != str(user_id)
            or parts["extension"] != _EXTENSIONS[audio_format]
        ):
            raise NotFound("Recording not found", code="recording_not_found")
        return cls(
            key=parts[0],
            session_id=None
            if session_id is None
            else str(parse_id(str(session_id), resource="Session")),
            format=audio_format,
            sample_rate=_parse_sample_rate(start.get("sample_rate"), audio_format),
        )

    @property
    def user_id(self) -> UUID:
        """The user in the key."""
        return UUID(self.key.split("/")[1])

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    def schedule_retry(
        self, *, now: float, last_byte_at: float, is_rejected: bool
    ) -> "RecordingInfo | None":
        """Return this recording after a failed upload, or None if it is given up.

        Args:
            now: Unix time.
            last_byte_at: Unix time of the last audio.
            is_rejected: Whether the store rejected the object itself.
        """
        attempts = self.attempts + 1
        if now - last_byte_at > MAX_RETRY_PERIOD_SECONDS:
            return None
        if is_rejected and attempts >= MAX_REJECTED_ATTEMPTS:
            return None
        delay = _MIN_RETRY_SECONDS * 2 ** min(self.attempts, _MAX_RETRY_EXPONENT)
        return replace(self, attempts=attempts, retry_at=now + min(_MAX_RETRY_SECONDS, delay))


class RecordingFile:
    """The file of one live recording, locked against other tasks and processes."""

    def __init__(self, info: RecordingInfo, path: Path, file: FileIO, max_bytes: int) -> None:
        self.info = info
        self.path = path
        self._file = file
        self._max_bytes = max_bytes
        self.received = file.seek(0, os.SEEK_END)

    @property
    def last_byte_at(self) -> float:
        """Unix time of the last audio."""
        return os.fstat(self._file.fileno()).st_mtime

    def append(self, content: bytes) -> None:
        """Append audio. The operating system has it when this returns.

        Raises:
            CannotTranscribe: If the recording or all recordings of the user are too large.
        """
        if self.received + len(content) > self._max_bytes:
            raise CannotTranscribe("This recording is too long.", code="live_too_long")
        written = 0
        while written < len(content):
            written += self._file.write(memoryview(content)[written:])
        self.received += len(content)

    def content(self) -> bytes:
        """Return the recording as a playable file. Raw audio gets a WAV header."""
        content = os.pread(self._file.fileno(), self.received, 0)
        sample_rate = self.info.sample_rate
        if sample_rate is None:
            return content
        content = content[: len(content) // 2 * 2]
        format_chunk = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, sample_rate * 2, 2, 16)
        sizes = struct.pack("<I", len(content) + 36), struct.pack("<I", len(content))
        return b"RIFF" + sizes[0] + b"WAVEfmt " + format_chunk + b"data" + sizes[1] + content

    def save_info(self, info: RecordingInfo) -> None:
        """Replace the description."""
        self.info = info
        _write_info(self.path.with_suffix(".json"), info)

    def unlock(self) -> None:
        """Unlock the file. It stays for a client that resumes."""
        self._file.close()

    def delete(self) -> None:
        """Delete the file and unlock it. A crash in between leaves a description without audio."""
        _delete_files(self.path)
        self._file.close()


class RecordingDirectory:
    """The directory of live recordings. It belongs to this account, and only it has access."""

    def __init__(
        self,
        path: Path,
        *,
        max_user_bytes: int = MAX_USER_BYTES,
        max_user_recordings: int = MAX_USER_RECORDINGS,
    ) -> None:
        self.path = path
        self._max_user_bytes = max_user_bytes
        self._max_user_recordings = max_user_recordings

    def open_locked(self, info: RecordingInfo) -> RecordingFile | None:
        """Open a new or existing file and lock it. Return None if it is locked already.

        Raises:
            UnsafeDirectory: If the directory cannot be used safely.
            TooManyRequests: If the user has too many recordings that are not stored yet.
        """
        _ensure_private_directory(self.path)
        directory = self.path / str(info.user_id)
        path = directory / f"{info.name}.audio"
        _ensure_private_directory(directory)
        sizes = {one: one.lstat().st_size for one in directory.glob("*.audio") if one != path}
        other_bytes = sum(sizes.values())
        if len(sizes) >= self._max_user_recordings or other_bytes >= self._max_user_bytes:
            raise TooManyRequests(
                "Earlier recordings are still being stored. Please try again later.",
                code="live_storage_full",
            )
        file = _open_locked(path)
        if file is None:
            return None
        _write_info(path.with_suffix(".json"), info)
        max_bytes = min(MAX_RECORDING_BYTES, self._max_user_bytes - other_bytes)
        return RecordingFile(info, path, file, max_bytes)

    def list_recordings(self) -> list[RecordingInfo]:
        """Return all recordings. Deletes files that a crash left incomplete.

        Raises:
            UnsafeDirectory: If the directory cannot be used safely.
        """
        if not self.path.exists():
            return []
        _ensure_private_directory(self.path)
        recordings = []
        for path in self.path.glob("*/*"):
            if path.suffix == ".audio" and (info := _read_info(path)) is not None:
                recordings.append(info)
            elif path.suffix != ".json" or not path.with_suffix(".audio").exists():
                _delete_if_old(path)
        return recordings

    def lock_abandoned(
        self, info: RecordingInfo, *, min_age_seconds: float
    ) -> RecordingFile | None:
        """Lock a recording without new audio for a while. Return None if it is in use."""
        path = self.path / str(info.user_id) / f"{info.name}.audio"
        try:
            if time.time() - path.lstat().st_mtime < min_age_seconds:
                return None
        except FileNotFoundError:
            return None
        file = _open_locked(path)
        return None if file is None else RecordingFile(info, path, file, MAX_RECORDING_BYTES)

    def delete(self, info: RecordingInfo) -> None:
        """Delete a recording and the directory of its user if it is empty."""
        path = self.path / str(info.user_id) / f"{info.name}.audio"
        _delete_files(path)
        self.delete_empty(info.user_id)

    def delete_empty(self, user_id: UUID) -> None:
        """Delete the directory of a user if it is empty."""
        try:
            (self.path / str(user_id)).rmdir()
        except OSError:
            return


def _parse_sample_rate(value: object, audio_format: str) -> int | None:
    if audio_format != "pcm16":
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not _MIN_SAMPLE_RATE <= value <= _MAX_SAMPLE_RATE
    ):
        raise CannotTranscribe(
            f"sample_rate must be a number from {_MIN_SAMPLE_RATE} to {_MAX_SAMPLE_RATE}."
        )
    return round(value)


def _ensure_private_directory(path: Path) -> None:
    """Create the directory with access for this account only, or check that it is like that."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise UnsafeDirectory(f"LIVE_DIR cannot be used: {error.strerror}.") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UnsafeDirectory("LIVE_DIR is not a directory of this account.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)


def _open_locked(path: Path) -> FileIO | None:
    """Open and lock a file. Return None if it is locked. Follows no symbolic link."""
    while True:
        try:
            file = FileIO(os.open(path, _FILE_FLAGS, 0o600), "a+")
        except OSError as error:
            raise UnsafeDirectory(f"LIVE_DIR cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            file.close()
            raise UnsafeDirectory("LIVE_DIR has a file of another account.")
        if found.st_nlink == 1:
            return file
        file.close()
        if found.st_nlink > 1:
            raise UnsafeDirectory("LIVE_DIR has a file with several names.")
        # The file was deleted between open and lock, so a new one is created.


def _write_info(path: Path, info: RecordingInfo) -> None:
    """Write a description atomically."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "w") as stream:
        json.dump(asdict(info), stream)
    temporary.replace(path)


def _read_info(path: Path) -> RecordingInfo | None:
    """Return the description of an audio file, or None if it has none."""
    try:
        with os.fdopen(
            os.open(path.with_suffix(".json"), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        ) as stream:
            info = RecordingInfo(**json.load(stream))
    except (OSError, ValueError, TypeError):
        return None
    parts = _KEY_PATTERN.fullmatch(info.key)
    is_of_file = parts is not None and (parts["user"], f"{parts['name']}.audio") == (
        path.parent.name,
        path.name,
    )
    return info if is_of_file else None


def _delete_files(audio: Path) -> None:
    audio.unlink(missing_ok=True)
    audio.with_suffix(".json").unlink(missing_ok=True)


def _delete_if_old(path: Path) -> None:
    """Delete an incomplete file. A new one may be about to be completed."""
    try:
        if time.time() - path.lstat().st_mtime > _MAX_RETRY_SECONDS:
            path.unlink()
    except OSError:
        return
