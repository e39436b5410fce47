"""The composition root of the gateway."""

from collections import Counter
from functools import partial

from coach_common import logs
from coach_common.client_address import TrustedProxies
from coach_common.clock import Clock, utc_now
from coach_common.http.limits import HttpLimits, HttpOptions
from coach_common.messaging.subscriptions import Transport, subscribe
from coach_common.service import Service, Worker
from coach_common.telemetry import serve_metrics
from coach_common.tokens import JWKS_PATH, AccessTokenVerifier, JwksCache
from coach_gateway.access import Authenticator, RevocationList
from coach_gateway.config import GatewaySettings, find_deprecated_settings
from coach_gateway.event_loop_watchdog import watch_event_loop
from coach_gateway.handler import GatewayApp, accepts_websocket, default_headers
from coach_gateway.limits import RateLimits, Shares
from coach_gateway.live_audio import LiveAudioClient
from coach_gateway.local_routes import create_local_app
from coach_gateway.push_hub import SUBSCRIPTIONS, PushHub
from coach_gateway.sockets.connection import SocketConnection, SocketLimits
from coach_gateway.sockets.context import SocketContext
from coach_gateway.sockets.frames import MAX_FRAME_BYTES
from coach_gateway.upstream_client import UpstreamClient

log = logs.get_logger(__name__)

_MAX_ENDING_RECORDINGS = 256
_MAX_ENDING_RECORDINGS_PER_USER = 2
"""As many as ai accepts."""


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
        settings.redis_address,
    )
    health_checks = {
        "broker": transport.check,
        "auth_revocations": revocations.check_health,
        "upstreams": upstream_client.check_health,
    }
    socket_context = SocketContext(
        settings,
        authenticator,
        upstream_client,
        LiveAudioClient(upstream_client.get_upstream("ai"), settings.service_token),
        push_hub,
        limits,
        clock,
        Counter(),
        Shares(_MAX_ENDING_RECORDINGS, _MAX_ENDING_RECORDINGS_PER_USER),
    )
    socket_limits = SocketLimits(
        settings.socket_frames_per_second,
        settings.socket_text_bytes_per_second,
        settings.socket_audio_bytes_per_second,
        settings.socket_write_buffer_bytes,
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
        app=gateway,
        settings=settings,
        transport=transport,
        deps=None,
        subscriptions=subscribe("gateway", push_hub, SUBSCRIPTIONS, is_transient=True),
        workers={
            "revocations": revocations.poll_forever,
            "rate_limit_sync": limits.sync_forever,
            "upstreams": upstream_client.maintain,
            "broker": lambda: push_hub.watch_broker(transport.check),
            "event_loop": watch_event_loop,
            **_metrics_worker(settings),
        },
        on_close=(upstream_client.close, limits.close),
        http=HttpOptions(
            service="gateway",
            limits=_http_limits(settings),
            headers=default_headers(settings),
            accepts_websocket=accepts_websocket,
            is_proxy=TrustedProxies(settings.trusted_proxies).is_trusted,
        ),
        server_options={
            "ws": partial(SocketConnection, limits=socket_limits),
            "ws_max_size": MAX_FRAME_BYTES,
            "ws_ping_interval": settings.socket_ping_interval_seconds,
            "ws_ping_timeout": settings.socket_ping_interval_seconds,
        },
    )


def _metrics_worker(settings: GatewaySettings) -> dict[str, Worker]:
    """Return a worker that serves the metrics on their own port, if they have one."""
    port = settings.metrics_port
    return {} if port is None else {"metrics": partial(serve_metrics, settings.host, port)}


def _http_limits(settings: GatewaySettings) -> HttpLimits:
    return HttpLimits(
        max_url_bytes=settings.max_url_bytes,
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        max_connections=settings.max_connections,
        max_connections_per_address=settings.max_connections_per_address,
        header_timeout_seconds=settings.header_timeout_seconds,
        body_chunk_timeout_seconds=settings.body_chunk_timeout_seconds,
        body_timeout_seconds=settings.body_timeout_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        write_stall_timeout_seconds=settings.write_stall_timeout_seconds,
    )
