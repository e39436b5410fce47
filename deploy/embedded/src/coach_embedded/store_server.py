"""`python -m coach_embedded.store_server`: object storage as a separate process.

It creates the bucket, and has one access key for media and one for ai.
"""

from pathlib import Path

import uvloop
from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from coach_common import logs
from coach_common.config import Settings
from coach_common.http.limits import HttpOptions
from coach_common.messaging.subscriptions import NullTransport
from coach_common.service import Service, listen, running, wait_for_shutdown
from coach_common.setting_types import Origins, SecretSetting
from coach_embedded.store import STORE_LIMITS, StoreKey, create_store_app

_AI_METHODS = frozenset({"GET", "HEAD", "PUT"})
"""ai reads recordings and writes live recordings. Only media deletes."""


class StoreSettings(Settings):
    """Settings of the object storage as a separate process."""

    port: int = Field(default=9000, ge=0, le=65535)
    """Port to listen on. 0 chooses a free port."""
    data_dir: Path = Path("/var/lib/coach")
    """Directory of the objects."""
    s3_bucket_name: str = Field(default="genai-coach", pattern=r"^[a-z0-9][a-z0-9.-]{2,62}$")
    """Bucket for recordings."""
    cors_origins: Origins = ("http://localhost:8081",)
    """Origins of web apps that may call the API from a browser, or `*` for all."""
    media_access_key_id: str = "media"
    """Access key of the media service."""
    media_secret_access_key: SecretSetting = Field(min_length=16)
    """Secret key of the media service."""
    ai_access_key_id: str = "ai"
    """Access key of the ai service."""
    ai_secret_access_key: SecretSetting = Field(min_length=16)
    """Secret key of the ai service."""


def build(settings: StoreSettings) -> Service[None]:
    """Build the object storage without starting it."""
    store = create_store_app(
        settings.data_dir / "objects",
        keys=[
            StoreKey(settings.media_access_key_id, settings.media_secret_access_key),
            StoreKey(settings.ai_access_key_id, settings.ai_secret_access_key, _AI_METHODS),
        ],
        bucket=settings.s3_bucket_name,
        cors_origins=settings.cors_origins,
    )
    app = Starlette(routes=[Route("/health/ready", _ready), Mount("/", store)])
    return Service(
        name="store",
        app=app,
        settings=settings,
        transport=NullTransport(),
        deps=None,
        http=HttpOptions(service="store", limits=STORE_LIMITS),
    )


def main() -> int:
    """Serve until SIGINT or SIGTERM."""
    settings = StoreSettings.load()
    logs.configure(level=settings.log_level, json=not settings.debug)
    uvloop.run(_serve(settings))
    return 0


async def _ready(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok", "service": "store"})


async def _serve(settings: StoreSettings) -> None:
    async with running(build(settings), listen(settings.host, settings.port)):
        await wait_for_shutdown()


if __name__ == "__main__":
    raise SystemExit(main())
