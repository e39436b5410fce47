"""The settings of auth."""

from pydantic import Field

from coach_common.config import DatabaseSettings, RabbitSettings, Secret, TokenSettings


class AuthSettings(DatabaseSettings, TokenSettings):
    """What auth reads."""

    secret_key: Secret = Field(min_length=32)
    service_token: str = Field(min_length=16)
    access_token_expire_minutes: int = Field(default=30, ge=1)
    refresh_token_expire_days: int = Field(default=7, ge=1)
    bcrypt_cost: int = Field(default=12, ge=4, le=16)


class DistributedAuthSettings(AuthSettings, RabbitSettings):
    """The same, over RabbitMQ."""
