"""The settings of the gateway."""

import os
from typing import Any

from pydantic import AliasChoices, Field

from coach_common.config import RabbitMQSettings, RedisSettings, TokenSettings
from coach_common.setting_types import HttpUrls, Network, Origins

MIB = 1024 * 1024


def _setting(name: str, formerly: str, default: float) -> Any:
    """Return a positive number that is also read under its deprecated name."""
    return Field(default=default, gt=0, validation_alias=AliasChoices(name, formerly))


class GatewaySettings(TokenSettings, RedisSettings):
    """Settings of both profiles."""

    service_token: str = Field(min_length=16)
    """Shared secret of the services. The gateway sends it to `/internal/` routes."""
    auth_url: HttpUrls = "http://localhost:8001"
    """Base URLs of the auth service, separated by commas."""
    sessions_url: HttpUrls = "http://localhost:8002"
    """Base URLs of the sessions service, separated by commas."""
    media_url: HttpUrls = "http://localhost:8003"
    """Base URLs of the media service, separated by commas."""
    ai_url: HttpUrls = "http://localhost:8004"
    """Base URLs of the ai service, separated by commas."""
    cors_origins: Origins = ("http://localhost:8081",)
    """Origins of web apps that may call the API from a browser, or `*` for all."""
    trusted_proxies: tuple[Network, ...] = ()
    """Networks whose X-Forwarded-For is used."""
    docs_enabled: bool | None = None
    """Serve `/docs` and `/openapi.json`. Default: unless ENVIRONMENT is production."""
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of `/metrics`, if clients must not read it on PORT. None: `/metrics` is on PORT."""

    max_body_bytes: int = Field(default=MIB, gt=0)
    """Largest request body."""
    max_json_depth: int = Field(default=64, gt=0)
    """Deepest nesting of a JSON request body."""
    max_url_bytes: int = Field(default=8 * 1024, gt=0)
    """Longest URL of a request."""
    max_header_bytes: int = _setting("max_header_bytes", "max_head_bytes", 32 * 1024)
    """Largest request head: URL and headers together."""
    max_headers: int = Field(default=100, gt=0)
    """Most headers of a request."""
    max_connections: int = Field(default=10_000, gt=0)
    """Open connections of clients."""
    max_connections_per_address: int = Field(default=1_000, gt=0)
    """Open connections per client address. Trusted proxies are exempt."""
    max_in_flight: int = Field(default=2_048, gt=0)
    """Requests in progress, from their headers to the end of their response."""
    max_in_flight_per_client: int = Field(default=32, gt=0)
    """Requests in progress per user, or per address on open routes."""
    max_buffered_body_bytes: int = Field(default=64 * MIB, gt=0)
    """Memory for request bodies. A client may use a sixteenth."""
    keep_alive_seconds: float = Field(default=75.0, gt=0)
    """How long an idle connection is kept."""
    header_timeout_seconds: float = _setting("header_timeout_seconds", "head_seconds", 10.0)
    """Timeout for the headers of a request, from its first byte or from the connection."""
    body_chunk_timeout_seconds: float = _setting("body_chunk_timeout_seconds", "body_seconds", 20.0)
    """Timeout between two chunks of a request body."""
    body_timeout_seconds: float = _setting("body_timeout_seconds", "request_seconds", 60.0)
    """Timeout for a whole request body."""
    write_stall_timeout_seconds: float = _setting(
        "write_stall_timeout_seconds", "unread_seconds", 30.0
    )
    """How long a client may leave a response unread."""
    upstream_max_in_flight: int = _setting("upstream_max_in_flight", "upstream_requests", 512)
    """Concurrent requests per upstream."""
    upstream_connect_timeout_seconds: float = _setting(
        "upstream_connect_timeout_seconds", "upstream_connect_seconds", 2.0
    )
    """Timeout for a connection to a service."""
    upstream_read_timeout_seconds: float = _setting(
        "upstream_read_timeout_seconds", "upstream_read_seconds", 60.0
    )
    """Timeout for a response of a service."""

    open_requests_per_minute: int = _setting(
        "open_requests_per_minute", "open_requests_a_minute", 300
    )
    """Requests per address to routes that need no access token."""
    requests_per_minute: int = _setting("requests_per_minute", "requests_a_minute", 600)
    """Requests per user."""
    chats_per_minute: int = _setting("chats_per_minute", "chats_a_minute", 60)
    """Chat requests per user."""

    socket_auth_timeout_seconds: float = _setting(
        "socket_auth_timeout_seconds", "socket_auth_seconds", 10.0
    )
    """Time for a WebSocket to authenticate."""
    socket_frames_per_second: int = _setting(
        "socket_frames_per_second", "socket_frames_a_second", 50
    )
    """Text frames, pings and pongs per WebSocket. A burst may have twice as many."""
    socket_text_bytes_per_second: int = Field(default=256 * 1024, gt=0)
    """Bytes of text per WebSocket. A burst may have 2 MiB."""
    socket_audio_bytes_per_second: int = Field(default=512 * 1024, gt=0)
    """Bytes of live audio per WebSocket. A frame counts as 1 KiB more than its length.

    The default is 16 times real time at 16 kHz and 5 times at 48 kHz. A burst may have 4 MiB."""
    socket_write_buffer_bytes: int = _setting(
        "socket_write_buffer_bytes", "socket_unread_bytes", MIB
    )
    """How many sent bytes a client may leave unread."""
    socket_ping_interval_seconds: float = _setting(
        "socket_ping_interval_seconds", "socket_ping_seconds", 20.0
    )
    """Time between two pings, and timeout for a pong."""
    max_sockets_per_user: int = _setting("max_sockets_per_user", "max_sockets_a_user", 20)
    """Open WebSockets per user."""

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
