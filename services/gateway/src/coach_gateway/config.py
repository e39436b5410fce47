"""The settings of the gateway."""

from pydantic import Field

from coach_common.config import RabbitMQSettings, RedisSettings, TokenSettings

MIB = 1024 * 1024


class GatewaySettings(TokenSettings, RedisSettings):
    """What the gateway reads."""

    service_token: str = Field(min_length=16)
    sessions_url: str = "http://localhost:8002"
    media_url: str = "http://localhost:8003"
    ai_url: str = "http://localhost:8004"
    cors_origins: tuple[str, ...] = ("http://localhost:8081",)
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For is believed."""
    docs_enabled: bool | None = None
    """None: everywhere but in production."""

    max_body_bytes: int = Field(default=MIB, gt=0)
    max_json_depth: int = Field(default=64, gt=0)
    max_url_bytes: int = Field(default=8 * 1024, gt=0)
    max_head_bytes: int = Field(default=32 * 1024, gt=0)
    """Address and headers together."""
    max_headers: int = Field(default=100, gt=0)
    max_connections: int = Field(default=10_000, gt=0)
    head_seconds: float = Field(default=10.0, gt=0)
    """How long a connection may take to say what it wants."""
    body_seconds: float = Field(default=20.0, gt=0)
    """How long a piece of a request's body may keep us waiting."""
    request_seconds: float = Field(default=60.0, gt=0)
    """How long all of a body may take."""
    unread_seconds: float = Field(default=30.0, gt=0)
    """How long a client may leave an answer unread before it is cut off."""
    upstream_requests: int = Field(default=512, gt=0)
    """Under way at once, for each upstream."""
    upstream_connect_seconds: float = Field(default=2.0, gt=0)
    upstream_read_seconds: float = Field(default=60.0, gt=0)

    open_requests_a_minute: int = Field(default=300, gt=0)
    requests_a_minute: int = Field(default=600, gt=0)
    chats_a_minute: int = Field(default=60, gt=0)

    socket_auth_seconds: float = Field(default=10.0, gt=0)
    socket_frames_a_second: int = Field(default=50, gt=0)
    socket_unread_bytes: int = Field(default=MIB, gt=0)
    """How much of what was sent a client may leave unread."""
    socket_ping_seconds: float = Field(default=20.0, gt=0)
    """Between two pings, and how long the answer to one may take."""
    max_sockets_a_user: int = Field(default=20, gt=0)

    @property
    def has_docs(self) -> bool:
        """Whether /docs and /openapi.json are served."""
        if self.docs_enabled is None:
            return self.environment != "production"
        return self.docs_enabled


class DistributedGatewaySettings(GatewaySettings, RabbitMQSettings):
    """The same, over RabbitMQ."""
