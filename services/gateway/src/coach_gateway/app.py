"""The composition root of the gateway."""

from collections import Counter
from functools import partial

from starlette.middleware.cors import CORSMiddleware

from coach_common import logs
from coach_common.clock import Clock, utc_now
from coach_common.messaging.subscriptions import Transport, subscribe
from coach_common.service import Service
from coach_common.tokens import JWKS_PATH, AccessTokenVerifier, JwksCache
from coach_gateway import http_protocol, sockets
from coach_gateway.access import Authenticator, RevocationList
from coach_gateway.config import GatewaySettings, find_deprecated_settings
from coach_gateway.handler import GatewayApp
from coach_gateway.limits import RateLimits
from coach_gateway.local_routes import create_local_app
from coach_gateway.push_hub import SUBSCRIPTIONS, PushHub
from coach_gateway.sockets.connection import SocketConnection, SocketLimits
from coach_gateway.sockets.frames import MAX_FRAME_BYTES
from coach_gateway.upstream_client import UpstreamClient

log = logs.get_logger(__name__)


def build(
    settings: GatewaySettings, transport: Transport, *, clock: Clock = utc_now
) -> Service[None]:
    """Build the gateway. Nothing runs yet."""
    for old, new in find_deprecated_settings().items():
        log.warning("setting.deprecated", setting=old, use=new)
    upstream_client, push_hub = UpstreamClient(settings), PushHub()
    revocations = RevocationList(upstream_client.get_auth_json, clock)
    jwks_cache = JwksCache(partial(upstream_client.get_auth_json, JWKS_PATH))
    authenticator = Authenticator(
        AccessTokenVerifier.from_settings(settings, jwks_cache), revocations
    )
    revocations.on_revoked = push_hub.close_revoked
    limits = RateLimits(
        {
            "open": settings.open_requests_per_minute,
            "user": settings.requests_per_minute,
            "chat": settings.chats_per_minute,
        },
        settings.redis_url,
    )
    health_checks = {
        "broker": transport.check,
        "auth_revocations": revocations.check_health,
        "upstreams": upstream_client.check_health,
    }
    socket_context = sockets.SocketContext(
        settings, authenticator, upstream_client, push_hub, limits, clock, Counter()
    )
    socket_limits = SocketLimits(
        settings.socket_frames_per_second, settings.socket_write_buffer_bytes
    )
    gateway = GatewayApp(
        settings,
        authenticator,
        upstream_client,
        limits,
        socket_context,
        create_local_app(settings, health_checks),
    )
    return Service(
        name="gateway",
        app=CORSMiddleware(
            gateway,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type", "x-request-id", "traceparent"],
            expose_headers=[
                "x-request-id", "retry-after",
                "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset",
            ],
            max_age=600,
        ),
        settings=settings,
        transport=transport,
        deps=None,
        subscriptions=subscribe("gateway", push_hub, SUBSCRIPTIONS, is_transient=True),
        workers={
            "revocations": revocations.poll_forever,
            "rate_limit_sync": limits.sync_forever,
            "broker": lambda: push_hub.watch_broker(transport.check),
        },
        on_close=(upstream_client.close, limits.close),
        server_options={
            "http": http_protocol.create_protocol_factory(gateway, settings),
            "ws": partial(SocketConnection, limits=socket_limits),
            "ws_max_size": MAX_FRAME_BYTES,
            "ws_ping_interval": settings.socket_ping_interval_seconds,
            "ws_ping_timeout": settings.socket_ping_interval_seconds,
        },
    )  # fmt: skip
