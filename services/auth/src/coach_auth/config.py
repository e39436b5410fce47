"""Settings of auth."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from coach_common.config import (
    DatabaseSettings,
    RabbitMQSettings,
    RedisSettings,
    RepairSettings,
    TokenSettings,
)
from coach_common.setting_types import SecretSetting


class AuthSettings(DatabaseSettings, RepairSettings, TokenSettings, RedisSettings):
    """Settings of auth in both profiles."""

    secret_key: SecretSetting = Field(min_length=32)
    """Encrypts the signing keys in the database and derives refresh tokens and mailed tokens."""
    service_token: SecretSetting = Field(min_length=16)
    """Shared with the gateway: authorizes `/internal/*` and trusts `X-Forwarded-For`."""
    access_token_expire_minutes: int = Field(default=30, ge=1)
    """Lifetime of an access token in minutes."""
    refresh_token_expire_days: int = Field(default=7, ge=1)
    """Lifetime of a refresh token in days. Each refresh starts a new one."""
    signing_key_days: float = Field(default=30, gt=0)
    """How long a key signs access tokens before the next one is published, in days."""
    signing_key_lead_seconds: float = Field(default=120, gt=0)
    """Time from publishing a key until it signs: twice the time a verifier caches a JWKS."""
    bcrypt_cost: int = Field(default=12, ge=4, le=16)
    """Binary logarithm of the bcrypt rounds. One more doubles the time of a login."""
    refresh_grace_seconds: float = Field(default=60, ge=0)
    """Time in which a rotated refresh token may be sent again while its successor is unused."""

    smtp_host: str | None = None
    """Mail server. Without it, mails are written to `MAIL_DIR`, or wait until they expire."""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    """Port of the mail server."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection to the mail server is encrypted."""
    smtp_username: str | None = None
    """User name at the mail server. Without it, mails are sent without authentication."""
    smtp_password: str | None = None
    """Password at the mail server."""
    mail_from: str | None = None
    """Sender of mails, such as `GenAI Coach <coach@example.com>`. Required with `SMTP_HOST`."""
    mail_dir: Path | None = None
    """Folder for mails if `SMTP_HOST` is not set. `coach run` sets it to `DATA_DIR/mail`."""
    app_url: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9+.-]*://\S*$")
    """Base of the links in mails. Without it, mails carry the token as a code to enter."""

    @model_validator(mode="after")
    def _check_sender(self) -> Self:
        if self.smtp_host and not self.mail_from:
            raise ValueError("MAIL_FROM is required if SMTP_HOST is set")
        return self


class DistributedAuthSettings(AuthSettings, RabbitMQSettings):
    """Settings of auth in the distributed profile."""
