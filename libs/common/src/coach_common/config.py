"""Settings that services share, and how settings are loaded."""

import os
import re
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from coach_common.fault_injection import CRASH_POINT_VARIABLE
from coach_common.validation import describe_first_error


class SettingsError(SystemExit):
    """A setting is missing or invalid. The message is one line with its name, without its value."""


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
    """The settings of every service. Each service adds its own and ignores those of others."""

    model_config = SettingsConfigDict(
        case_sensitive=False, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    environment: str = "production"
    """`production` forbids debug mode and fault injection, and turns the API documentation off."""
    debug: bool = False
    """Debug mode. Must be off in production."""
    log_level: str = "INFO"
    """Lowest level that is logged: DEBUG, INFO, WARNING or ERROR."""
    # All interfaces of the container; the embedded profile binds loopback.
    host: str = "0.0.0.0"  # noqa: S104 # nosec B104
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on. 0 chooses a free port."""
    shutdown_seconds: float = Field(default=4.0, gt=0)
    """Time for running requests to finish at shutdown."""

    @field_validator("debug")
    @classmethod
    def _forbid_debug_in_production(cls, debug: bool, info: ValidationInfo) -> bool:
        if debug and info.data.get("environment") == "production":
            raise ValueError("must be off when ENVIRONMENT=production")
        return debug

    @classmethod
    def load(cls, **values: object) -> Self:
        """Return the settings from the environment; `values` take precedence.

        Raises:
            SettingsError: If a setting is missing or invalid. It ends the process.
        """
        try:
            settings = cls(**values)  # type: ignore[arg-type]
        except ValidationError as error:
            name, message = describe_first_error(error)
            raise SettingsError(f"setting {name.upper()}: {message}") from None
        is_set_to_production = (
            settings.environment == "production" and "environment" in settings.model_fields_set
        )
        if is_set_to_production and CRASH_POINT_VARIABLE in os.environ:
            raise SettingsError(
                f"setting {CRASH_POINT_VARIABLE}: must be unset when ENVIRONMENT=production"
            )
        return settings


class DatabaseSettings(Settings):
    """Settings of a service with a database."""

    database_url: str
    """URL of the database: `mysql://user:password@host:port/name` or `sqlite:///path`."""
    database_pool_size: int = Field(default=10, ge=1)
    """Database connections that stay open."""
    database_pool_overflow: int = Field(default=20, ge=0)
    """Additional database connections under load."""


class RepairSettings(Settings):
    """Settings of a service that repairs lost events."""

    repair_seconds: float = Field(default=60.0, gt=0)
    """How long a session or upload waits for an event before it is repaired."""


class TokenSettings(Settings):
    """Settings of a service that verifies access tokens."""

    auth_url: str = "http://localhost:8001"
    """Base URL of the auth service."""
    token_issuer: str = "genai-coach"  # noqa: S105 - a name
    """Issuer (`iss`) of access tokens."""
    token_audience: str = "genai-coach-api"  # noqa: S105 - a name
    """Audience (`aud`) of access tokens."""


class RabbitMQSettings(Settings):
    """Settings of a service with RabbitMQ."""

    rabbitmq_url: str
    """URL of RabbitMQ: `amqp://user:password@host:port/vhost`."""
    rabbitmq_prefetch: int = Field(default=16, ge=1, le=1000)
    """Unacknowledged messages per consumer."""


class RedisSettings(Settings):
    """Settings of a service that counts. Without `redis_url` each replica counts for itself."""

    redis_url: str | None = Field(default=None, pattern=r"^(rediss?://.*)?$")
    """URL of Redis, which shares counters between replicas."""


class StorageSettings(Settings):
    """Settings of a service that uses object storage."""

    aws_access_key_id: str
    """Access key of the object storage."""
    aws_secret_access_key: str
    """Secret key of the object storage."""
    aws_region: str = "us-east-1"
    """Region of the bucket."""
    s3_bucket_name: str
    """Bucket for recordings."""
    s3_endpoint_url: str | None = None
    """URL of an S3-compatible storage. Default: AWS."""
    s3_public_endpoint_url: str | None = None
    """Storage URL for clients, used in presigned URLs. Default: S3_ENDPOINT_URL."""
