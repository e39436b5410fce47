"""The settings of sessions."""

from coach_common.config import DatabaseSettings, RabbitSettings, TokenSettings


class SessionsSettings(DatabaseSettings, TokenSettings):
    """What sessions reads."""


class DistributedSessionsSettings(SessionsSettings, RabbitSettings):
    """The same, over RabbitMQ."""
