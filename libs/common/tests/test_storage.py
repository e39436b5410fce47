"""Reading from object storage: repeated once, and no file is left after an error."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from coach_common.config import StorageSettings
from coach_common.errors import CoachError, Unavailable
from coach_common.storage import ObjectStore

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEAD = (
    b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 1000000\r\n'
    b"Last-Modified: Tue, 24 Nov 2026 12:00:00 GMT\r\nConnection: close\r\n\r\n"
)


@asynccontextmanager
async def _store(*, is_hanging: bool) -> AsyncIterator[tuple[ObjectStore, asyncio.Event]]:
    """Yield a store whose server sends 300 kB of 1 MB, then closes or waits."""
    was_sent = asyncio.Event()
    may_end = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + bytes(300_000))
        await writer.drain()
        was_sent.set()
        if is_hanging:
            await may_end.wait()
        writer.close()

    async with _open_served_store(serve) as store:
        try:
            yield store, was_sent
        finally:
            may_end.set()


@pytest.mark.parametrize(("etag", "max_bytes"), [("abc", 10**6), ("other", 10**6), ("abc", 1)])
async def test_failed_download_leaves_no_file(tmp_path: Path, etag: str, max_bytes: int) -> None:
    async with _store(is_hanging=False) as (store, _):
        with pytest.raises(CoachError):
            await store.download("k", etag=etag, max_bytes=max_bytes, directory=tmp_path)

    assert list(tmp_path.iterdir()) == []


async def test_cancelled_download_leaves_no_file(tmp_path: Path) -> None:
    async with _store(is_hanging=True) as (store, was_sent):
        download = asyncio.create_task(
            store.download("k", etag="abc", max_bytes=10**6, directory=tmp_path)
        )
        await was_sent.wait()
        async with asyncio.timeout(10):
            while not any(tmp_path.iterdir()):
                await asyncio.sleep(0.01)
        download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download
        assert list(tmp_path.iterdir()) == []

    async with asyncio.timeout(10):
        while any(tmp_path.iterdir()):
            await asyncio.sleep(0.01)


OBJECT = (
    b'HTTP/1.1 206 Partial Content\r\nETag: "abc"\r\nContent-Length: 3\r\n'
    b"Content-Range: bytes 0-2/9\r\nLast-Modified: Tue, 24 Nov 2026 12:00:00 GMT\r\n\r\nRIF"
)
FAILURE = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def _answering_store(*answers: bytes) -> AsyncIterator[tuple[ObjectStore, list[int]]]:
    """Yield a store with these responses, and the numbers of the connections of its requests.

    An empty response closes the connection.
    """
    remaining = list(answers)
    requests: list[int] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        number = connections
        while remaining and (await reader.readline()):
            await reader.readuntil(b"\r\n\r\n")
            requests.append(number)
            answer = remaining.pop(0)
            writer.write(answer)
            if not answer:
                break
        writer.close()

    async with _open_served_store(serve) as store:
        yield store, requests


@pytest.mark.parametrize("first", [FAILURE, b""])
async def test_read_is_repeated_once(first: bytes) -> None:
    async with _answering_store(first, OBJECT) as (store, requests):
        content, stored = await store.read_prefix("k", length=3)

    assert (content, stored.size_bytes, stored.etag) == (b"RIF", 9, "abc")
    assert len(requests) == 2


async def test_second_failure_is_reported() -> None:
    async with _answering_store(FAILURE, FAILURE) as (store, _):
        with pytest.raises(Unavailable):
            await store.read_prefix("k", length=3)


async def test_read_of_a_prefix_keeps_the_connection() -> None:
    async with _answering_store(OBJECT, OBJECT) as (store, requests):
        for _ in range(2):
            await store.read_prefix("k", length=3)

    assert requests == [1, 1]


async def test_response_without_metadata_is_unavailable() -> None:
    async with _answering_store(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nR") as (store, _):
        with pytest.raises(Unavailable):
            await store.read_prefix("k", length=3)


@pytest.mark.parametrize(
    ("bucket", "host"),
    [
        ("recordings", "recordings.s3.eu-central-1.amazonaws.com"),
        ("my.recordings", "s3.eu-central-1.amazonaws.com"),
    ],
)
async def test_url_for_s3_names_the_region(bucket: str, host: str) -> None:
    """The global host may answer a PUT with a redirect, which phones do not follow."""
    store = _open_store(None, bucket=bucket)

    url = await store.presign_put(
        "k", content_type="audio/mp4", size_bytes=None, expires_seconds=60
    )

    assert httpx.URL(url).host == host
    await store.close()


@asynccontextmanager
async def _open_served_store(serve: Serve) -> AsyncIterator[ObjectStore]:
    """Yield a store whose server handles each connection with `serve`."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        store = _open_store(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            yield store
        finally:
            await store.close()


def _open_store(endpoint_url: str | None, *, bucket: str = "bucket") -> ObjectStore:
    return ObjectStore(
        StorageSettings(
            aws_access_key_id="a",
            aws_secret_access_key="s",
            aws_region="eu-central-1",
            s3_bucket_name=bucket,
            s3_endpoint_url=endpoint_url,
        )
    )
