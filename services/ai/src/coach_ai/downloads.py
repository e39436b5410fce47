"""The directory of recordings that are being transcribed.

Each process uses its own subdirectory and holds a lock on it. What a killed process left has
no lock, and is deleted by the next process that starts, or when an account is deleted.
"""

import asyncio
import fcntl
import os
import shutil
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path

from coach_common import logs

log = logs.get_logger(__name__)

_LOCK_SUFFIX = ".lock"


class DownloadDirectory:
    """A locked subdirectory of `base`, created when it is first used."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._path: Path | None = None
        self._lock: int | None = None

    @property
    def path(self) -> Path:
        """The subdirectory of this process."""
        if self._path is None:
            self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = uuid.uuid4().hex
            # The lock comes first: a directory without one is deleted.
            self._lock = os.open(
                self._base / f"{name}{_LOCK_SUFFIX}", os.O_CREAT | os.O_RDWR, 0o600
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            path = self._base / name
            path.mkdir(mode=0o700)
            self._path = path
        return self._path

    def delete_abandoned(self) -> int:
        """Delete what processes left that no longer run. Return how many subdirectories."""
        if not self._base.is_dir():
            return 0
        deleted = 0
        for path in self._base.iterdir():
            if path.is_dir() and path != self._path and _delete_unlocked(path):
                deleted += 1
        if deleted:
            log.info("downloads.deleted", directories=deleted)
        return deleted

    def discard(self, file: Path) -> None:
        """Delete a file in a thread, without waiting for it. `close` deletes what is left."""
        asyncio.get_running_loop().run_in_executor(None, partial(file.unlink, missing_ok=True))

    def close(self) -> None:
        """Delete the subdirectory of this process."""
        path, self._path = self._path, None
        lock, self._lock = self._lock, None
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)
            _lock_file(path).unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def _lock_file(path: Path) -> Path:
    return path.with_name(path.name + _LOCK_SUFFIX)


def _delete_unlocked(path: Path) -> bool:
    """Delete a subdirectory unless a process holds its lock. Return whether it was deleted."""
    with suppress(OSError):
        lock = os.open(_lock_file(path), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            _lock_file(path).unlink(missing_ok=True)
            return True
        finally:
            os.close(lock)
    return False
