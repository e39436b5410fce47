"""Settings of auth."""

from pydantic import Field

from coach_common.config import (
    DatabaseSettings,
    RabbitMQSettings,
    RedisSettings,
    SecretSetting,
    TokenSettings,
)


class AuthSettings(DatabaseSettings, TokenSettings, RedisSettings):
    """Settings of auth in both profiles."""

    secret_key: SecretSetting = Field(min_length=32)
    service_token: str = Field(min_length=16)
    access_token_expire_minutes: int = Field(default=30, ge=1)
    refresh_token_expire_days: int = Field(default=7, ge=1)
    signing_key_days: float = Field(default=30, gt=0)
    signing_key_lead_seconds: float = Field(default=120, gt=0)
    """How long a key is published before it signs: twice the time a verifier caches a JWKS."""
    bcrypt_cost: int = Field(default=12, ge=4, le=16)


class DistributedAuthSettings(AuthSettings, RabbitMQSettings):
    """Settings of auth in the distributed profile."""
