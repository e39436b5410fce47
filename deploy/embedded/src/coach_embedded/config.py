"""Settings and generated secrets of the embedded profile."""

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field

from coach_common import logs
from coach_common.config import Settings, SettingsError
from coach_common.setting_types import Origins

log = logs.get_logger(__name__)


class EmbeddedSettings(Settings):
    """Settings of the process that runs all services. Each service also reads its own."""

    environment: str = "development"
    """`production` turns debug mode and the API documentation pages off."""
    host: str = "127.0.0.1"
    """Address to listen on. `0.0.0.0` lets other devices on the network connect."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port of the gateway. 0 chooses a free port."""
    store_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the embedded object storage. Default: PORT + 1000."""
    data_dir: Path = Path(".data")
    """Directory of the databases, recordings and generated secrets."""
    live_dir: Path | None = None
    """Directory of live recordings in progress. Default: `live` in DATA_DIR."""
    cors_origins: Origins = ("http://localhost:8081",)
    """Origins of web apps that may call the API from a browser, or `*` for all."""
    shutdown_seconds: float = Field(default=10.0, gt=0)
    """Time for running requests and jobs to finish at shutdown."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets that a deployment would set, generated at the first start and stored in DATA_DIR."""

    secret_key: str
    service_token: str
    store_access_key: str
    store_secret_key: str

    @classmethod
    def load_or_create(cls, directory: Path) -> "Secrets":
        """Read `secrets.json`, or create it with access for its owner only."""
        file = directory / "secrets.json"
        if not file.exists():
            generated = cls(
                secret_key=secrets.token_urlsafe(48),
                service_token=secrets.token_urlsafe(32),
                store_access_key=secrets.token_hex(10).upper(),
                store_secret_key=secrets.token_urlsafe(30),
            )
            temporary = directory / "secrets.json.new"
            with open(temporary, "w", opener=_owner_only) as stream:
                json.dump(asdict(generated), stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
        return cls(**json.loads(file.read_text()))


@contextmanager
def locked_data_dir(path: Path) -> Iterator[Path]:
    """Create and lock the data directory. New files of this process are readable by its user only.

    Two servers must not use the same files, because each would consume the other's events. A
    directory that other users of the machine can read is closed to them.

    Raises:
        SettingsError: If another process holds the lock, the directory is not writable, or other
            users can read it and it belongs to another user.
    """
    os.umask(0o077)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_other_users(path)
        with (path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingsError(f"DATA_DIR {path}: in use by another running server") from None
            yield path.resolve()
    except PermissionError as error:
        raise SettingsError(f"DATA_DIR {path}: {error.strerror}") from None


def _close_to_other_users(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return
    try:
        path.chmod(mode & ~0o077)
    except PermissionError:
        raise SettingsError(
            f"DATA_DIR {path}: other users can read it; run `chmod 700` on it as its owner"
        ) from None
    log.warning("data_dir.permissions_tightened", path=str(path), was=f"{mode:o}")


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
