"""What an upload may be and do. Plain Python: no I/O, no clock, no framework."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
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

UPLOAD_URL_SECONDS = 900
PLAYBACK_URL_SECONDS = 300
MAGIC_BYTES_LENGTH = 64

_FREQUENT_CHECK_PERIOD = timedelta(minutes=5)
"""How long after its URL's expiry an upload is still looked for at every sweep."""
_GIVE_UP_AFTER = timedelta(hours=24)

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
"""The media types that are taken, each with the extensions it may have."""

_PARAMETERS = re.compile(
    r'(\s*;\s*[a-z0-9-]+=("[^"\\]{0,60}"|[a-z0-9.,+_-]{1,60}))*', re.IGNORECASE
)


class UploadNotFound(NotFound):
    """No such upload, or somebody else's."""

    code = "recording_not_found"

    def __init__(self) -> None:
        super().__init__("Recording not found")


class UploadMismatch(UnsupportedMediaType):
    """The object in the store is not what the upload was announced as."""

    code = "not_what_it_said"


class AlreadyLinked(Conflict):
    """The recording belongs to another session; a link once made is never changed."""

    code = "linked_elsewhere"

    def __init__(self) -> None:
        super().__init__("This recording already belongs to another session.")


class Status(StrEnum):
    """Where an upload stands, as the contract names it."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    TRANSCRIBING = "transcribing"
    TRANSCRIBED = "transcribed"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Upload:
    """A recording on its way into the store, or there."""

    id: UUID
    user_id: UUID
    key: str
    content_type: str
    declared_bytes: int | None
    max_bytes: int
    created_at: datetime
    url_expires_at: datetime
    session_id: UUID | None = None
    status: Status = Status.PENDING
    size_bytes: int | None = None
    etag: str | None = None
    confirmed_at: datetime | None = None
    transcript: str | None = None
    reason: str | None = None

    @property
    def is_confirmed(self) -> bool:
        """The object was confirmed; what became of it since is another matter."""
        return self.confirmed_at is not None

    def next_check_at(self, now: datetime, sweep_interval: timedelta) -> datetime | None:
        """Return when to look for the object again; None once it can be given up."""
        overdue = now - self.url_expires_at
        if overdue < _FREQUENT_CHECK_PERIOD:
            return now + sweep_interval
        if overdue < _GIVE_UP_AFTER:
            return now + max(sweep_interval, overdue / 2)
        return None


def parse_media_type(content_type: str) -> str:
    """Return the bare type, lower-case; UnsupportedType for any that is not taken."""
    base, _, _ = content_type.partition(";")
    name = base.strip().lower()
    if name not in EXTENSIONS_BY_MEDIA_TYPE:
        raise UnsupportedMediaType("This media type is not supported.")
    if not _PARAMETERS.fullmatch(content_type[len(base) :]):
        raise InvalidInput("content_type: malformed parameters")
    return name


def check_extension(name: str, extension: str) -> None:
    """Raise Invalid where a type does not have this extension."""
    if extension not in EXTENSIONS_BY_MEDIA_TYPE[name]:
        allowed = ", ".join(EXTENSIONS_BY_MEDIA_TYPE[name])
        raise InvalidInput(f"extension: must be one of {allowed} for {name}")


def build_object_key(user_id: UUID, at: datetime, random_hex: str, extension: str) -> str:
    """Return `uploads/{user}/{unix ms}_{8 hex}.{extension}`."""
    return f"uploads/{user_id}/{int(at.timestamp() * 1000)}_{random_hex}.{extension}"


def validate_object(
    upload: Upload, *, size_bytes: int, content_type: str, first_bytes: bytes
) -> None:
    """Raise where the object in the store is not what its upload was announced as."""
    if size_bytes > upload.max_bytes:
        raise PayloadTooLarge(f"The recording is larger than {upload.max_bytes // 2**20} MiB.")
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
"""How the first bytes of each type begin (ISO 14496-12, ISO 11172-3, RIFF, EBML, Ogg, FLAC)."""


def safe_public_host(host: str) -> str:
    """Return `host` where it can only mean this machine or a private network, else `localhost`."""
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
