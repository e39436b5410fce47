"""The whole system in straight lines: five services, a durable queue, an object store."""

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
from coach_common.messaging.in_process import InProcessBroker, InProcessTransport
from coach_common.service import Service, listen, running, upgrade
from coach_embedded.config import EmbeddedSettings, Secrets
from coach_embedded.store import create_store_app
from coach_gateway.config import GatewaySettings
from coach_media.config import MediaSettings
from coach_sessions.config import SessionsSettings

log = logs.get(__name__)

_LOOPBACK = "127.0.0.1"
_BUCKET = "genai-coach"


@dataclass(frozen=True, slots=True)
class System:
    """Where a running system listens, and its queue."""

    url: str
    store_url: str
    broker: InProcessBroker


@asynccontextmanager
async def system(settings: EmbeddedSettings, folder: Path) -> AsyncIterator[System]:
    """Run everything in this process, on the files in `folder`, while the block lasts."""
    secrets = Secrets.kept_in(folder)
    broker = InProcessBroker(sqlite_url(folder, "broker"))
    door = _listen_as_asked(settings)
    store_door = _listen_for_store(settings, door)
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
        "s3_endpoint_url": _url(store_door),
        "s3_public_endpoint_url": None,
    }
    urls = {"sessions_url": _url(sessions), "media_url": _url(media), "ai_url": _url(ai)}

    services: list[tuple[Service, socket.socket]] = [
        (
            Service(
                name="store",
                app=create_store_app(
                    folder / "objects",
                    access_key=secrets.store_access_key,
                    secret_key=secrets.store_secret_key,
                    bucket=_BUCKET,
                    cors_origins=settings.cors_origins,
                ),
                settings=settings,
                transport=InProcessTransport(broker),
            ),
            store_door,
        ),
        (
            coach_auth.app.build(
                AuthSettings.load(
                    **shared, database_url=sqlite_url(folder, "auth"), secret_key=secrets.secret_key
                ),
                InProcessTransport(broker),
            ),
            auth,
        ),
        (
            coach_sessions.app.build(
                SessionsSettings.load(**shared, database_url=sqlite_url(folder, "sessions")),
                InProcessTransport(broker),
            ),
            sessions,
        ),
        (
            coach_media.app.build(
                MediaSettings.load(
                    **shared,
                    **store,
                    **urls,
                    database_url=sqlite_url(folder, "media"),
                    presign_host_from_request=True,
                ),
                InProcessTransport(broker),
            ),
            media,
        ),
        (
            coach_ai.app.build(
                AiSettings.load(**shared, **store, database_url=sqlite_url(folder, "ai")),
                InProcessTransport(broker),
            ),
            ai,
        ),
        (
            coach_gateway.app.build(
                GatewaySettings.load(**shared, **urls, cors_origins=settings.cors_origins),
                InProcessTransport(broker),
            ),
            door,
        ),
    ]

    await broker.open()
    for service, _ in services:
        await upgrade(service)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(broker.close)
        for service, listener in services:
            await stack.enter_async_context(running(service, listener))
        yield System(_url(door), _url(store_door), broker)


def _listen_as_asked(settings: EmbeddedSettings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as error:
        raise SettingsError(f"PORT {settings.port}: {error.strerror}") from None


def _listen_for_store(settings: EmbeddedSettings, door: socket.socket) -> socket.socket:
    """Listen on STORE_PORT; by default 1000 above the door's, else a free one, with a warning."""
    if settings.store_port is not None:
        try:
            return listen(settings.host, settings.store_port)
        except OSError as error:
            raise SettingsError(f"STORE_PORT {settings.store_port}: {error.strerror}") from None
    wanted = door.getsockname()[1] + 1000
    try:
        return listen(settings.host, wanted)
    except (OSError, OverflowError):
        free = listen(settings.host, 0)
        log.warning("store.port_taken", wanted=wanted, port=free.getsockname()[1])
        return free


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{_LOOPBACK if ip_address(host).is_unspecified else host}:{port}"


def sqlite_url(folder: Path, name: str) -> str:
    """Return where a service's tables lie in the data folder."""
    return f"sqlite:///{folder}/{name}.db"
