"""Object storage of the embedded profile: nanio, with SigV4 signatures and files on disk.

Adds two things that S3 does and nanio does not: CORS for browsers, and the rejection of presigned
requests with unsigned `x-amz-*` headers.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs

from nanio.app import build_app
from nanio.auth.credentials import StaticCredentialResolver
from nanio.config import Settings
from nanio.storage.filesystem import FilesystemStorage
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>'
    b"<Message>The request has a header that is not signed.</Message></Error>"
)


def create_store_app(
    directory: Path, *, access_key: str, secret_key: str, bucket: str, cors_origins: Sequence[str]
) -> ASGIApp:
    """Return the ASGI app of the object storage. Creates `directory` and the bucket if missing."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / bucket).exists():
        FilesystemStorage(directory).create_bucket(bucket)
    settings = Settings(
        data_dir=directory, credentials=StaticCredentialResolver({access_key: secret_key})
    )
    return CORSMiddleware(
        SignedHeadersOnly(build_app(settings)),
        allow_origins=list(cors_origins),
        allow_methods=["GET", "HEAD", "PUT"],
        allow_headers=["*"],
        expose_headers=["ETag", "Content-Range", "Accept-Ranges"],
        max_age=3600,
    )


class SignedHeadersOnly:
    """ASGI middleware that rejects presigned requests with unsigned `x-amz-*` headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _has_unsigned_header(scope):
            headers = [(b"content-type", b"application/xml")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": _DENIED})
            return
        await self._app(scope, receive, send)


def _has_unsigned_header(scope: Scope) -> bool:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    signed = query.get("X-Amz-SignedHeaders")
    if signed is None:
        return False
    names = set(signed[0].split(";"))
    return any(
        name.startswith(b"x-amz-") and name.decode("latin-1") not in names
        for name, _ in scope["headers"]
    )
