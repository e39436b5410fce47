"""Object storage: S3 or a compatible server. The only module that imports boto3.

Objects are read by presigned URLs. Everything else that blocks runs in a bounded thread pool.
"""

import asyncio
import hashlib
import random
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from coach_common.config import StorageSettings
from coach_common.errors import Conflict, NotFound, Unavailable
from coach_common.threads import run_in_thread

T = TypeVar("T")

_MAX_THREADS = 8
_CONNECT_SECONDS = 3
_READ_SECONDS = 20
_GET_SECONDS = 300
"""How long a URL is valid that this process reads from at once."""
_CHUNK_BYTES = 256 * 1024
_NOT_FOUND_CODES = {"404", "NoSuchKey", "NotFound", "NoSuchBucket"}

_NOT_FOUND = "Object not found in storage."
_REJECTED = "Storage rejected the request. Please try again."
_UNAVAILABLE = "Storage is temporarily unavailable. Please try again."

_DIGEST_NAME = "sha256"
_REJECTED_STATUSES = frozenset({400, 405, 411, 413, 414, 422})
"""Status codes of requests that the store never accepts. A wrong setting can cause a 403."""


class ObjectRejected(Unavailable):
    """The store rejected the request itself. Another attempt will probably fail as well."""


class PreconditionFailed(Conflict):
    """The object exists already."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The metadata of an object, as storage reports it."""

    key: str
    size_bytes: int
    content_type: str
    etag: str
    stored_at: datetime


class ObjectStore:
    """One bucket. Methods raise NotFound for a missing object, Unavailable if storage fails."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._bucket = settings.s3_bucket_name
        self._executor = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="store")
        self._client = self._create_client(settings.s3_endpoint_url)
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS), trust_env=False
        )
        self._signers: dict[str | None, Any] = {}

    async def head(self, key: str) -> StoredObject:
        """Return the metadata of an object."""
        response = await self._call(self._client.head_object, Bucket=self._bucket, Key=key)
        return _to_stored_object(key, response)

    async def read_prefix(self, key: str, *, length: int) -> tuple[bytes, StoredObject]:
        """Return the first bytes of an object and its metadata, from one response."""
        async with self._get(key, max_bytes=length) as response:
            if response.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                content = b""
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > length:
                        break  # The store has ignored the range.
                return content[:length], _describe_response(key, response)
        return b"", await self.head(key)  # An empty object has no first byte.

    async def download(self, key: str, *, etag: str, max_bytes: int, directory: Path) -> Path:
        """Download the object to a new file in `directory` and return its path.

        No file is left after an error or a cancellation.

        Raises:
            Conflict: If the response has another ETag than `etag`, or exceeds `max_bytes`.
            Unavailable: If the download is incomplete.
        """
        path = directory / secrets.token_hex(16)
        try:
            async with self._get(key) as response:
                stored = _describe_response(key, response)
                if stored.etag != etag:
                    raise Conflict("The recording was changed after it was confirmed.")
                if stored.size_bytes > max_bytes:
                    raise Conflict("The recording is larger than when it was confirmed.")
                path.touch(mode=0o600, exist_ok=False)
                async for chunk in response.aiter_raw(_CHUNK_BYTES):
                    await run_in_thread(self._executor, _append, path, chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    async def stream(self, key: str, *, etag: str) -> AsyncGenerator[bytes, None]:
        """Yield the object in chunks. Close the generator if it is not read to its end.

        Raises:
            Conflict: If the object has another ETag than `etag`.
            Unavailable: If storage fails, before the first chunk or after any chunk.
        """
        async with self._get(key) as response:
            if _describe_response(key, response).etag != etag:
                raise Conflict("The recording was changed after it was confirmed.")
            async for chunk in response.aiter_raw(_CHUNK_BYTES):
                yield chunk

    async def put(self, key: str, body: bytes, *, content_type: str) -> None:
        """Store `body` under `key`."""
        await self._call(
            self._client.put_object,
            Bucket=self._bucket,
            Key=key,
            Body=body,
            ContentType=content_type,
        )

    async def put_if_absent(self, key: str, body: bytes, *, content_type: str) -> None:
        """Store `body` under `key` unless the key has an object. Repeating it changes nothing.

        The object's metadata has the SHA-256 of the body, so that a repetition whose first
        response was lost is recognised. A store that ignores `If-None-Match` is checked first.

        Raises:
            Conflict: If the key has an object with another content.
            ObjectRejected: If the store rejects the object permanently.
        """
        digest = hashlib.sha256(body).hexdigest()
        stored = await self._find_digest(key)
        if stored is None:
            try:
                await self._call(
                    self._client.put_object,
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    ContentType=content_type,
                    Metadata={_DIGEST_NAME: digest},
                    IfNoneMatch="*",
                )
            except PreconditionFailed:
                stored = await self._find_digest(key)
            else:
                return
        if stored != digest:
            raise Conflict("The key already has another object.", code="already_stored")

    async def _find_digest(self, key: str) -> str | None:
        """Return the SHA-256 of an object, "" if its metadata has none, None without an object."""
        try:
            response = await self._call(self._client.head_object, Bucket=self._bucket, Key=key)
        except NotFound:
            return None
        return str(response.get("Metadata", {}).get(_DIGEST_NAME, ""))

    async def delete(self, key: str) -> None:
        """Delete the object. Does nothing if it does not exist."""
        await self._call(self._client.delete_object, Bucket=self._bucket, Key=key)

    async def presign_put(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        expires_seconds: int,
        endpoint_url: str | None = None,
    ) -> str:
        """Return a URL that accepts a PUT of this type (and size, if given) until it expires.

        `endpoint_url` overrides the public endpoint in the settings.
        """
        params: dict[str, Any] = {"Bucket": self._bucket, "Key": key, "ContentType": content_type}
        if size_bytes is not None:
            params["ContentLength"] = size_bytes
        return await self._presign("put_object", params, expires_seconds, endpoint_url)

    async def presign_get(
        self, key: str, *, expires_seconds: int, endpoint_url: str | None = None
    ) -> str:
        """Return a URL that returns the object until it expires."""
        params = {"Bucket": self._bucket, "Key": key}
        return await self._presign("get_object", params, expires_seconds, endpoint_url)

    async def check(self) -> None:
        """Raise Unavailable if the bucket does not respond."""
        try:
            await self._call(self._client.head_bucket, Bucket=self._bucket)
        except NotFound:
            raise Unavailable("The bucket does not exist.") from None

    async def close(self) -> None:
        """Close the connections and stop the thread pool."""
        await self._http.aclose()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _presign(
        self, operation: str, params: dict[str, Any], expires: int, endpoint_url: str | None
    ) -> str:
        settings = self._settings
        endpoint = endpoint_url or settings.s3_public_endpoint_url or settings.s3_endpoint_url
        if endpoint not in self._signers:
            self._signers[endpoint] = await self._run(partial(self._create_client, endpoint))
        url: str = self._signers[endpoint].generate_presigned_url(
            operation, Params=params, ExpiresIn=expires
        )
        return url

    @asynccontextmanager
    async def _get(
        self, key: str, *, max_bytes: int | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Yield the response of a GET, with a range if `max_bytes` is given.

        The presigned URL and httpx take half the time of botocore's request, and no thread.
        """
        url = self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=_GET_SECONDS
        )
        headers = {"accept-encoding": "identity"}
        if max_bytes is not None:
            headers["range"] = f"bytes=0-{max_bytes - 1}"
        try:
            response = await self._send(self._http.build_request("GET", url, headers=headers))
            async with aclosing(response):
                if response.status_code == HTTPStatus.NOT_FOUND:
                    raise NotFound(_NOT_FOUND)
                is_range_error = response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                if not (response.is_success or is_range_error):
                    raise _error_kind(response.status_code)(_REJECTED)
                yield response
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable(_UNAVAILABLE) from error

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send a GET, and once more if the first attempt fails."""
        with suppress(httpx.TransportError):
            response = await self._http.send(request, stream=True)
            if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return response
            await response.aclose()
            await asyncio.sleep(random.random())  # noqa: S311 # jitter, no secret
        return await self._http.send(request, stream=True)

    async def _call(self, operation: Callable[..., T], **params: Any) -> T:
        return await self._run(partial(operation, **params))

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_FOUND_CODES:
                raise NotFound(_NOT_FOUND) from None
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            if status == HTTPStatus.PRECONDITION_FAILED:
                raise PreconditionFailed("The key already has an object.") from None
            raise _error_kind(status)(_REJECTED) from error
        except (BotoCoreError, OSError) as error:
            raise Unavailable(_UNAVAILABLE) from error

    def _create_client(self, endpoint_url: str | None) -> Any:
        settings = self._settings
        # The names of virtual hosts have the region. Without it S3 may redirect a PUT to a bucket
        # outside us-east-1, and a certificate covers no name of a bucket with dots.
        is_path = endpoint_url is not None or "." in self._bucket
        return boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=settings.aws_region,
            aws_access_key_id=settings.aws_access_key_id,
            aws_secret_access_key=settings.aws_secret_access_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path" if is_path else "virtual"},
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                retries={"max_attempts": 2, "mode": "standard"},
                max_pool_connections=_MAX_THREADS,
                proxies={},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


def _append(path: Path, chunk: bytes) -> None:
    with path.open("ab") as file:
        file.write(chunk)


def _error_kind(status: int) -> type[Unavailable]:
    return ObjectRejected if status in _REJECTED_STATUSES else Unavailable


def _describe_response(key: str, response: httpx.Response) -> StoredObject:
    """Return the metadata of the object that a GET returns, whole or in part.

    Raises:
        Unavailable: If the response lacks it, which no S3 server does.
    """
    headers = response.headers
    is_part = response.status_code == HTTPStatus.PARTIAL_CONTENT
    try:
        size = headers["content-range"].rpartition("/")[2] if is_part else headers["content-length"]
        return StoredObject(
            key=key,
            size_bytes=int(size),
            content_type=headers.get("content-type", ""),
            etag=headers["etag"].strip('"'),
            stored_at=parsedate_to_datetime(headers["last-modified"]),
        )
    except (KeyError, ValueError) as error:
        raise Unavailable(_UNAVAILABLE) from error


def _to_stored_object(key: str, response: dict[str, Any]) -> StoredObject:
    return StoredObject(
        key=key,
        size_bytes=response["ContentLength"],
        content_type=response.get("ContentType", ""),
        etag=response["ETag"].strip('"'),
        stored_at=response["LastModified"],
    )
