"""The settings of media."""

from pydantic import Field

from coach_common.config import DatabaseSettings, RabbitMQSettings, StorageSettings, TokenSettings

MIB = 1024 * 1024


class MediaSettings(DatabaseSettings, TokenSettings, StorageSettings):
    """What media reads."""

    sessions_url: str = "http://localhost:8002"
    max_audio_bytes: int = Field(default=100 * MIB, gt=0)
    max_video_bytes: int = Field(default=500 * MIB, gt=0)
    max_pending_uploads: int = Field(default=1000, gt=0)
    sweep_seconds: float = Field(default=20.0, gt=0)
    presign_host_from_request: bool = False
    """Let presigned URLs carry the private host name the phone used, as the gateway tells it."""


class DistributedMediaSettings(MediaSettings, RabbitMQSettings):
    """The same, over RabbitMQ."""
