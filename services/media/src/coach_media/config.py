"""Settings of the media service."""

from pydantic import Field

from coach_common.config import (
    DatabaseSettings,
    RabbitMQSettings,
    RepairSettings,
    StorageSettings,
    TokenSettings,
)
from coach_common.setting_types import HttpUrl
from coach_media.audio_retention import AudioRetention

MIB = 1024 * 1024


class MediaSettings(DatabaseSettings, TokenSettings, StorageSettings, RepairSettings):
    """Settings of the media service, without its transport."""

    sessions_url: HttpUrl = "http://localhost:8002"
    """Base URL of the sessions service."""
    max_audio_bytes: int = Field(default=100 * MIB, gt=0)
    """Largest audio recording that is accepted."""
    max_video_bytes: int = Field(default=500 * MIB, gt=0)
    """Largest video recording that is accepted."""
    max_pending_uploads: int = Field(default=1000, gt=0)
    """Most pending uploads per user."""
    sweep_seconds: float = Field(default=20.0, gt=0)
    """Interval of the search for uploads that the client did not confirm."""
    audio_retention: AudioRetention = AudioRetention.KEEP
    """How long the audio of users without a choice is kept: after_feedback, 30_days, 90_days or
    keep. A new value applies to recordings that are confirmed from then on."""
    presign_host_from_request: bool = False
    """Presigned URLs use the private host of the client's request. For local development."""


class DistributedMediaSettings(MediaSettings, RabbitMQSettings):
    """Settings of a media process that uses RabbitMQ."""
