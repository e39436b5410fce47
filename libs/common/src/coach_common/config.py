"""Settings that several services share, and how settings are loaded."""

from typing import Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(SystemExit):
    """A setting is missing or unusable; its message is one line that names it, with no value."""


class Settings(BaseSettings):
    """What every service reads. Each service adds its own and ignores the others'."""

    model_config = SettingsConfigDict(
        case_sensitive=False, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    environment: str = "production"
    debug: bool = False
    log_level: str = "INFO"
    host: str = "0.0.0.0"  # noqa: S104 - a container's own network; the embedded runner binds loopback
    port: int = Field(default=8000, ge=0, le=65535)
    shutdown_seconds: float = Field(default=4.0, gt=0)

    @classmethod
    def load(cls, **values: object) -> Self:
        """Read the environment, `values` winning; stop with one line where that fails."""
        try:
            return cls(**values)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]).upper()
            raise SettingsError(f"setting {name}: {first['msg']}") from None


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


class RabbitSettings(Settings):
    """Of a service that runs over RabbitMQ."""

    rabbitmq_url: str
    rabbitmq_prefetch: int = Field(default=16, ge=1, le=1000)


class CountsSettings(Settings):
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
