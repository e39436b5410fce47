"""The settings of the embedded run; nothing needs to be set."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field

from coach_common.config import Settings, SettingsError


class EmbeddedSettings(Settings):
    """What the embedded runner reads; each service still reads its own from the environment."""

    environment: str = "development"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    store_port: int | None = Field(default=None, ge=0, le=65535)
    data_dir: Path = Path(".data")
    cors_origins: tuple[str, ...] = ("http://localhost:8081",)
    shutdown_seconds: float = Field(default=2.0, gt=0)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a deployment would set; here made on the first start and kept beside the data."""

    secret_key: str
    service_token: str
    store_access_key: str
    store_secret_key: str

    @classmethod
    def load_or_create(cls, folder: Path) -> "Secrets":
        """Read the file, or make it, readable by its owner alone."""
        file = folder / "secrets.json"
        if not file.exists():
            generated = cls(
                secret_key=secrets.token_urlsafe(48),
                service_token=secrets.token_urlsafe(32),
                store_access_key=secrets.token_hex(10).upper(),
                store_secret_key=secrets.token_urlsafe(30),
            )
            temporary = folder / "secrets.json.new"
            with open(temporary, "w", opener=_owner_only) as stream:
                json.dump(asdict(generated), stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
        return cls(**json.loads(file.read_text()))


@contextmanager
def locked_data_dir(path: Path) -> Iterator[Path]:
    """Make the folder and hold it: two servers on the same files would take each other's events."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingsError(f"DATA_DIR {path}: in use by another running server") from None
            yield path.resolve()
    except PermissionError as error:
        raise SettingsError(f"DATA_DIR {path}: {error.strerror}") from None


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
