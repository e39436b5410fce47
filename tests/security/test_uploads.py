"""Malicious uploads: at object storage, at the confirmation and in the decoder."""

import asyncio
import re
import struct
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from attacker import ApiUser, SystemUnderTest

from coach_common.testing.harness import http_client, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

_KEY = re.compile(
    r"uploads/[^/]+/\d{13}_[0-9a-f]{8}\.(m4a|mp4|m4v|mov|mp3|3gp|wav|webm|weba|ogg|oga|opus|aac|flac|amr|caf)"
)


def _wav(*, seconds: float = 1.0, claimed_bytes: int | None = None, channels: int = 1) -> bytes:
    """Return silence as WAV. `claimed_bytes` is the data length in its header."""
    samples = bytes(int(16_000 * seconds) * 2 * channels)
    length = len(samples) if claimed_bytes is None else claimed_bytes
    rate = 16_000 * 2 * channels
    format_chunk = struct.pack("<HHIIHH", 1, channels, 16_000, rate, 2 * channels, 16)
    return (
        b"RIFF" + struct.pack("<I", min(length + 36, 2**32 - 1)) + b"WAVEfmt "
        + struct.pack("<I", len(format_chunk)) + format_chunk
        + b"data" + struct.pack("<I", length) + samples
    )  # fmt: skip


def _object_exists(target: SystemUnderTest, key: str) -> bool:
    return (target.directory / "data" / "objects" / "genai-coach" / key).exists()


async def _put(presigned: dict[str, Any], content: bytes, **changed: Any) -> httpx.Response:
    headers = {**presigned["headers"], **changed.pop("headers", {})}
    url, method = changed.pop("url", presigned["url"]), changed.pop("method", "PUT")
    async with http_client() as store:
        return await store.request(method, url, content=content, headers=headers)


async def test_a53_presigned_url_accepts_only_the_signed_put(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    content = _wav()
    presigned = await alice.presign(size=len(content))
    other_key = (await alice.presign(size=len(content)))["key"]
    url = presigned["url"]
    query = httpx.URL(url).params
    rejected = [
        await _put(presigned, content, headers={"Content-Type": "text/html"}),
        await _put(presigned, content, headers={"Content-Type": "audio/wav; charset=x"}),
        await _put(presigned, content + b"x"),
        await _put(presigned, content[:-1]),
        await _put(presigned, content, url=url.replace(presigned["key"], other_key)),
        await _put(presigned, content, url=url.replace(presigned["key"], "uploads/x/y.wav")),
        await _put(presigned, b"", method="GET"),
        await _put(presigned, b"", method="DELETE"),
        await _put(presigned, content, method="POST"),
        await _put(presigned, content, headers={"x-amz-acl": "public-read"}),
        await _put(presigned, content, headers={"x-amz-meta-x": "y"}),
        await _put(presigned, content, headers={"x-amz-copy-source": f"/genai-coach/{other_key}"}),
        await _put(presigned, content, url=url.replace(query["X-Amz-Signature"], "0" * 64)),
        await _put(presigned, content, url=url.replace("X-Amz-Expires=900", "X-Amz-Expires=90000")),
        await _put(presigned, content, url=url + "&acl=public-read"),
        await _put(presigned, content, url=url + "&partNumber=1&uploadId=x"),
        await _put(presigned, content, url=url.partition("?")[0]),
    ]
    was_stored = [_object_exists(target, key) for key in (presigned["key"], other_key)]
    accepted = await _put(presigned, content)

    assert [response.status_code for response in rejected] == [403] * len(rejected)
    assert was_stored == [False, False]
    assert accepted.status_code == 200


async def test_a53_store_denies_anonymous_access(target: SystemUnderTest, alice: ApiUser) -> None:
    presigned = await alice.presign()
    await alice.put(presigned, _wav())
    base = str(httpx.URL(presigned["url"]).copy_with(path="/", query=None))
    async with http_client(base_url=base) as store:
        for path in (
            "",
            "genai-coach",
            "genai-coach?list-type=2",
            f"genai-coach/{presigned['key']}",
        ):
            assert (await store.get(path)).status_code == 403
            assert (await store.delete(path)).status_code == 403


@pytest.mark.parametrize("size", [0, -1, 2**63, 2**70, 0.4, "5", True, [1], 1e20])
async def test_a54_invalid_size_is_rejected(alice: ApiUser, size: object) -> None:
    response = await alice.call(
        "POST",
        "/upload/s3-presign",
        json={"content_type": "audio/wav", "extension": "wav", "size": size},
    )

    assert response.status_code == 422


async def test_a54_declared_size_above_limit_is_rejected(alice: ApiUser) -> None:
    for kind, extension, size in (("audio/wav", "wav", 101), ("video/mp4", "mp4", 501)):
        response = await alice.call(
            "POST",
            "/upload/s3-presign",
            json={"content_type": kind, "extension": extension, "size": size * 2**20},
        )
        assert response.status_code == 413


async def test_a54_object_above_limit_is_rejected_and_deleted(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    """MAX_AUDIO_BYTES is 4 MiB here. The URL limits the size only if the client declared one."""
    presigned = await alice.presign()
    assert presigned["max_size"] == 4 * 2**20
    await alice.put(presigned, _wav() + bytes(4 * 2**20))
    response = await alice.confirm(presigned["key"])

    assert response.status_code in (413, 404), "404 if the sweep was faster"

    async def is_deleted() -> bool:
        return not _object_exists(target, presigned["key"])

    await wait_until(is_deleted, description="deletion of the object")


@pytest.mark.parametrize(
    ("content_type", "extension"),
    [
        ("audio/mp4", "m4a/../../x"), ("audio/mp4", ".m4a"),
        ("audio/mp4", "m4a\n"), ("audio/mp4", "m4a\0"), ("audio/mp4", "exe"), ("audio/mp4", ""),
        ("audio/mp4", "ogg"), ("audio/wav", "webm"), ("text/html", "m4a"), ("", "m4a"),
        ("audio/mp4\r\nx-amz-acl: public-read", "m4a"), ("audio/mp4;a=\"b", "m4a"),
        ("audio/../mp4", "m4a"), ("audio/wav; a=b; " + "c" * 200, "wav"), ("audio/svg+xml", "svg"),
        ("audio/wav\u212a", "wav"), (["audio/wav"], "wav"), (None, "wav"),
    ],
)  # fmt: skip
async def test_a56_unsupported_types_and_extensions_are_rejected(
    alice: ApiUser, content_type: object, extension: str
) -> None:
    response = await alice.call(
        "POST",
        "/upload/s3-presign",
        json={"content_type": content_type, "extension": extension},
    )

    assert response.status_code in (415, 422), response.text


async def test_a56_object_keys_are_generated_by_the_service(alice: ApiUser) -> None:
    for content_type, extension in (
        ("audio/webm;codecs=opus", "webm"), ("AUDIO/MP4", "m4a"), ("audio/ogg", "opus"),
        ("audio/mpeg", "M4A"),
    ):  # fmt: skip
        presigned = await alice.presign(
            content_type=content_type, extension=extension, key="uploads/x/y.wav", user_id="x"
        )
        assert _KEY.fullmatch(presigned["key"])
        assert presigned["key"].split("/")[1] == alice.user_id


@pytest.mark.parametrize(
    ("content_type", "extension", "content"),
    [
        ("audio/mp4", "m4a", b"<html><script>alert(1)</script></html>"),
        ("audio/mp4", "m4a", b"MZ\x90\x00" + bytes(200)),
        ("audio/mp4", "m4a", b"PK\x03\x04" + bytes(200)),
        ("audio/mp4", "m4a", b'<svg xmlns="http://www.w3.org/2000/svg" onload="x"/>'),
        ("audio/mpeg", "mp3", b"<html><!-- \xff\xfb\x90\x00 ID3 -->"),
        ("audio/wav", "wav", b"RIFF" + bytes(4) + b"AVI " + bytes(100)),
        ("audio/webm", "webm", b"\x7fELF" + bytes(100)),
        ("audio/flac", "flac", b""),
        ("audio/ogg", "ogg", b"O"),
    ],
)
async def test_a57_non_media_upload_is_rejected_and_deleted_after_a_day(
    target: SystemUnderTest, alice: ApiUser, content_type: str, extension: str, content: bytes
) -> None:
    presigned = await alice.presign(content_type=content_type, extension=extension)
    await alice.put(presigned, content)
    response = await alice.confirm(presigned["key"])
    again = await alice.confirm(presigned["key"])

    expected = 415 if content else 422
    assert (response.status_code, again.status_code) == (expected, expected), response.text
    query = "SELECT julianday(due_at) - julianday('now') FROM object_deletions WHERE key = ?"
    ((days,),) = target.query("media", query, presigned["key"])
    assert days == pytest.approx(1.0 if content else 0.0, abs=0.1)
    query = "SELECT status FROM uploads WHERE key = ?"
    assert target.query("media", query, presigned["key"]) == [("rejected",)]
    assert target.query("ai", "SELECT 1 FROM recordings WHERE key = ?", presigned["key"]) == []


async def _count_confirmed_events(target: SystemUnderTest) -> int:
    """Return how many `upload.confirmed` events were published."""
    async with http_client() as client:
        metrics = (await client.get(f"{target.url}/metrics")).text
    match = re.search(r'coach_events_published_total\{.*type="upload.confirmed".*\} (\d+)', metrics)
    return 0 if match is None else int(match[1])


async def _is_settled(target: SystemUnderTest) -> bool:
    """Return True if the sweep has processed all uploads except the newest."""
    pending = target.query(
        "media", "SELECT key FROM uploads WHERE status = 'pending' ORDER BY id DESC"
    )
    return not any(_object_exists(target, key) for (key,) in pending[1:]) and await _is_published(
        target
    )


async def _is_published(target: SystemUnderTest) -> bool:
    return target.query("media", "SELECT 1 FROM outbox") == []


async def test_a58_concurrent_confirms_emit_one_event(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    presigned = await alice.presign()
    await alice.put(presigned, _wav())
    await wait_until(partial(_is_settled, target), description="earlier uploads to be processed")
    before = await _count_confirmed_events(target)
    responses = await asyncio.gather(*(alice.confirm(presigned["key"]) for _ in range(100)))

    assert {response.status_code for response in responses} == {200}
    assert len({response.text for response in responses}) == 1
    await wait_until(partial(_is_published, target), description="publication of the events")
    assert await _count_confirmed_events(target) == before + 1


async def test_a59_pending_uploads_are_limited(target: SystemUnderTest, alice: ApiUser) -> None:
    """MAX_PENDING_UPLOADS is 40 here. The default is 1,000."""
    body = {"content_type": "audio/wav", "extension": "wav"}
    responses = await asyncio.gather(
        *(alice.call("POST", "/upload/s3-presign", json=body) for _ in range(60))
    )

    assert sorted(response.status_code for response in responses) == [200] * 40 + [429] * 20
    query = "SELECT count(*) FROM uploads WHERE user_id = ?"
    assert target.query("media", query, UUID(alice.user_id).bytes) == [(40,)]


def _playlist(target: SystemUnderTest) -> bytes:
    lines = ("#EXTM3U", "#EXTINF:1,", f"{target.canary.url}/a.ts", "file:///etc/passwd")
    return bytes(4) + b"ftypM4A " + "\n".join(lines).encode()


@pytest.mark.parametrize("bomb", ["claims", "channels", "playlist", "atoms", "reference"])
async def test_a60_media_bomb_ends_in_reported_failure(
    target: SystemUnderTest, alice: ApiUser, bomb: str
) -> None:
    content, kind, extension = {
        "claims": (_wav(claimed_bytes=2**32 - 40), "audio/wav", "wav"),
        "channels": (_wav(channels=192, seconds=0.2), "audio/wav", "wav"),
        "playlist": (_playlist(target), "audio/mp4", "m4a"),
        "atoms": (
            struct.pack(">I", 16) + b"ftypM4A \0\0\0\0" + (struct.pack(">I", 8) + b"free") * 10**5,
            "audio/mp4",
            "m4a",
        ),
        "reference": (
            struct.pack(">I", 16) + b"ftypqt  \0\0\0\0" + _data_reference(target.canary.url),
            "audio/mp4",
            "m4a",
        ),
    }[bomb]
    presigned = await alice.presign(content_type=kind, extension=extension)
    await alice.put(presigned, content)
    confirmed = await alice.confirm(presigned["key"])
    assert confirmed.status_code == 200, confirmed.text
    path = f"/upload/{confirmed.json()['upload_id']}"

    async def finished_upload() -> dict[str, Any] | None:
        upload: dict[str, Any] = (await alice.call("GET", path)).json()
        return upload if upload["status"] in ("failed", "transcribed") else None

    upload = await wait_until(finished_upload, description="end of the transcription")
    assert upload["status"] == "failed"
    assert upload["reason"] and "Traceback" not in upload["reason"]
    assert "/" not in upload["reason"].replace("and/or", "")


def _data_reference(url: str) -> bytes:
    """Return a movie whose audio track references a URL."""
    location = b"url " + bytes(4) + url.encode() + b"\0"
    entry = struct.pack(">I", len(location) + 4) + location
    reference = bytes(4) + struct.pack(">I", 1) + entry
    box = struct.pack(">I", len(reference) + 8) + b"dref" + reference
    for name in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        box = struct.pack(">I", len(box) + 8) + name + box
    return box
