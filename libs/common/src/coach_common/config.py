"""Settings that several services share, and how settings are loaded."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(SystemExit):
    """A setting is missing or unusable; its message is one line that names it, with no value."""


_PLACEHOLDER_PATTERN = re.compile(
    r"change.?(me|it|this)|your.?secret|placeholder|change.in.production|\A(.)\2*\Z", re.IGNORECASE
)


def _reject_placeholder(value: str) -> str:
    if _PLACEHOLDER_PATTERN.search(value):
        raise ValueError("is a placeholder; generate a value of your own")
    return value


SecretSetting = Annotated[str, AfterValidator(_reject_placeholder)]
"""A secret that must not be a placeholder from documentation or templates."""


class Settings(BaseSettings):
    """What every service reads. Each service adds its own and ignores the others'."""

    model_config = SettingsConfigDict(
        case_sensitive=False, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    environment: str = "production"
    debug: bool = False
    log_level: str = "INFO"
    # A container's own network; the embedded runner binds loopback.
    host: str = "0.0.0.0"  # noqa: S104 # nosec B104 # in a container there is nothing else
    port: int = Field(default=8000, ge=0, le=65535)
    shutdown_seconds: float = Field(default=4.0, gt=0)

    @field_validator("debug")
    @classmethod
    def _forbid_debug_in_production(cls, debug: bool, info: ValidationInfo) -> bool:
        if debug and info.data.get("environment") == "production":
            raise ValueError("must be off when ENVIRONMENT=production")
        return debug

    @classmethod
    def load(cls, **values: object) -> Self:
        """Read the environment, `values` winning; stop with one line where that fails."""
        try:
            return cls(**values)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]).upper()
            message = first["msg"].removeprefix("Value error, ")
            raise SettingsError(f"setting {name}: {message}") from None


class DatabaseSettings(Settings):
    """Of a service that keeps tables."""

    database_url: str
    database_pool_size: int = Field(default=10, ge=1)
    database_pool_overflow: int = Field(default=20, ge=0)


class TokenSettings(Settings):
    """Of a service that checks access tokens."""

    auth_url: str = "http://localhost:8001"
    token_issuer: str = "genai-coach"  # noqa: S105 - a name
    token_audience: str = "genai-coach-api"  # noqa: S105 - a name


class RabbitMQSettings(Settings):
    """Of a service that runs over RabbitMQ."""

    rabbitmq_url: str
    rabbitmq_prefetch: int = Field(default=16, ge=1, le=1000)


class RedisSettings(Settings):
    """Of a service that counts; without `redis_url` each replica counts what it saw."""

    redis_url: str | None = Field(default=None, pattern=r"^(rediss?://.*)?$")


class StorageSettings(Settings):
    """Of a service that reaches the object store."""

    aws_access_key_id: str
    aws_secret_access_key: str
    aws_region: str = "us-east-1"
    s3_bucket_name: str
    s3_endpoint_url: str | None = None
    s3_public_endpoint_url: str | None = None
