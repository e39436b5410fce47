"""The settings of sessions."""

from coach_common.config import DatabaseSettings, RabbitMQSettings, TokenSettings


class SessionsSettings(DatabaseSettings, TokenSettings):
    """What sessions reads."""


class DistributedSessionsSettings(SessionsSettings, RabbitMQSettings):
    """The same, over RabbitMQ."""
