"""Composition root of the embedded profile: five services, a broker and object storage."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import coach_ai.app
import coach_auth.app
import coach_gateway.app
import coach_media.app
import coach_sessions.app
from coach_ai.config import AiSettings
from coach_auth.config import AuthSettings
from coach_common import logs
from coach_common.config import SettingsError
from coach_common.http.limits import HttpOptions
from coach_common.messaging.sqlite_broker import SqliteBroker, SqliteTransport
from coach_common.service import Service, ShutdownDeadline, listen, running_together, upgrade
from coach_embedded.config import EmbeddedSettings, Secrets
from coach_embedded.store import STORE_LIMITS, StoreKey, create_store_app
from coach_gateway.config import GatewaySettings
from coach_media.config import MediaSettings
from coach_sessions.config import SessionsSettings

log = logs.get_logger(__name__)

_LOOPBACK = "127.0.0.1"
_LOOPBACK_IPV6 = "::1"
_BUCKET = "genai-coach"


@dataclass(frozen=True, slots=True)
class RunningSystem:
    """The addresses and the broker of a running system."""

    url: str
    store_url: str
    broker: SqliteBroker


@asynccontextmanager
async def run_system(settings: EmbeddedSettings, data_dir: Path) -> AsyncIterator[RunningSystem]:
    """Run all services in this process with their files in `data_dir` until the block ends.

    Raises:
        SettingsError: If a setting is invalid or a port is in use.
    """
    secrets = Secrets.load_or_create(data_dir)
    broker = SqliteBroker(sqlite_url(data_dir, "broker"))
    gateway_listener = _bind_gateway(settings)
    store_listener = _bind_store(settings, gateway_listener)
    auth, sessions, media, ai = (listen(_LOOPBACK, 0) for _ in range(4))

    shared = {
        "environment": settings.environment,
        "shutdown_seconds": settings.shutdown_seconds,
        "auth_url": _url(auth),
        "service_token": secrets.service_token,
    }
    store = {
        "aws_access_key_id": secrets.store_access_key,
        "aws_secret_access_key": secrets.store_secret_key,
        "aws_region": "us-east-1",
        "s3_bucket_name": _BUCKET,
        "s3_endpoint_url": _url(store_listener),
        "s3_public_endpoint_url": None,
    }
    urls = {"sessions_url": _url(sessions), "media_url": _url(media), "ai_url": _url(ai)}

    services: list[tuple[Service[object], socket.socket]] = [
        (
            Service(
                name="store",
                app=create_store_app(
                    data_dir / "objects",
                    keys=[StoreKey(secrets.store_access_key, secrets.store_secret_key)],
                    bucket=_BUCKET,
                    cors_origins=settings.cors_origins,
                ),
                settings=settings,
                transport=SqliteTransport(broker),
                deps=None,
                http=HttpOptions(service="store", limits=STORE_LIMITS),
            ),
            store_listener,
        ),
        (
            coach_auth.app.build(
                AuthSettings.load(
                    **shared,
                    database_url=sqlite_url(data_dir, "auth"),
                    secret_key=secrets.secret_key,
                    mail_dir=data_dir / "mail",
                ),
                SqliteTransport(broker),
            ),
            auth,
        ),
        (
            coach_sessions.app.build(
                SessionsSettings.load(
                    **shared, **urls, database_url=sqlite_url(data_dir, "sessions")
                ),
                SqliteTransport(broker),
            ),
            sessions,
        ),
        (
            coach_media.app.build(
                MediaSettings.load(
                    **shared,
                    **store,
                    **urls,
                    database_url=sqlite_url(data_dir, "media"),
                    presign_host_from_request=True,
                ),
                SqliteTransport(broker),
            ),
            media,
        ),
        (
            coach_ai.app.build(
                AiSettings.load(
                    **shared,
                    **store,
                    database_url=sqlite_url(data_dir, "ai"),
                    live_dir=settings.live_dir or data_dir / "live",
                    temp_dir=data_dir / "temp",
                    # Only one process at a time can use the data directory.
                    instance_id="embedded",
                ),
                SqliteTransport(broker),
            ),
            ai,
        ),
        (
            coach_gateway.app.build(
                GatewaySettings.load(**shared, **urls, cors_origins=settings.cors_origins),
                SqliteTransport(broker),
            ),
            gateway_listener,
        ),
    ]

    public = (gateway_listener, store_listener)
    await broker.open()
    for service, _ in services:
        await upgrade(service)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(broker.close)
        deadline = ShutdownDeadline()
        # They stop in reverse order. The gateway sends no requests to services that stop, and
        # jobs under way can use the store.
        for group in (services[:1], services[1:-1], services[-1:]):
            bound = [
                (
                    service,
                    [
                        listener,
                        *(_listen_on_ipv6_loopback(listener) if listener in public else []),
                    ],
                )
                for service, listener in group
            ]
            await stack.enter_async_context(running_together(bound, deadline=deadline))
        yield RunningSystem(_url(gateway_listener), _url(store_listener), broker)


def _bind_gateway(settings: EmbeddedSettings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as error:
        raise SettingsError(f"PORT {settings.port}: {error.strerror}") from None


def _bind_store(settings: EmbeddedSettings, gateway_listener: socket.socket) -> socket.socket:
    """Listen on STORE_PORT, or by default on the gateway's port + 1000 or else a free port."""
    if settings.store_port is not None:
        try:
            return listen(settings.host, settings.store_port)
        except OSError as error:
            raise SettingsError(f"STORE_PORT {settings.store_port}: {error.strerror}") from None
    preferred_port = gateway_listener.getsockname()[1] + 1000
    try:
        return listen(settings.host, preferred_port)
    except (OSError, OverflowError):
        listener = listen(settings.host, 0)
        log.warning(
            "store.port_taken", preferred_port=preferred_port, port=listener.getsockname()[1]
        )
        return listener


def _listen_on_ipv6_loopback(listener: socket.socket) -> list[socket.socket]:
    """Listen on ::1 beside 127.0.0.1, because `localhost` is either. Empty without IPv6."""
    host, port = listener.getsockname()[:2]
    if host != _LOOPBACK:
        return []
    try:
        return [listen(_LOOPBACK_IPV6, port)]
    except OSError as error:
        log.warning("ipv6_loopback.not_listening", port=port, reason=error.strerror)
        return []


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = _LOOPBACK
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def sqlite_url(data_dir: Path, name: str) -> str:
    """Return the database URL of a service's file in the data directory."""
    return f"sqlite:///{data_dir}/{name}.db"
