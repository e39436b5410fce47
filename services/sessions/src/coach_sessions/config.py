"""The settings of sessions."""

from coach_common.config import DatabaseSettings, RabbitMQSettings, TokenSettings


class SessionsSettings(DatabaseSettings, TokenSettings):
    """Settings of sessions in every profile."""


class DistributedSessionsSettings(SessionsSettings, RabbitMQSettings):
    """Settings of sessions with RabbitMQ."""
