"""What a use case of media may reach."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from coach_common.clock import Clock
from coach_common.db.database import Database
from coach_common.storage import ObjectStore


class SessionOwnership(Protocol):
    """Whose session is it? sessions knows; asked over HTTP, answered by hand in tests."""

    async def require_owner(self, session_id: UUID, *, bearer: str) -> None:
        """Return where the session is the token's owner's; NotFound if not, Unavailable if
        that cannot be asked."""

    async def close(self) -> None:
        """Close connections."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """The settings that use cases obey."""

    max_audio_bytes: int
    max_video_bytes: int
    max_pending_uploads: int
    sweep_interval: timedelta


@dataclass(frozen=True, slots=True)
class Deps:
    """The database, the clock, the object store, sessions, and the limits."""

    db: Database
    clock: Clock
    object_store: ObjectStore
    sessions: SessionOwnership
    limits: UploadLimits
