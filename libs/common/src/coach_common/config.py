"""Settings that services share, and how settings are loaded."""

import os
from typing import Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from coach_common.fault_injection import CRASH_POINT_VARIABLE
from coach_common.setting_types import (
    DatabaseUrl,
    HttpUrl,
    LogLevel,
    RabbitMQUrl,
    RedisUrl,
    add_password,
)
from coach_common.settings_sources import EnvironmentSource, read_setting_files
from coach_common.validation import describe_errors


class SettingsError(SystemExit):
    """Settings are missing or invalid. The message names each one on a line, without values."""


class Settings(BaseSettings):
    """The settings of every service. Each service adds its own and ignores those of others."""

    model_config = SettingsConfigDict(
        case_sensitive=False,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    environment: str = "production"
    """`production` forbids debug mode and fault injection, and turns the API documentation off."""
    debug: bool = False
    """Debug mode. Must be off in production."""
    log_level: LogLevel = "INFO"
    """Lowest level that is logged: DEBUG, INFO, WARNING or ERROR."""
    # All interfaces of the container; the embedded profile binds loopback.
    host: str = "0.0.0.0"  # noqa: S104
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on. 0 chooses a free port."""
    shutdown_seconds: float = Field(default=20.0, gt=0)
    """Time for running requests and jobs to finish at shutdown."""
    otel_exporter_otlp_endpoint: HttpUrl | None = None
    """Base URL of an OpenTelemetry collector (OTLP over HTTP). Without it no spans are exported."""

    @field_validator("debug")
    @classmethod
    def _forbid_debug_in_production(cls, debug: bool, info: ValidationInfo) -> bool:
        if debug and info.data.get("environment") == "production":
            raise ValueError("must be off when ENVIRONMENT=production")
        return debug

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the arguments, then the environment."""
        return init_settings, EnvironmentSource(settings_cls)

    @classmethod
    def load(cls, **values: object) -> Self:
        """Return the settings from the environment; `values` take precedence.

        A variable `<SETTING>_FILE` names a file that contains the setting. Empty means not set.

        Raises:
            SettingsError: If settings are missing or invalid. It ends the process and names all.
        """
        from_files, problems = read_setting_files(
            {name: field for name, field in cls.model_fields.items() if name not in values}
        )
        settings = None
        try:
            settings = cls(**{**from_files, **values})  # type: ignore[arg-type]
        except ValidationError as error:
            for path, message in describe_errors(error):
                name = path.partition(".")[0].upper()
                problems.append(f"setting {name}: {message}" if name else f"setting {message}")
        is_set_to_production = (
            settings is not None
            and settings.environment == "production"
            and "environment" in settings.model_fields_set
        )
        if is_set_to_production and CRASH_POINT_VARIABLE in os.environ:
            problems.append(
                f"setting {CRASH_POINT_VARIABLE}: must be unset when ENVIRONMENT=production"
            )
        if settings is None or problems:
            raise SettingsError("\n".join(sorted(set(problems)))) from None
        return settings


class DatabaseSettings(Settings):
    """Settings of a service with a database."""

    database_url: DatabaseUrl
    """URL of the database: `mysql://user:password@host:port/name` or `sqlite:///path`."""
    database_password: str | None = None
    """Password of the database user. It replaces the one in DATABASE_URL."""
    database_pool_size: int = Field(default=10, ge=1)
    """Database connections that stay open."""
    database_pool_overflow: int = Field(default=20, ge=0)
    """Additional database connections under load."""
    database_timeout_seconds: float = Field(default=15.0, gt=0)
    """How long a transaction waits for a connection, and for each statement. After that the
    database counts as unavailable."""

    @property
    def database_address(self) -> str:
        """The database URL with its password."""
        return add_password(self.database_url, self.database_password)


class RepairSettings(Settings):
    """Settings of a service that repairs lost events."""

    repair_seconds: float = Field(default=60.0, gt=0)
    """How long a session or upload waits for an event before it is repaired, and how soon a
    deletion, a consent or an interview is published again."""


class TokenSettings(Settings):
    """Settings of a service that verifies access tokens."""

    auth_url: HttpUrl = "http://localhost:8001"
    """Base URL of the auth service."""
    token_issuer: str = "genai-coach"  # noqa: S105 - a name
    """Issuer (`iss`) of access tokens."""
    token_audience: str = "genai-coach-api"  # noqa: S105 - a name
    """Audience (`aud`) of access tokens."""


class RabbitMQSettings(Settings):
    """Settings of a service with RabbitMQ."""

    rabbitmq_url: RabbitMQUrl
    """URL of RabbitMQ: `amqp://user:password@host:port/vhost`."""
    rabbitmq_password: str | None = None
    """Password of the RabbitMQ user. It replaces the one in RABBITMQ_URL."""
    rabbitmq_prefetch: int = Field(default=16, ge=1, le=1000)
    """Unacknowledged messages per consumer."""

    @property
    def rabbitmq_address(self) -> str:
        """The RabbitMQ URL with its password."""
        return add_password(self.rabbitmq_url, self.rabbitmq_password)


class RedisSettings(Settings):
    """Settings of a service with rate limits. Without `redis_url` each replica counts alone."""

    redis_url: RedisUrl | None = None
    """URL of Redis, which shares counters between replicas."""
    redis_password: str | None = None
    """Password of Redis. It replaces the one in REDIS_URL."""

    @property
    def redis_address(self) -> str | None:
        """The Redis URL with its password, or None."""
        return self.redis_url and add_password(self.redis_url, self.redis_password)


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
    s3_endpoint_url: HttpUrl | None = None
    """URL of an S3-compatible storage. Default: AWS."""
    s3_public_endpoint_url: HttpUrl | None = None
    """Storage URL for clients, used in presigned URLs. Default: S3_ENDPOINT_URL."""
