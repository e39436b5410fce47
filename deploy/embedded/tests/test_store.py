"""The embedded object storage over HTTP, as clients and services use it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from coach_common.config import Settings, StorageSettings
from coach_common.errors import Conflict, NotFound, Unavailable
from coach_common.http.limits import HttpOptions
from coach_common.service import Service, listen, running
from coach_common.storage import ObjectStore
from coach_common.testing.fakes import FakeTransport
from coach_common.testing.harness import http_client, wait_until
from coach_embedded.store import STORE_LIMITS, StoreKey, create_store_app

KEY = "uploads/u/1764000000000_00000000.m4a"


@asynccontextmanager
async def _store(directory: Path) -> AsyncIterator[ObjectStore]:
    app = create_store_app(
        directory,
        keys=[StoreKey("ACCESS", "secret")],
        bucket="coach",
        cors_origins=["http://localhost:8081"],
    )
    listener = listen("127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = StorageSettings(
        aws_access_key_id="ACCESS",
        aws_secret_access_key="secret",
        s3_bucket_name="coach",
        s3_endpoint_url=endpoint,
    )
    http = HttpOptions(service="store", limits=STORE_LIMITS)
    service = Service("store", app, Settings(), FakeTransport(), deps=None, http=http)
    async with running(service, listener):
        objects = ObjectStore(settings)
        yield objects
        await objects.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    async with _store(tmp_path) as store:
        yield store


async def _presign(store: ObjectStore, *, size: int | None = 5, seconds: int = 60) -> str:
    return await store.presign_put(
        KEY, content_type="audio/m4a", size_bytes=size, expires_seconds=seconds
    )


async def _put(url: str, body: bytes = b"hello", **headers: str) -> int:
    async with http_client() as client:
        sent = {"content-type": "audio/m4a"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return (await client.put(url, content=body, headers=sent)).status_code


async def test_presigned_put_stores_the_object(store: ObjectStore) -> None:
    assert await _put(await _presign(store)) == 200

    stored = await store.head(KEY)
    prefix, stored_again = await store.read_prefix(KEY, length=3)

    assert (stored.size_bytes, stored.content_type) == (5, "audio/m4a")
    assert prefix == b"hel"
    assert stored_again.etag == stored.etag


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"hello", {"content_type": "text/html"}),
        (b"hello more", {}),
        (b"hello", {"x_amz_acl": "public-read"}),
        (b"hello", {"x_amz_meta_owner": "me"}),
    ],
)
async def test_put_with_unsigned_changes_is_rejected(
    store: ObjectStore, body: bytes, headers: dict[str, str]
) -> None:
    assert await _put(await _presign(store), body, **headers) == 403
    with pytest.raises(NotFound):
        await store.head(KEY)


async def test_presigned_url_is_bound_to_key_and_method(store: ObjectStore) -> None:
    url = await _presign(store)

    assert await _put(url.replace("00000000.m4a", "00000001.m4a")) == 403
    assert await _put(url[:-1] + ("0" if url[-1] != "0" else "1")) == 403
    async with http_client() as client:
        assert (await client.get(url)).status_code == 403
        assert (await client.delete(url)).status_code == 403


async def test_expired_url_is_rejected(store: ObjectStore) -> None:
    url = await _presign(store, seconds=1)

    async def is_rejected() -> bool:
        return await _put(url) == 403

    assert await wait_until(is_rejected, description="the rejection of an expired URL")


@pytest.mark.parametrize(
    ("range_", "status", "content"),
    [
        ("bytes=1-2", 206, b"el"),
        ("bytes=3-", 206, b"lo"),
        ("bytes=1-99", 206, b"ello"),
        ("bytes=5-", 416, None),
        ("bytes=-2", 200, b"hello"),
        ("bytes=0-0,2-3", 200, b"hello"),
        ("bytes=3-1", 200, b"hello"),
    ],
)
async def test_ranges_follow_rfc_9110(
    store: ObjectStore, range_: str, status: int, content: bytes | None
) -> None:
    await store.put(KEY, b"hello", content_type="audio/m4a")
    url = await store.presign_get(KEY, expires_seconds=60)

    async with http_client() as client:
        part = await client.get(url, headers={"range": range_})

    assert part.status_code == status
    assert content is None or part.content == content


async def test_prefix_of_an_empty_object_is_empty(store: ObjectStore) -> None:
    await store.put(KEY, b"", content_type="audio/m4a")

    prefix, stored = await store.read_prefix(KEY, length=10)

    assert (prefix, stored.size_bytes, stored.content_type) == (b"", 0, "audio/m4a")


async def test_cors_allows_configured_origin_only(store: ObjectStore) -> None:
    url = await _presign(store)
    preflight = {"access-control-request-method": "PUT", "access-control-request-headers": "x"}
    async with http_client() as browser:
        allowed = await browser.options(
            url, headers=preflight | {"origin": "http://localhost:8081"}
        )
        denied = await browser.options(url, headers=preflight | {"origin": "http://evil.example"})

    assert allowed.headers["access-control-allow-origin"] == "http://localhost:8081"
    assert "origin" in allowed.headers["vary"].lower()
    assert "access-control-allow-origin" not in denied.headers


async def test_download_checks_etag_and_size(store: ObjectStore, tmp_path: Path) -> None:
    await store.put(KEY, b"hello", content_type="audio/m4a")
    etag = (await store.head(KEY)).etag

    file = await store.download(KEY, etag=etag, max_bytes=5, directory=tmp_path)

    assert file.read_bytes() == b"hello"
    with pytest.raises(Conflict):
        await store.download(KEY, etag="other", max_bytes=5, directory=tmp_path)
    with pytest.raises(Conflict):
        await store.download(KEY, etag=etag, max_bytes=4, directory=tmp_path)


async def test_objects_survive_restart(tmp_path: Path) -> None:
    async with _store(tmp_path) as store:
        await store.put(KEY, b"hello", content_type="audio/m4a")
    async with _store(tmp_path) as store:
        assert (await store.head(KEY)).size_bytes == 5
        await store.delete(KEY)
        await store.delete(KEY)
        with pytest.raises(NotFound):
            await store.head(KEY)


async def _put_raw(url: str, *lines: str, body: bytes) -> bytes:
    """PUT with exact header lines; return the response."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = [
        f"PUT {parts.path}?{parts.query} HTTP/1.1", f"host: {parts.netloc}",
        "content-type: audio/m4a", *lines,
    ]  # fmt: skip
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    async with asyncio.timeout(10):
        response = await reader.read(65_536)
    writer.close()
    return response


@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0", "websocket"])
async def test_put_that_offers_an_upgrade_stores_the_whole_body(
    store: ObjectStore, upgrade: str
) -> None:
    response = await _put_raw(
        await _presign(store),
        "content-length: 5",
        "connection: Upgrade, HTTP2-Settings",
        f"upgrade: {upgrade}",
        body=b"hello",
    )

    assert response.startswith(b"HTTP/1.1 200 ")
    content, _ = await store.read_prefix(KEY, length=10)
    assert content == b"hello"


async def test_rejected_put_whose_body_is_incomplete_closes_the_connection(
    store: ObjectStore,
) -> None:
    url = (await _presign(store, size=None)).replace("00000000.m4a", "00000001.m4a")

    response = await _put_raw(url, "content-length: 1000000", body=b"x" * 1000)

    assert response.startswith(b"HTTP/1.1 403 ")
    assert b"connection: close" in response


async def test_oversized_headers_are_rejected(store: ObjectStore) -> None:
    response = await _put_raw(await _presign(store), "x-large: " + "x" * 40_000, body=b"")

    assert response.startswith(b"HTTP/1.1 431 ")


def _metadata_file(directory: Path) -> Path:
    return directory / "coach" / ".nanio-meta" / f"{KEY}.json"


@pytest.mark.parametrize("content", [None, "", "{", "{}"])
async def test_missing_or_broken_metadata_is_restored_from_the_bytes(
    store: ObjectStore, tmp_path: Path, content: str | None
) -> None:
    """A crash can come after the object was renamed into place and before its metadata."""
    await store.put(KEY, b"hello", content_type="audio/m4a")
    before = await store.head(KEY)
    file = _metadata_file(tmp_path)
    file.unlink()
    if content is not None:
        file.write_text(content)

    after = await store.head(KEY)

    assert (after.etag, after.size_bytes) == (before.etag, 5)
    assert (await store.head(KEY)).etag == before.etag


async def test_metadata_of_replaced_object_is_not_used(store: ObjectStore, tmp_path: Path) -> None:
    await store.put(KEY, b"hello", content_type="audio/m4a")
    stale = _metadata_file(tmp_path).read_text()
    await asyncio.sleep(0.01)
    await store.put(KEY, b"world", content_type="audio/m4a")
    etag = (await store.head(KEY)).etag
    _metadata_file(tmp_path).write_text(stale)

    assert (await store.head(KEY)).etag == etag
    assert (await store.read_prefix(KEY, length=5))[0] == b"world"


async def test_unreadable_metadata_is_an_error_that_is_retried(
    store: ObjectStore, tmp_path: Path
) -> None:
    await store.put(KEY, b"hello", content_type="audio/m4a")
    file = _metadata_file(tmp_path)
    stored = file.read_text()
    file.unlink()
    file.mkdir()

    with pytest.raises(Unavailable):
        await store.head(KEY)

    file.rmdir()
    file.write_text(stored)
    assert (await store.head(KEY)).size_bytes == 5
