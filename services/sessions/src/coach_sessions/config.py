"""The settings of sessions."""

from coach_common.config import DatabaseSettings, RabbitMQSettings, RepairSettings, TokenSettings


class SessionsSettings(DatabaseSettings, TokenSettings, RepairSettings):
    """Settings of sessions in every profile."""

    media_url: str = "http://localhost:8003"
    """Base URL of the media service."""


class DistributedSessionsSettings(SessionsSettings, RabbitMQSettings):
    """Settings of sessions with RabbitMQ."""
