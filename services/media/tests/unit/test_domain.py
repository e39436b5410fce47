"""Upload rules."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from coach_common.errors import InvalidInput, UnsupportedMediaType
from coach_media.domain import (
    EXTENSIONS_BY_MEDIA_TYPE,
    NotARecording,
    ObjectDeletion,
    Upload,
    build_object_key,
    format_size,
    normalize_extension,
    parse_media_type,
    safe_public_host,
    validate_object,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SWEEP = timedelta(seconds=20)
SIGNATURES = {
    "m4a": b"\0\0\0\x20ftypM4A ",
    "mp4": b"\0\0\0\x20ftypisom",
    "mov": b"\0\0\0\x14ftypqt  ",
    "mp3": b"ID3\4\0\0",
    "wav": b"RIFF\0\0\0\0WAVEfmt ",
    "webm": b"\x1a\x45\xdf\xa3",
    "ogg": b"OggS\0\2",
    "aac": b"\xff\xf1\x50\x80",
    "flac": b"fLaC\0\0",
    "amr": b"#!AMR\n",
    "caf": b"caff\0\1",
    "3gp": b"\0\0\0\x18ftyp3gp4",
    "styp": b"\0\0\0\x18stypmsdh",
    "padded mp3": bytes(300) + b"\xff\xfb\x90\x64",
}


def _upload(content_type: str = "audio/m4a") -> Upload:
    return Upload(
        UUID(int=1), UUID(int=2), "k", content_type, None, 1000, NOW, NOW + timedelta(minutes=15)
    )


@pytest.mark.parametrize("name", EXTENSIONS_BY_MEDIA_TYPE)
@pytest.mark.parametrize("found", SIGNATURES)
def test_every_recording_format_is_accepted_under_every_type(name: str, found: str) -> None:
    content_type = validate_object(_upload(name), size_bytes=9, first_bytes=SIGNATURES[found])

    assert parse_media_type(content_type) == content_type
    is_same = content_type == name
    # The same content again, under the type that was found, keeps that type.
    again = validate_object(_upload(content_type), size_bytes=9, first_bytes=SIGNATURES[found])
    assert is_same or again == content_type


@pytest.mark.parametrize(
    ("declared", "found", "content_type"),
    [
        ("audio/webm", "m4a", "audio/mp4"),
        ("video/webm", "mp4", "video/mp4"),
        ("audio/mp4", "webm", "audio/webm"),
        ("video/mp4", "webm", "video/webm"),
        ("audio/mpeg", "m4a", "audio/mp4"),
        ("audio/m4a", "caf", "audio/x-caf"),
        ("audio/m4a", "aac", "audio/aac"),
        ("audio/aac", "aac", "audio/aac"),
        ("audio/mp3", "mp3", "audio/mp3"),
        ("audio/3gpp", "3gp", "audio/3gpp"),
        ("video/quicktime", "mov", "video/quicktime"),
        ("audio/webm;codecs=opus", "webm", "audio/webm;codecs=opus"),
        ("audio/webm;codecs=opus", "ogg", "audio/ogg"),
        ("audio/mp4", "styp", "audio/mp4"),
        ("audio/mpeg", "padded mp3", "audio/mpeg"),
        ("audio/wave", "wav", "audio/wave"),
    ],
)
def test_content_type_is_the_one_of_the_content(
    declared: str, found: str, content_type: str
) -> None:
    upload = _upload(declared)

    assert validate_object(upload, size_bytes=9, first_bytes=SIGNATURES[found]) == content_type


@pytest.mark.parametrize(
    "start",
    [
        b"", b"<html>", b"MZ\x90", b"PK\3\4", b"<svg", b"#EXTM3U\n", b"RIFF\0\0\0\0AVI LIST",
        b"\x7fELF\2\1\1", b"%PDF-1.7", b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x89PNG\r\n\x1a\n",
        b"\xff\xfe<\0h\0t\0m\0l\0", bytes(100), b"GIF89a", b"{}",
    ],
)  # fmt: skip
def test_non_media_content_is_rejected(start: bytes) -> None:
    for name in EXTENSIONS_BY_MEDIA_TYPE:
        with pytest.raises(NotARecording):
            validate_object(_upload(name), size_bytes=9, first_bytes=start)


def test_media_type_parameters_are_accepted() -> None:
    assert parse_media_type("audio/webm;codecs=opus") == "audio/webm"
    assert parse_media_type('Audio/WebM; codecs="opus"') == "audio/webm"
    with pytest.raises(InvalidInput):
        parse_media_type("audio/webm; codecs=opus\r\nx-amz-acl: public-read")
    for bad in ("audio/midi", "text/html", "", "audio/webm/x"):
        with pytest.raises(UnsupportedMediaType):
            parse_media_type(bad)


@pytest.mark.parametrize("extension", ["m4a/../../x", ".m4a", "m4a\n", "exe", "wav", ""])
def test_extension_must_match_media_type(extension: str) -> None:
    with pytest.raises(InvalidInput):
        normalize_extension("audio/m4a", extension)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("audio/mpeg", "m4a"), ("video/mp4", "m4a"), ("audio/aac", "m4a"), ("audio/mp4", "aac"),
        ("audio/webm", "weba"), ("audio/wave", "wav"), ("audio/vnd.wave", "wav"),
        ("audio/x-flac", "flac"), ("audio/mp4a-latm", "m4a"), ("audio/aacp", "aac"),
        ("audio/opus", "opus"), ("audio/3gpp", "3gp"), ("video/3gpp", "3gp"), ("audio/amr", "amr"),
        ("audio/x-caf", "caf"), ("audio/m4a", "M4A"),
    ],
)  # fmt: skip
def test_names_that_recorders_use_are_accepted(name: str, extension: str) -> None:
    assert normalize_extension(parse_media_type(name), extension) == extension.lower()


def test_object_key_format() -> None:
    assert build_object_key(UUID(int=2), NOW, "0a1b2c3d", "m4a") == (
        "uploads/00000000-0000-0000-0000-000000000002/1795521600000_0a1b2c3d.m4a"
    )


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (1, "1 bytes"),
        (1000, "1000 bytes"),
        (2**20 - 1, "1048575 bytes"),
        (2**20, "1 MiB"),
        (3 * 2**19, "1.5 MiB"),
        (100 * 2**20, "100 MiB"),
    ],
)
def test_size_is_formatted_with_a_fitting_unit(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


def test_failed_object_deletion_is_retried_with_capped_backoff() -> None:
    deletion = ObjectDeletion("k", NOW, NOW)

    first = deletion.retry(NOW)
    last = deletion
    for _ in range(2000):
        last = last.retry(NOW)

    assert (first.attempts, first.due_at) == (1, NOW + timedelta(seconds=2))
    assert last.due_at == NOW + timedelta(hours=1)


def test_check_schedule_backs_off_and_ends() -> None:
    upload = _upload()
    expiry = upload.url_expires_at

    def next_after(now: datetime) -> datetime | None:
        return upload.next_check_at(now, SWEEP, due_at=now)

    assert next_after(NOW) == NOW + SWEEP
    soon = expiry + timedelta(minutes=4)
    assert next_after(soon) == soon + SWEEP
    later = expiry + timedelta(hours=2)
    assert next_after(later) == later + timedelta(hours=1)
    assert next_after(expiry + timedelta(hours=24)) is None


def test_late_check_is_not_the_last_one() -> None:
    upload = _upload()
    stepped = upload.url_expires_at + timedelta(hours=24)

    following = upload.next_check_at(stepped, SWEEP, due_at=NOW)

    assert following == stepped + timedelta(minutes=20)
    assert upload.next_check_at(following, SWEEP, due_at=following) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("10.0.2.2:8000", "10.0.2.2"),
        ("192.168.1.20", "192.168.1.20"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "[::1]"),
        ("localhost:8000", "localhost"),
        ("evil.example", "localhost"),
        ("8.8.8.8", "localhost"),
        ("169.254.169.254.evil", "localhost"),
        ("0.0.0.0", "localhost"),
        ("", "localhost"),
    ],
)
def test_only_private_hosts_appear_in_presigned_urls(host: str, expected: str) -> None:
    assert safe_public_host(host) == expected
