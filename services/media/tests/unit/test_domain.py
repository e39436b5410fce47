"""What an upload may be."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from coach_common.errors import Invalid, UnsupportedType
from coach_media.domain import (
    EXTENSIONS,
    Upload,
    check_extension,
    check_object,
    media_type,
    new_key,
    public_host,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SWEEP = timedelta(seconds=20)
STARTS = {
    "m4a": b"\0\0\0\x20ftypM4A ",
    "mp4": b"\0\0\0\x20ftypisom",
    "mov": b"\0\0\0\x14ftypqt  ",
    "mp3": b"ID3\4\0\0",
    "wav": b"RIFF\0\0\0\0WAVEfmt ",
    "webm": b"\x1a\x45\xdf\xa3",
    "ogg": b"OggS\0\2",
    "aac": b"\xff\xf1\x50\x80",
    "flac": b"fLaC\0\0",
}


def _upload(content_type: str = "audio/m4a") -> Upload:
    return Upload(
        UUID(int=1), UUID(int=2), "k", content_type, None, 1000, NOW, NOW + timedelta(minutes=15)
    )


@pytest.mark.parametrize("name", EXTENSIONS)
def test_each_type_is_known_by_its_first_bytes_and_by_no_others(name: str) -> None:
    family = EXTENSIONS[name][0]
    iso = ("m4a", "mp4", "mov")
    for other, start in STARTS.items():
        is_same = other == family or (other in iso and family in iso)
        is_same = is_same or (family == "aac" and other == "mp3")
        if is_same:
            check_object(_upload(name), size_bytes=9, content_type=name, start=start)
        else:
            with pytest.raises(UnsupportedType):
                check_object(_upload(name), size_bytes=9, content_type=name, start=start)


@pytest.mark.parametrize("start", [b"", b"<html>", b"MZ\x90", b"PK\3\4", b"<svg", b"#EXTM3U\n"])
def test_what_is_no_recording_is_rejected_under_every_type(start: bytes) -> None:
    for name in EXTENSIONS:
        with pytest.raises(UnsupportedType):
            check_object(_upload(name), size_bytes=9, content_type=name, start=start)


def test_types_may_carry_parameters() -> None:
    assert media_type("audio/webm;codecs=opus") == "audio/webm"
    assert media_type('Audio/WebM; codecs="opus"') == "audio/webm"
    with pytest.raises(Invalid):
        media_type("audio/webm; codecs=opus\r\nx-amz-acl: public-read")
    for bad in ("audio/midi", "text/html", "", "audio/webm/x"):
        with pytest.raises(UnsupportedType):
            media_type(bad)


@pytest.mark.parametrize("extension", ["m4a/../../x", ".m4a", "M4A", "m4a\n", "exe", "wav", ""])
def test_an_extension_that_does_not_belong_is_refused(extension: str) -> None:
    with pytest.raises(Invalid):
        check_extension("audio/m4a", extension)


def test_a_key_says_whose_it_is_and_nothing_a_client_chose() -> None:
    assert new_key(UUID(int=2), NOW, "0a1b2c3d", "m4a") == (
        "uploads/00000000-0000-0000-0000-000000000002/1795521600000_0a1b2c3d.m4a"
    )


def test_an_upload_is_looked_for_closely_then_ever_less_then_given_up() -> None:
    upload = _upload()
    expiry = upload.url_expires_at

    assert upload.next_look(NOW, SWEEP) == NOW + SWEEP
    assert upload.next_look(expiry + timedelta(minutes=4), SWEEP) == (
        expiry + timedelta(minutes=4) + SWEEP
    )
    later = expiry + timedelta(hours=2)
    assert upload.next_look(later, SWEEP) == later + timedelta(hours=1)
    assert upload.next_look(expiry + timedelta(hours=24), SWEEP) is None


@pytest.mark.parametrize(
    ("host", "shown"),
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
def test_only_a_private_host_is_echoed_into_a_url(host: str, shown: str) -> None:
    assert public_host(host) == shown
