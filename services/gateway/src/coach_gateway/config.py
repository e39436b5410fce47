"""The settings of the gateway."""

import os
from typing import Any

from pydantic import AliasChoices, Field

from coach_common.config import RabbitMQSettings, RedisSettings, TokenSettings

MIB = 1024 * 1024


def _setting(name: str, formerly: str, default: float) -> Any:
    """Return a positive number that is also read under its deprecated name."""
    return Field(default=default, gt=0, validation_alias=AliasChoices(name, formerly))


class GatewaySettings(TokenSettings, RedisSettings):
    """Settings of both profiles."""

    service_token: str = Field(min_length=16)
    sessions_url: str = "http://localhost:8002"
    media_url: str = "http://localhost:8003"
    ai_url: str = "http://localhost:8004"
    cors_origins: tuple[str, ...] = ("http://localhost:8081",)
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For is used."""
    docs_enabled: bool | None = None
    """None: enabled unless in production."""

    max_body_bytes: int = Field(default=MIB, gt=0)
    max_json_depth: int = Field(default=64, gt=0)
    max_url_bytes: int = Field(default=8 * 1024, gt=0)
    max_header_bytes: int = _setting("max_header_bytes", "max_head_bytes", 32 * 1024)
    """URL and headers together."""
    max_headers: int = Field(default=100, gt=0)
    max_connections: int = Field(default=10_000, gt=0)
    header_timeout_seconds: float = _setting("header_timeout_seconds", "head_seconds", 10.0)
    """From the first byte of a request, or the connection, to the end of its headers."""
    body_chunk_timeout_seconds: float = _setting("body_chunk_timeout_seconds", "body_seconds", 20.0)
    """Between two chunks of a request body."""
    body_timeout_seconds: float = _setting("body_timeout_seconds", "request_seconds", 60.0)
    """For a whole request body."""
    write_stall_timeout_seconds: float = _setting(
        "write_stall_timeout_seconds", "unread_seconds", 30.0
    )
    """How long a client may leave a response unread."""
    upstream_max_in_flight: int = _setting("upstream_max_in_flight", "upstream_requests", 512)
    """Concurrent requests per upstream."""
    upstream_connect_timeout_seconds: float = _setting(
        "upstream_connect_timeout_seconds", "upstream_connect_seconds", 2.0
    )
    upstream_read_timeout_seconds: float = _setting(
        "upstream_read_timeout_seconds", "upstream_read_seconds", 60.0
    )

    open_requests_per_minute: int = _setting(
        "open_requests_per_minute", "open_requests_a_minute", 300
    )
    requests_per_minute: int = _setting("requests_per_minute", "requests_a_minute", 600)
    chats_per_minute: int = _setting("chats_per_minute", "chats_a_minute", 60)

    socket_auth_timeout_seconds: float = _setting(
        "socket_auth_timeout_seconds", "socket_auth_seconds", 10.0
    )
    socket_frames_per_second: int = _setting(
        "socket_frames_per_second", "socket_frames_a_second", 50
    )
    socket_write_buffer_bytes: int = _setting(
        "socket_write_buffer_bytes", "socket_unread_bytes", MIB
    )
    """How many sent bytes a client may leave unread."""
    socket_ping_interval_seconds: float = _setting(
        "socket_ping_interval_seconds", "socket_ping_seconds", 20.0
    )
    """Between two pings, and the timeout for a pong."""
    max_sockets_per_user: int = _setting("max_sockets_per_user", "max_sockets_a_user", 20)

    @property
    def has_docs(self) -> bool:
        """Whether /docs and /openapi.json are served."""
        if self.docs_enabled is None:
            return self.environment != "production"
        return self.docs_enabled


class DistributedGatewaySettings(GatewaySettings, RabbitMQSettings):
    """Settings of the distributed profile."""


def find_deprecated_settings() -> dict[str, str]:
    """Return the deprecated names that the environment sets, with their new names."""
    renamed = {
        str(old).upper(): name.upper()
        for name, field in GatewaySettings.model_fields.items()
        if isinstance(field.validation_alias, AliasChoices)
        for old in field.validation_alias.choices[1:]
    }
    return {old: new for old, new in renamed.items() if old in map(str.upper, os.environ)}
