"""The settings of sessions."""

from coach_common.config import DatabaseSettings, RabbitMQSettings, RepairSettings, TokenSettings
from coach_common.setting_types import HttpUrl


class SessionsSettings(DatabaseSettings, TokenSettings, RepairSettings):
    """Settings of sessions in every profile."""

    media_url: HttpUrl = "http://localhost:8003"
    """Base URL of the media service."""
    ai_url: str = "http://localhost:8004"
    """Base URL of the ai service."""


class DistributedSessionsSettings(SessionsSettings, RabbitMQSettings):
    """Settings of sessions with RabbitMQ."""
