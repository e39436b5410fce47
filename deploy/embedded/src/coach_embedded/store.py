"""Object storage without a cloud: nanio, with SigV4 signatures and files on disk.

Adds what S3 does and nanio does not: CORS for browsers, the rejection of presigned requests with
unsigned `x-amz-*` headers, `If-None-Match: *` of PUT requests, ranges beyond the end of an object,
and metadata that always belongs to the stored bytes.
"""

import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from nanio.app import build_app
from nanio.auth.credentials import StaticCredentialResolver
from nanio.config import Settings
from nanio.errors import NoSuchKey, S3Error
from nanio.etag import quote_etag
from nanio.storage.backend import ObjectInfo
from nanio.storage.filesystem import FilesystemStorage
from nanio.storage.metadata import read_metadata, write_metadata
from nanio.storage.paths import metadata_path
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from coach_common import logs
from coach_common.http.limits import HttpLimits

log = logs.get_logger(__name__)

STORE_LIMITS = HttpLimits(
    max_connections_per_address=1_000, body_timeout_seconds=3_600.0, closes_early_responses=True
)
"""A recording of 500 MiB may take an hour on a slow network."""

_CLOCK_TOLERANCE_SECONDS = 0.001
_UNKNOWN_TYPE = "application/octet-stream"
_must_be_absent: ContextVar[bool] = ContextVar("must_be_absent", default=False)
_UNSIGNED_HEADER = "The request has a header that is not signed."
_NOT_ALLOWED = "This access key may not do this."
_KNOWN_RANGE = re.compile(rb"bytes=(\d+)-(\d*)")
_SIGNED_BY = re.compile(r"Credential=([^/,\s]+)/")


@dataclass(frozen=True, slots=True)
class StoreKey:
    """An access key, and the HTTP methods that it allows on objects of the bucket."""

    access_key: str
    secret_key: str
    methods: frozenset[str] = frozenset({"GET", "HEAD", "PUT", "DELETE"})


def create_store_app(
    directory: Path, *, keys: Iterable[StoreKey], bucket: str, cors_origins: Sequence[str]
) -> ASGIApp:
    """Return the ASGI app of the object storage. Creates `directory` and the bucket if missing.

    The methods of a key decide whether it can read, write and delete objects. No key can create a
    bucket, delete one, or list other buckets.
    """
    keys_by_name = {key.access_key: key for key in keys}
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / bucket).exists():
        FilesystemStorage(directory).create_bucket(bucket)
    settings = Settings(
        data_dir=directory,
        credentials=StaticCredentialResolver(
            {name: key.secret_key for name, key in keys_by_name.items()}
        ),
    )
    app = build_app(settings)
    storage = app.state.storage
    # nanio has no setting for this; all its reads of metadata go through this method.
    storage._read_or_synthesize_metadata = partial(read_or_repair_metadata, storage.data_dir)
    app.state.storage = S3Storage(storage)
    return CORSMiddleware(
        AllowedMethods(SignedHeadersOnly(ConditionalPut(KnownRanges(app))), keys_by_name, bucket),
        allow_origins=list(cors_origins),
        allow_methods=["GET", "HEAD", "PUT"],
        allow_headers=["*"],
        expose_headers=["ETag", "Content-Range", "Accept-Ranges"],
        max_age=3600,
    )


class ConditionalPut:
    """ASGI middleware that passes `If-None-Match: *` to S3Storage."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_http = scope["type"] == "http"
        _must_be_absent.set(is_http and dict(scope["headers"]).get(b"if-none-match") == b"*")
        await self._app(scope, receive, send)


class KnownRanges:
    """ASGI middleware that ignores ranges which nanio does not know (RFC 9110, section 14.2).

    Those are the last bytes, several ranges, and malformed ones: the response is the whole object.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [
                (name, value)
                for name, value in scope["headers"]
                if name != b"range" or _is_known_range(value)
            ]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)


def _is_known_range(value: bytes) -> bool:
    match = _KNOWN_RANGE.fullmatch(value)
    return match is not None and (not match[2] or int(match[1]) <= int(match[2]))


class S3Storage:
    """nanio's storage with `If-None-Match: *` and ranges beyond the end of an object.

    The key is checked before the first and after the last byte. nanio awaits nothing between that
    and the rename, so only one of several concurrent requests creates the object.
    """

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def get_object(
        self, bucket: str, key: str, *, range_start: int | None, range_end: int | None
    ) -> Any:
        """Return an object, or its bytes in the range. Raises S3Error 416 if there are none."""
        if range_start is not None:
            size = self._storage.head_object(bucket, key).size
            if range_start >= size:
                raise _s3_error(416, "InvalidRange", "The range begins behind the last byte.")
            range_end = size - 1 if range_end is None else min(range_end, size - 1)
        return await self._storage.get_object(
            bucket, key, range_start=range_start, range_end=range_end
        )

    async def put_object(
        self, bucket: str, key: str, body: AsyncIterator[bytes], **options: Any
    ) -> Any:
        """Store an object. Raises S3Error 412 if it must be absent and is not."""
        if _must_be_absent.get():
            body = self._require_absent(bucket, key, body)
        return await self._storage.put_object(bucket, key, body, **options)

    async def _require_absent(
        self, bucket: str, key: str, body: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        self._raise_if_present(bucket, key)
        async for chunk in body:
            yield chunk
        self._raise_if_present(bucket, key)

    def _raise_if_present(self, bucket: str, key: str) -> None:
        try:
            self._storage.head_object(bucket, key)
        except NoSuchKey:
            return
        raise _s3_error(412, "PreconditionFailed", "The key already has an object.")


def _s3_error(status: int, code: str, message: str) -> Exception:
    error: Exception = S3Error(message)
    error.code, error.http_status = code, status  # type: ignore[attr-defined]
    return error


def read_or_repair_metadata(data_dir: Path, bucket: str, key: str, path: Path) -> ObjectInfo:
    """Return the metadata of the object stored at `path`.

    nanio renames an object into place and then writes its metadata file. A crash in between leaves
    no metadata or that of the previous object, for which nanio reports an empty ETag or a wrong
    one. Here such metadata is calculated from the bytes and written. A metadata file that cannot be
    read for another reason raises OSError: the response is 500, which clients retry.
    """
    metadata_file = metadata_path(data_dir, bucket, key)
    try:
        stored = read_metadata(metadata_file, key)
    except (FileNotFoundError, ValueError, KeyError):
        stored = None
    status = path.stat(follow_symlinks=False)
    if stored is not None and _describes(stored, status):
        return stored
    repaired = ObjectInfo(
        key=key,
        size=status.st_size,
        etag=quote_etag(_md5(path)),
        last_modified=datetime.fromtimestamp(status.st_mtime, tz=UTC),
        content_type=_UNKNOWN_TYPE if stored is None else stored.content_type,
    )
    write_metadata(metadata_file, repaired)
    log.warning("store.metadata_repaired", key=key)
    return repaired


def _describes(info: ObjectInfo, status: os.stat_result) -> bool:
    """Return whether the metadata is about this file.

    Metadata is written after the file. An older time stands for the metadata of a replaced object.
    """
    written_at: float = info.last_modified.timestamp()
    is_newer = written_at >= status.st_mtime - _CLOCK_TOLERANCE_SECONDS
    return is_newer and int(info.size) == status.st_size


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


class AllowedMethods:
    """ASGI middleware that rejects what an access key does not allow.

    It reads the access key before the signature is verified: an unknown key is allowed nothing
    here, and a known one with a wrong signature is rejected later.
    """

    def __init__(self, app: ASGIApp, keys: Mapping[str, StoreKey], bucket: str) -> None:
        self._app = app
        self._keys = keys
        self._bucket = bucket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_allowed(scope):
            await _deny(send, _NOT_ALLOWED)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        key = self._keys.get(_access_key(scope))
        if key is None:
            # nanio answers with the error that S3 has for a missing or unknown key.
            return True
        bucket, _, object_key = scope["path"].lstrip("/").partition("/")
        methods = key.methods if object_key else {"HEAD"}
        return bucket == self._bucket and scope["method"] in methods


def _access_key(scope: Scope) -> str:
    headers = dict(scope["headers"])
    match = _SIGNED_BY.search(headers.get(b"authorization", b"").decode("latin-1"))
    if match is not None:
        return str(match[1])
    query = parse_qs(str(scope["query_string"], "latin-1"))
    return query.get("X-Amz-Credential", [""])[0].partition("/")[0]


async def _deny(send: Send, message: str) -> None:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>'
        f"<Message>{message}</Message></Error>"
    )
    headers = [(b"content-type", b"application/xml")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


class SignedHeadersOnly:
    """ASGI middleware that rejects presigned requests with unsigned `x-amz-*` headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _has_unsigned_header(scope):
            await _deny(send, _UNSIGNED_HEADER)
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
