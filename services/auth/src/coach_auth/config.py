"""Settings of auth."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

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
    service_token: SecretSetting = Field(min_length=16)
    access_token_expire_minutes: int = Field(default=30, ge=1)
    refresh_token_expire_days: int = Field(default=7, ge=1)
    signing_key_days: float = Field(default=30, gt=0)
    signing_key_lead_seconds: float = Field(default=120, gt=0)
    """How long a key is published before it signs: twice the time a verifier caches a JWKS."""
    bcrypt_cost: int = Field(default=12, ge=4, le=16)
    refresh_grace_seconds: float = Field(default=60, ge=0)
    """How long a rotated refresh token may be sent again while its successor is unused."""

    smtp_host: str | None = None
    """Without a host, mails are written to `mail_dir`, or wait until they expire."""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_username: str | None = None
    smtp_password: str | None = None
    mail_from: str | None = None
    """Sender of mails, such as `GenAI Coach <coach@example.com>`. Required with `smtp_host`."""
    mail_dir: Path | None = None
    """Folder for mails if `smtp_host` is not set."""
    app_url: str | None = Field(default=None, pattern=r"^([a-z][a-z0-9+.-]*://\S*)?$")
    """Base of the links in mails. Without it, mails carry the token as a code to enter."""

    @model_validator(mode="after")
    def _check_sender(self) -> Self:
        if self.smtp_host and not self.mail_from:
            raise ValueError("MAIL_FROM is required if SMTP_HOST is set")
        return self


class DistributedAuthSettings(AuthSettings, RabbitMQSettings):
    """Settings of auth in the distributed profile."""
