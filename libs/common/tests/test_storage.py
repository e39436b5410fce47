"""Downloads from object storage leave no file after an error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coach_common.config import StorageSettings
from coach_common.errors import CoachError
from coach_common.storage import ObjectStore

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

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = ObjectStore(
            StorageSettings(
                aws_access_key_id="a",
                aws_secret_access_key="s",
                s3_bucket_name="b",
                s3_endpoint_url=f"http://127.0.0.1:{port}",
            )
        )
        try:
            yield store, was_sent
        finally:
            may_end.set()
            await store.close()


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
