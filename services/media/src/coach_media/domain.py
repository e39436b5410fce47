"""Upload rules. Plain Python: no I/O, no clock, no framework."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from coach_common.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from coach_common.events.feedback import AudioCoverage

UPLOAD_URL_SECONDS = 900
PLAYBACK_URL_SECONDS = 300
MAGIC_BYTES_LENGTH = 64

_FREQUENT_CHECK_PERIOD = timedelta(minutes=5)
"""An upload is checked at every sweep until this long after its URL has expired."""
_CHECK_PERIOD = timedelta(hours=24)
"""An upload that has not arrived this long after its URL has expired is not checked again."""
_MAX_RETRY_DELAY = timedelta(hours=1)
_MAX_BACKOFF_EXPONENT = 12
_MIB = 2**20

EXTENSIONS_BY_MEDIA_TYPE: dict[str, tuple[str, ...]] = {
    "audio/m4a": ("m4a", "mp4"),
    "audio/x-m4a": ("m4a", "mp4"),
    "audio/mp4": ("m4a", "mp4"),
    "audio/mpeg": ("mp3",),
    "audio/mp3": ("mp3",),
    "audio/wav": ("wav",),
    "audio/x-wav": ("wav",),
    "audio/webm": ("webm",),
    "audio/ogg": ("ogg", "oga", "opus"),
    "audio/aac": ("aac",),
    "audio/flac": ("flac",),
    "video/mp4": ("mp4", "m4v"),
    "video/quicktime": ("mov",),
    "video/webm": ("webm",),
}
"""Accepted media types with their allowed file extensions."""

_PARAMETERS = re.compile(
    r'(\s*;\s*[a-z0-9-]+=("[^"\\]{0,60}"|[a-z0-9.,+_-]{1,60}))*', re.IGNORECASE
)


class UploadNotFound(NotFound):
    """The upload does not exist or belongs to another user."""

    code = "recording_not_found"

    def __init__(self) -> None:
        super().__init__("Recording not found")


class UploadMismatch(UnsupportedMediaType):
    """The stored object does not match the declared upload."""

    code = "not_what_it_said"


class AlreadyLinked(Conflict):
    """The recording is linked to another session. Links never change."""

    code = "linked_elsewhere"

    def __init__(self) -> None:
        super().__init__("This recording is already linked to another session.")


class UploadStatus(StrEnum):
    """UploadStatus of an upload, as shown by the API."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    TRANSCRIBING = "transcribing"
    TRANSCRIBED = "transcribed"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Upload:
    """A recording that a client uploads or has uploaded."""

    id: UUID
    user_id: UUID
    key: str
    content_type: str
    declared_bytes: int | None
    max_bytes: int
    created_at: datetime
    url_expires_at: datetime
    session_id: UUID | None = None
    status: UploadStatus = UploadStatus.PENDING
    size_bytes: int | None = None
    etag: str | None = None
    confirmed_at: datetime | None = None
    transcript: str | None = None
    audio: AudioCoverage | None = None
    reason: str | None = None

    @property
    def is_confirmed(self) -> bool:
        """True once the upload was confirmed, whatever its transcription status is."""
        return self.confirmed_at is not None

    def next_check_at(self, now: datetime, sweep_interval: timedelta) -> datetime | None:
        """Return when to check for the object again, or None after the last check.

        The interval is `sweep_interval` at first. It grows with the time since the URL expired.
        """
        overdue = now - self.url_expires_at
        if overdue < _FREQUENT_CHECK_PERIOD:
            return now + sweep_interval
        if overdue < _CHECK_PERIOD:
            return now + max(sweep_interval, overdue / 2)
        return None


@dataclass(frozen=True, slots=True)
class ObjectDeletion:
    """An object that has to be deleted from storage."""

    key: str
    due_at: datetime
    final_attempt_at: datetime
    """A presigned URL can store the object again until then, so it is deleted once more."""
    attempts: int = 0

    def retry(self, now: datetime) -> "ObjectDeletion":
        """Return this deletion after a failed attempt, due again after an exponential backoff."""
        attempts = self.attempts + 1
        delay = min(_MAX_RETRY_DELAY, timedelta(seconds=2 ** min(attempts, _MAX_BACKOFF_EXPONENT)))
        return replace(self, due_at=now + delay, attempts=attempts)

    def schedule_final_attempt(self) -> "ObjectDeletion":
        """Return this deletion after a successful attempt, due once more at `final_attempt_at`."""
        return replace(self, due_at=self.final_attempt_at, attempts=0)


def parse_media_type(content_type: str) -> str:
    """Return the lower-case media type without its parameters.

    Raises:
        UnsupportedMediaType: If the type is not accepted.
        InvalidInput: If the parameters are malformed.
    """
    base, _, _ = content_type.partition(";")
    name = base.strip().lower()
    if name not in EXTENSIONS_BY_MEDIA_TYPE:
        raise UnsupportedMediaType("This media type is not supported.")
    if not _PARAMETERS.fullmatch(content_type[len(base) :]):
        raise InvalidInput("content_type: malformed parameters")
    return name


def check_extension(name: str, extension: str) -> None:
    """Raise InvalidInput if the media type does not allow this extension."""
    if extension not in EXTENSIONS_BY_MEDIA_TYPE[name]:
        allowed = ", ".join(EXTENSIONS_BY_MEDIA_TYPE[name])
        raise InvalidInput(f"extension: must be one of {allowed} for {name}")


def build_object_key(user_id: UUID, at: datetime, random_hex: str, extension: str) -> str:
    """Return `uploads/{user}/{unix ms}_{8 hex}.{extension}`."""
    return f"uploads/{user_id}/{int(at.timestamp() * 1000)}_{random_hex}.{extension}"


def format_size(size_bytes: int) -> str:
    """Return a size for people: `100 MiB`, `1.5 MiB` or `1000 bytes`."""
    if size_bytes < _MIB:
        return f"{size_bytes} bytes"
    return f"{size_bytes / _MIB:.4g} MiB"


def validate_object(
    upload: Upload, *, size_bytes: int, content_type: str, first_bytes: bytes
) -> None:
    """Check the stored object against the declared upload.

    Args:
        upload: The upload as declared by the client.
        size_bytes: Size of the stored object.
        content_type: Content type of the stored object.
        first_bytes: The first `MAGIC_BYTES_LENGTH` bytes of the stored object.

    Raises:
        PayloadTooLarge: If the object exceeds the upload's limit.
        UploadMismatch: If the object is empty or has another size, type or content.
    """
    if size_bytes > upload.max_bytes:
        raise PayloadTooLarge(f"The recording is larger than {format_size(upload.max_bytes)}.")
    if size_bytes == 0:
        raise UploadMismatch("The recording is empty.")
    if upload.declared_bytes is not None and size_bytes != upload.declared_bytes:
        raise UploadMismatch("The file size does not match the declared size.")
    declared = parse_media_type(upload.content_type)
    if content_type.partition(";")[0].strip().lower() != declared:
        raise UploadMismatch("The file was uploaded with a different content type than declared.")
    if not _SIGNATURE_CHECKS[declared](first_bytes):
        raise UploadMismatch("The file content does not match the declared media type.")


def _is_iso_media(first_bytes: bytes) -> bool:
    return first_bytes[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def _is_mpeg_audio(first_bytes: bytes) -> bool:
    is_frame = (
        len(first_bytes) > 1
        and first_bytes[0] == 0xFF
        and first_bytes[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
    )
    return first_bytes.startswith(b"ID3") or is_frame


def _is_adts(first_bytes: bytes) -> bool:
    is_frame = len(first_bytes) > 1 and first_bytes[0] == 0xFF and first_bytes[1] & 0xF6 == 0xF0
    return is_frame or first_bytes.startswith((b"ID3", b"ADIF"))


def _is_wave(first_bytes: bytes) -> bool:
    return first_bytes[:4] in (b"RIFF", b"RF64") and first_bytes[8:12] == b"WAVE"


def _is_ebml(first_bytes: bytes) -> bool:
    return first_bytes.startswith(b"\x1a\x45\xdf\xa3")


def _is_ogg(first_bytes: bytes) -> bool:
    return first_bytes.startswith(b"OggS")


def _is_flac(first_bytes: bytes) -> bool:
    return first_bytes.startswith(b"fLaC")


_SIGNATURE_CHECKS: dict[str, Callable[[bytes], bool]] = {
    name: {
        "m4a": _is_iso_media,
        "mp4": _is_iso_media,
        "mov": _is_iso_media,
        "mp3": _is_mpeg_audio,
        "wav": _is_wave,
        "webm": _is_ebml,
        "ogg": _is_ogg,
        "aac": _is_adts,
        "flac": _is_flac,
    }[extensions[0]]
    for name, extensions in EXTENSIONS_BY_MEDIA_TYPE.items()
}
"""File signature check per media type (ISO 14496-12, ISO 11172-3, RIFF, EBML, Ogg, FLAC)."""


def safe_public_host(host: str) -> str:
    """Return `host` without its port if it is a loopback or private IP, else `localhost`."""
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return "localhost"
    if not (address.is_loopback or address.is_private) or address.is_unspecified:
        return "localhost"
    return f"[{address}]" if address.version == 6 else str(address)
