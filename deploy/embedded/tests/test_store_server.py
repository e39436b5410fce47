"""The object storage as a separate process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coach_common.config import SettingsError, StorageSettings
from coach_common.errors import CoachError, NotFound
from coach_common.service import listen, running
from coach_common.storage import ObjectStore
from coach_common.testing.harness import http_client
from coach_embedded.store_server import StoreSettings, build

KEY = "uploads/u/1764000000000_00000000.m4a"
SECRETS = {"media": "keys of the media service", "ai": "keys of the ai service"}


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    settings = StoreSettings(
        data_dir=tmp_path,
        s3_bucket_name="coach",
        media_secret_access_key=SECRETS["media"],
        ai_secret_access_key=SECRETS["ai"],
    )
    listener = listen("127.0.0.1", 0)
    async with running(build(settings), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _client(url: str, service: str, *, bucket: str = "coach", secret: str = "") -> ObjectStore:
    return ObjectStore(
        StorageSettings(
            aws_access_key_id=service,
            aws_secret_access_key=secret or SECRETS[service],
            s3_bucket_name=bucket,
            s3_endpoint_url=url,
        )
    )


async def test_bucket_exists_at_first_start_and_server_is_ready(url: str) -> None:
    await _client(url, "media").check()

    async with http_client() as client:
        assert (await client.get(f"{url}/health/ready")).status_code == 200


async def test_both_services_read_and_write_and_only_media_deletes(url: str) -> None:
    media, ai = _client(url, "media"), _client(url, "ai")

    await ai.put_if_absent(KEY, b"sound", content_type="audio/m4a")
    assert (await media.head(KEY)).size_bytes == 5
    with pytest.raises(CoachError):
        await ai.delete(KEY)
    assert (await ai.head(KEY)).size_bytes == 5

    await media.delete(KEY)
    with pytest.raises(NotFound):
        await media.head(KEY)


async def test_presigned_url_accepts_upload(url: str) -> None:
    media = _client(url, "media")
    presigned = await media.presign_put(
        KEY, content_type="audio/m4a", size_bytes=5, expires_seconds=60
    )

    async with http_client() as client:
        headers = {"content-type": "audio/m4a"}
        assert (await client.put(presigned, content=b"sound", headers=headers)).status_code == 200


async def test_wrong_secret_and_other_bucket_are_rejected(url: str) -> None:
    for client in (
        _client(url, "media", secret="keys of another service"),
        _client(url, "media", bucket="other"),
    ):
        with pytest.raises(CoachError):
            await client.put(KEY, b"sound", content_type="audio/m4a")
        with pytest.raises(CoachError):
            await client.check()


def test_missing_keys_are_named() -> None:
    with pytest.raises(SettingsError) as error:
        StoreSettings.load()

    assert "MEDIA_SECRET_ACCESS_KEY" in str(error.value)
    assert "AI_SECRET_ACCESS_KEY" in str(error.value)
