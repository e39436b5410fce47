"""Recordings that are not what they say: at the store, at the confirm, and in the decoder."""

import asyncio
import re
import struct
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from attacker import ApiUser, SystemUnderTest

from coach_common.testing.harness import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

_KEY = re.compile(r"uploads/[^/]+/\d{13}_[0-9a-f]{8}\.(m4a|mp4|mp3|wav|webm|ogg|oga|opus|aac|flac)")


def _wav(*, seconds: float = 1.0, claims: int | None = None, channels: int = 1) -> bytes:
    """Return silence, whose header may claim to be any number of bytes."""
    sound = bytes(int(16_000 * seconds) * 2 * channels)
    length = len(sound) if claims is None else claims
    rate = 16_000 * 2 * channels
    form = struct.pack("<HHIIHH", 1, channels, 16_000, rate, 2 * channels, 16)
    return (
        b"RIFF" + struct.pack("<I", min(length + 36, 2**32 - 1)) + b"WAVEfmt "
        + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", length) + sound
    )  # fmt: skip


def _object_exists(target: SystemUnderTest, key: str) -> bool:
    return (target.folder / "data" / "objects" / "genai-coach" / key).exists()


async def _put(place: dict[str, Any], content: bytes, **changed: Any) -> httpx.Response:
    headers = {**place["headers"], **changed.pop("headers", {})}
    url, method = changed.pop("url", place["url"]), changed.pop("method", "PUT")
    async with httpx.AsyncClient() as store:
        return await store.request(method, url, content=content, headers=headers)


async def test_a53_presigned_url_accepts_only_the_signed_put(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    content = _wav()
    place = await alice.presign(size=len(content))
    other = await alice.presign(size=len(content))
    url = place["url"]
    query = httpx.URL(url).params
    refused = [
        await _put(place, content, headers={"Content-Type": "text/html"}),
        await _put(place, content, headers={"Content-Type": "audio/wav; charset=x"}),
        await _put(place, content + b"x"),
        await _put(place, content[:-1]),
        await _put(place, content, url=url.replace(place["key"], other["key"])),
        await _put(place, content, url=url.replace(place["key"], "uploads/x/y.wav")),
        await _put(place, b"", method="GET"),
        await _put(place, b"", method="DELETE"),
        await _put(place, content, method="POST"),
        await _put(place, content, headers={"x-amz-acl": "public-read"}),
        await _put(place, content, headers={"x-amz-meta-x": "y"}),
        await _put(place, content, headers={"x-amz-copy-source": f"/genai-coach/{other['key']}"}),
        await _put(place, content, url=url.replace(query["X-Amz-Signature"], "0" * 64)),
        await _put(place, content, url=url.replace("X-Amz-Expires=900", "X-Amz-Expires=90000")),
        await _put(place, content, url=url + "&acl=public-read"),
        await _put(place, content, url=url + "&partNumber=1&uploadId=x"),
        await _put(place, content, url=url.partition("?")[0]),
    ]
    was_stored = [_object_exists(target, one["key"]) for one in (place, other)]
    taken = await _put(place, content)

    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert was_stored == [False, False]
    assert taken.status_code == 200


async def test_a53_store_denies_anonymous_access(target: SystemUnderTest, alice: ApiUser) -> None:
    place = await alice.presign()
    await alice.put(place, _wav())
    base = str(httpx.URL(place["url"]).copy_with(path="/", query=None))
    async with httpx.AsyncClient(base_url=base) as store:
        for path in ("", "genai-coach", "genai-coach?list-type=2", f"genai-coach/{place['key']}"):
            assert (await store.get(path)).status_code == 403
            assert (await store.delete(path)).status_code == 403


@pytest.mark.parametrize("size", [0, -1, 2**63, 2**70, 1.5, "5", True, [1], 1e20])
async def test_a54_invalid_size_is_rejected(alice: ApiUser, size: object) -> None:
    answer = await alice.call(
        "POST",
        "/upload/s3-presign",
        json={"content_type": "audio/wav", "extension": "wav", "size": size},
    )

    assert answer.status_code == 422


async def test_a54_a_size_above_the_limit_is_refused(alice: ApiUser) -> None:
    for kind, extension, size in (("audio/wav", "wav", 101), ("video/mp4", "mp4", 501)):
        answer = await alice.call(
            "POST",
            "/upload/s3-presign",
            json={"content_type": kind, "extension": extension, "size": size * 2**20},
        )
        assert answer.status_code == 413


async def test_a54_an_object_above_the_limit_is_refused_and_removed(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    """MAX_AUDIO_BYTES is 4 MiB here; the URL itself bounds a size only where one was said."""
    place = await alice.presign()
    assert place["max_size"] == 4 * 2**20
    await alice.put(place, _wav() + bytes(4 * 2**20))
    answer = await alice.confirm(place["key"])

    assert answer.status_code in (413, 404), "or the sweep was faster"

    async def removed() -> bool:
        return not _object_exists(target, place["key"])

    await wait_until(removed, description="the removal of the object", timeout_seconds=60)


@pytest.mark.parametrize(
    ("content_type", "extension"),
    [
        ("audio/mp4", "m4a/../../x"), ("audio/mp4", ".m4a"), ("audio/mp4", "M4A"),
        ("audio/mp4", "m4a\n"), ("audio/mp4", "m4a\0"), ("audio/mp4", "exe"), ("audio/mp4", ""),
        ("audio/mp4", "mp3"), ("audio/wav", "webm"), ("text/html", "m4a"), ("", "m4a"),
        ("audio/mp4\r\nx-amz-acl: public-read", "m4a"), ("audio/mp4;a=\"b", "m4a"),
        ("audio/../mp4", "m4a"), ("audio/wav; a=b; " + "c" * 200, "wav"), ("audio/svg+xml", "svg"),
        ("audio/wav\u212a", "wav"), (["audio/wav"], "wav"), (None, "wav"),
    ],
)  # fmt: skip
async def test_a56_unsupported_types_and_extensions_are_rejected(
    alice: ApiUser, content_type: object, extension: str
) -> None:
    answer = await alice.call(
        "POST",
        "/upload/s3-presign",
        json={"content_type": content_type, "extension": extension},
    )

    assert answer.status_code in (415, 422), answer.text


async def test_a56_object_keys_are_generated_by_the_service(alice: ApiUser) -> None:
    for content_type, extension in (
        ("audio/webm;codecs=opus", "webm"), ("AUDIO/MP4", "m4a"), ("audio/ogg", "opus"),
    ):  # fmt: skip
        place = await alice.presign(
            content_type=content_type, extension=extension, key="uploads/x/y.wav", user_id="x"
        )
        assert _KEY.fullmatch(place["key"])
        assert place["key"].split("/")[1] == alice.user_id


@pytest.mark.parametrize(
    ("content_type", "extension", "content"),
    [
        ("audio/mp4", "m4a", b"<html><script>alert(1)</script></html>"),
        ("audio/mp4", "m4a", b"MZ\x90\x00" + bytes(200)),
        ("audio/mp4", "m4a", b"PK\x03\x04" + bytes(200)),
        ("audio/mp4", "m4a", b'<svg xmlns="http://www.w3.org/2000/svg" onload="x"/>'),
        ("audio/mpeg", "mp3", b"<html><!-- \xff\xfb\x90\x00 ID3 -->"),
        ("audio/wav", "wav", b"RIFF" + bytes(4) + b"AVI " + bytes(100)),
        ("audio/webm", "webm", _wav()),
        ("audio/flac", "flac", b""),
        ("audio/ogg", "ogg", b"O"),
    ],
)
async def test_a57_non_media_upload_is_rejected_and_deleted(
    target: SystemUnderTest, alice: ApiUser, content_type: str, extension: str, content: bytes
) -> None:
    place = await alice.presign(content_type=content_type, extension=extension)
    await alice.put(place, content)
    answer = await alice.confirm(place["key"])
    again = await alice.confirm(place["key"])

    assert answer.status_code in (413, 415, 422), answer.text
    assert again.status_code >= 400

    async def removed() -> bool:
        return not _object_exists(target, place["key"])

    await wait_until(removed, description="the removal of the object", timeout_seconds=60)
    query = "SELECT status FROM uploads WHERE key = ?"
    assert target.query("media", query, place["key"]) == [("rejected",)]
    assert target.query("ai", "SELECT 1 FROM recordings WHERE key = ?", place["key"]) == []


async def _announced(target: SystemUnderTest) -> int:
    """Return how many `upload.confirmed` were published so far."""
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{target.url}/metrics")).text
    found = re.search(r'coach_events_published_total\{.*type="upload.confirmed".*\} (\d+)', told)
    return 0 if found is None else int(found[1])


async def _is_settled(target: SystemUnderTest) -> bool:
    """Tell whether no upload but the newest waits for the sweep to find its object."""
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
    place = await alice.presign()
    await alice.put(place, _wav())
    await wait_until(partial(_is_settled, target), description="the end of other sweeps")
    before = await _announced(target)
    answers = await asyncio.gather(*(alice.confirm(place["key"]) for _ in range(100)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    await wait_until(partial(_is_published, target), description="the publishing")
    assert await _announced(target) == before + 1


async def test_a59_pending_uploads_are_limited(target: SystemUnderTest, alice: ApiUser) -> None:
    """At most 40 may be pending here (MAX_PENDING_UPLOADS; by default 1,000)."""
    body = {"content_type": "audio/wav", "extension": "wav"}
    answers = await asyncio.gather(
        *(alice.call("POST", "/upload/s3-presign", json=body) for _ in range(60))
    )

    assert sorted(answer.status_code for answer in answers) == [200] * 40 + [429] * 20
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
        "claims": (_wav(claims=2**32 - 40), "audio/wav", "wav"),
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
    place = await alice.presign(content_type=kind, extension=extension)
    await alice.put(place, content)
    confirmed = await alice.confirm(place["key"])
    assert confirmed.status_code == 200, confirmed.text
    path = f"/upload/{confirmed.json()['upload_id']}"

    async def ended() -> dict[str, Any] | None:
        upload: dict[str, Any] = (await alice.call("GET", path)).json()
        return upload if upload["status"] in ("failed", "transcribed") else None

    upload = await wait_until(ended, description="the end of the transcription", timeout_seconds=60)
    assert upload["status"] == "failed"
    assert upload["reason"] and "Traceback" not in upload["reason"]
    assert "/" not in upload["reason"].replace("and/or", "")


def _data_reference(url: str) -> bytes:
    """Return a movie whose sound is said to lie at an address."""
    place = b"url " + bytes(4) + url.encode() + b"\0"
    entry = struct.pack(">I", len(place) + 4) + place
    reference = bytes(4) + struct.pack(">I", 1) + entry
    box = struct.pack(">I", len(reference) + 8) + b"dref" + reference
    for name in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        box = struct.pack(">I", len(box) + 8) + name + box
    return box
