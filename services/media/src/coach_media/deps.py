"""Dependencies of the media use cases."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from coach_common.clock import Clock
from coach_common.db.database import Database
from coach_common.repair import DEFAULT_DELAY
from coach_common.storage import ObjectStore
from coach_media.audio_retention import AudioRetention


class SessionOwnership(Protocol):
    """Checks who owns a session."""

    async def require_owner(self, session_id: UUID, *, bearer: str) -> None:
        """Return if the session belongs to the user of the access token `bearer`.

        Raises:
            NotFound: If the session does not exist or belongs to another user.
            Unavailable: If the sessions service cannot be reached.
        """

    async def close(self) -> None:
        """Close the HTTP connections."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits on uploads, from the settings."""

    max_audio_bytes: int
    max_video_bytes: int
    max_pending_uploads: int
    sweep_interval: timedelta


@dataclass(frozen=True, slots=True)
class Deps:
    """Everything that a use case needs from outside."""

    db: Database
    clock: Clock
    object_store: ObjectStore
    sessions: SessionOwnership
    limits: UploadLimits
    repair_delay: timedelta = DEFAULT_DELAY
    """How long a confirmed upload waits for its transcript before the repair sweep checks it."""
    default_retention: AudioRetention = AudioRetention.KEEP
    """How long the audio of users without a choice is kept."""
    request_host_endpoint: str | None = None
    """Object storage URL whose host becomes the private host of the request, or None to use
    S3_PUBLIC_ENDPOINT_URL in presigned URLs."""
