"""The settings of sessions."""

from coach_common.config import DatabaseSettings, RabbitMQSettings, TokenSettings


class SessionsSettings(DatabaseSettings, TokenSettings):
    """Settings of sessions in every profile."""

    media_url: str = "http://localhost:8003"
    """Base URL of the media service."""
    ai_url: str = "http://localhost:8004"
    """Base URL of the ai service."""


class DistributedSessionsSettings(SessionsSettings, RabbitMQSettings):
    """Settings of sessions with RabbitMQ."""
