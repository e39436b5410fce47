"""The composition root of the gateway."""

from collections import Counter
from functools import partial

from starlette.middleware.cors import CORSMiddleware

from coach_common.clock import Clock, utc_now
from coach_common.messaging.subscriptions import Transport, subscribe
from coach_common.service import Service
from coach_common.tokens import JWKS_PATH, AccessTokenVerifier, JwksCache
from coach_gateway import server, sockets
from coach_gateway.access import Access, EndedLogins
from coach_gateway.config import GatewaySettings
from coach_gateway.gateway import Gateway
from coach_gateway.hub import SUBSCRIPTIONS, Hub
from coach_gateway.limits import RateLimits
from coach_gateway.own import own_app
from coach_gateway.proxy import Proxy
from coach_gateway.sockets.frames import MAX_FRAME_BYTES
from coach_gateway.sockets.wire import Bounds, Wire


def build(settings: GatewaySettings, transport: Transport, *, clock: Clock = utc_now) -> Service:
    """Put the gateway together; nothing runs yet."""
    proxy, hub = Proxy(settings), Hub()
    ended = EndedLogins(proxy.ask_auth, clock)
    keys = JwksCache(partial(proxy.ask_auth, JWKS_PATH))
    access = Access(AccessTokenVerifier.from_settings(settings, keys), ended)
    ended.on_ended = hub.end_logins
    limits = RateLimits(
        {
            "open": settings.open_requests_a_minute,
            "user": settings.requests_a_minute,
            "chat": settings.chats_a_minute,
        },
        settings.redis_url,
    )
    checks = {"broker": transport.check, "sign-in": ended.ready, "upstreams": proxy.ready}
    door = sockets.Door(settings, access, proxy, hub, limits, clock, Counter())
    bounds = Bounds(settings.socket_frames_a_second, settings.socket_unread_bytes)
    gateway = Gateway(settings, access, proxy, limits, door, own_app(settings, checks))
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
        subscriptions=subscribe("gateway", hub, SUBSCRIPTIONS, is_transient=True),
        workers={
            "ended logins": ended.follow,
            "shared limits": limits.share,
            "broker": lambda: hub.watch(transport.check),
        },
        on_close=(proxy.close, limits.close),
        server_options={
            "http": server.protocol(gateway, settings),
            "ws": partial(Wire, bounds=bounds),
            "ws_max_size": MAX_FRAME_BYTES,
            "ws_ping_interval": settings.socket_ping_seconds,
            "ws_ping_timeout": settings.socket_ping_seconds,
        },
    )  # fmt: skip
