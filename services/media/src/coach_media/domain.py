"""Upload rules. Plain Python: no I/O, no clock, no framework."""

import ipaddress
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from coach_common.errors import (
    CoachError,
    Conflict,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from coach_common.events.feedback import AudioCoverage
from coach_common.recordings import Format, detect_format

UPLOAD_URL_SECONDS = 900
PLAYBACK_URL_SECONDS = 300

FREQUENT_CHECK_PERIOD = timedelta(minutes=5)
"""An upload is checked at every sweep until this long after its URL has expired."""
RECHECK_AFTER_EXPIRY = timedelta(minutes=1)
"""An object is checked or deleted again this long after its upload URL has expired."""
_CHECK_PERIOD = timedelta(hours=24)
"""An upload that has not arrived this long after its URL has expired is not checked again."""
MAX_CHECK_INTERVAL = _CHECK_PERIOD / 2
"""The longest interval between two checks of an upload."""
_MAX_RETRY_DELAY = timedelta(hours=1)
_MAX_BACKOFF_EXPONENT = 12
_MIB = 2**20

MAX_UPLOADS_PER_SESSION = 20
REJECTED_OBJECT_RETENTION = timedelta(days=1)
"""How long the object of a rejected upload is kept."""


_MP4_EXTENSIONS = ("m4a", "mp4", "m4v", "mov", "aac", "mp3", "3gp")
_WAVE_EXTENSIONS = ("wav",)
_WEBM_EXTENSIONS = ("webm", "weba")
_OGG_EXTENSIONS = ("ogg", "oga", "opus")

EXTENSIONS_BY_MEDIA_TYPE: dict[str, tuple[str, ...]] = {
    "audio/m4a": _MP4_EXTENSIONS,
    "audio/x-m4a": _MP4_EXTENSIONS,
    "audio/mp4": _MP4_EXTENSIONS,
    "audio/mp4a-latm": _MP4_EXTENSIONS,
    "audio/aac": _MP4_EXTENSIONS,
    "audio/aacp": _MP4_EXTENSIONS,
    "audio/mpeg": _MP4_EXTENSIONS,
    "audio/mp3": _MP4_EXTENSIONS,
    "audio/3gpp": _MP4_EXTENSIONS,
    "video/mp4": _MP4_EXTENSIONS,
    "video/quicktime": _MP4_EXTENSIONS,
    "video/3gpp": _MP4_EXTENSIONS,
    "audio/wav": _WAVE_EXTENSIONS,
    "audio/x-wav": _WAVE_EXTENSIONS,
    "audio/wave": _WAVE_EXTENSIONS,
    "audio/vnd.wave": _WAVE_EXTENSIONS,
    "audio/webm": _WEBM_EXTENSIONS,
    "video/webm": _WEBM_EXTENSIONS,
    "audio/ogg": _OGG_EXTENSIONS,
    "audio/opus": _OGG_EXTENSIONS,
    "audio/flac": ("flac",),
    "audio/x-flac": ("flac",),
    "audio/amr": ("amr",),
    "audio/x-caf": ("caf",),
}
"""Accepted media types with their allowed file extensions. Types of one container are a family:
recorders name them inconsistently, so any name of a family goes with any of its extensions."""

_FORMATS_BY_MEDIA_TYPE: dict[str, tuple[Format, ...]] = {
    "audio/mp4a-latm": (Format.ISO_MEDIA, Format.ADTS),
    "audio/aac": (Format.ADTS,),
    "audio/aacp": (Format.ADTS,),
    "audio/mpeg": (Format.MPEG_AUDIO,),
    "audio/mp3": (Format.MPEG_AUDIO,),
    **dict.fromkeys(("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"), (Format.WAVE,)),
    **dict.fromkeys(("audio/webm", "video/webm"), (Format.WEBM,)),
    **dict.fromkeys(("audio/ogg", "audio/opus"), (Format.OGG,)),
    **dict.fromkeys(("audio/flac", "audio/x-flac"), (Format.FLAC,)),
    "audio/amr": (Format.AMR,),
    "audio/x-caf": (Format.CAF,),
}
"""The formats that a media type names. ISO media, if the type is not listed."""

_VIDEO_TYPES = {Format.ISO_MEDIA: "video/mp4", Format.WEBM: "video/webm"}

_PARAMETERS = re.compile(
    r'(\s*;\s*[a-z0-9-]+=("[^"\\]{0,60}"|[a-z0-9.,+_-]{1,60}))*', re.IGNORECASE
)


class UploadNotFound(NotFound):
    """The upload does not exist or belongs to another user."""

    code = "recording_not_found"

    def __init__(self) -> None:
        super().__init__("Recording not found")


class AudioDeleted(NotFound):
    """The audio was deleted by the user's retention."""

    code = "audio_deleted"

    def __init__(self) -> None:
        super().__init__("The audio was deleted, as your retention setting asks.")


class NotLiveUpload(UnsupportedMediaType):
    """The upload was prepared for another recording than this live one."""

    code = "not_live_upload"

    def __init__(self) -> None:
        super().__init__("This upload was not prepared for this recording.")


class RecordingTooLarge(PayloadTooLarge):
    """The stored object exceeds the size limit of the upload."""

    code = "too_large"


class NotARecording(UnsupportedMediaType):
    """The stored object is not in a recording format that transcription can read."""

    code = "not_what_it_said"


class EmptyRecording(InvalidInput):
    """The stored object has no content."""

    code = "empty_recording"


class SizeMismatch(InvalidInput):
    """The stored object has another size than the client declared."""

    code = "size_mismatch"


REJECTIONS: dict[str, type[CoachError]] = {
    kind.code: kind for kind in (RecordingTooLarge, NotARecording, EmptyRecording, SizeMismatch)
}
"""Why an upload can be rejected, by the code that is stored with it."""


class AlreadyLinked(Conflict):
    """The recording is linked to another session. Links never change."""

    code = "linked_elsewhere"

    def __init__(self) -> None:
        super().__init__("This recording is already linked to another session.")


class TooManyRecordings(Conflict):
    """The session has as many recordings as a session can have."""

    code = "too_many_recordings"

    def __init__(self) -> None:
        super().__init__(f"A session can have at most {MAX_UPLOADS_PER_SESSION} recordings.")


class UploadStatus(StrEnum):
    """The status of an upload, as the API shows it."""

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
    rejection_code: str | None = None
    audio_deleted_at: datetime | None = None
    """When the audio was deleted by the user's retention. The transcript stays."""

    @property
    def is_confirmed(self) -> bool:
        """True once the upload was confirmed, with any transcription status."""
        return self.confirmed_at is not None

    @property
    def rejection(self) -> CoachError:
        """The error that rejected this upload. A repeated confirm raises it again."""
        kind = REJECTIONS.get(self.rejection_code or "", NotARecording)
        return kind(self.reason or "The recording was rejected.")

    def require_live(self, content_type: str, session_id: UUID | None) -> None:
        """Check that a live recording of this media type and session may use the upload.

        Raises:
            UploadNotFound: If the upload has expired.
            CoachError: If it was rejected, with the reason.
            NotLiveUpload: If it was prepared for another media type or a fixed size.
            AlreadyLinked: If it is linked to another session.
        """
        if self.status is UploadStatus.EXPIRED:
            raise UploadNotFound
        if self.status is UploadStatus.REJECTED:
            raise self.rejection
        if parse_media_type(self.content_type) != content_type or self.declared_bytes is not None:
            raise NotLiveUpload
        if self.session_id is not None and session_id not in (None, self.session_id):
            raise AlreadyLinked

    def next_check_at(
        self, now: datetime, sweep_interval: timedelta, *, due_at: datetime
    ) -> datetime | None:
        """Return when to check the object again after a check that was due at `due_at`.

        None after the last check. A confirmed upload has one more check after its URL has expired.
        The interval of a pending one is `sweep_interval` at first and grows with the time since
        the URL expired. A check that is later than any interval is not the last one, because the
        clock may have been set forward while the recording is uploaded.
        """
        if self.status is not UploadStatus.PENDING:
            return None
        overdue = now - self.url_expires_at
        if overdue < FREQUENT_CHECK_PERIOD:
            return now + sweep_interval
        if overdue < _CHECK_PERIOD:
            return now + max(sweep_interval, overdue / 2)
        if now - due_at > MAX_CHECK_INTERVAL:
            return now + timedelta(seconds=UPLOAD_URL_SECONDS) + FREQUENT_CHECK_PERIOD
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


def normalize_extension(name: str, extension: str) -> str:
    """Return the extension in lower case.

    Raises:
        InvalidInput: If the media type does not allow it.
    """
    lowered = extension.lower()
    if lowered not in EXTENSIONS_BY_MEDIA_TYPE[name]:
        allowed = ", ".join(EXTENSIONS_BY_MEDIA_TYPE[name])
        raise InvalidInput(f"extension: must be one of {allowed} for {name}")
    return lowered


def build_user_prefix(user_id: UUID) -> str:
    """Return the prefix of the keys of a user's objects."""
    return f"uploads/{user_id}/"


def build_object_key(user_id: UUID, at: datetime, random_hex: str, extension: str) -> str:
    """Return `uploads/{user}/{unix ms}_{8 hex}.{extension}`."""
    return f"{build_user_prefix(user_id)}{int(at.timestamp() * 1000)}_{random_hex}.{extension}"


def format_size(size_bytes: int) -> str:
    """Return a size for people: `100 MiB`, `1.5 MiB` or `1000 bytes`."""
    if size_bytes < _MIB:
        return f"{size_bytes} bytes"
    return f"{size_bytes / _MIB:.4g} MiB"


def validate_object(upload: Upload, *, size_bytes: int, first_bytes: bytes) -> str:
    """Check the stored object and return its content type.

    The declared type is a hint. If the content is in another recording format, the returned type
    is the one of the content.

    Args:
        upload: The upload as declared by the client.
        size_bytes: Size of the stored object.
        first_bytes: The first `MAGIC_BYTES_LENGTH` bytes of the stored object.

    Raises:
        RecordingTooLarge: If the object exceeds the upload's limit.
        EmptyRecording: If the object is empty.
        SizeMismatch: If the object has another size than declared.
        NotARecording: If the content is in no recording format that transcription can read.
    """
    if size_bytes > upload.max_bytes:
        raise RecordingTooLarge(f"The recording is larger than {format_size(upload.max_bytes)}.")
    if size_bytes == 0:
        raise EmptyRecording("The recording is empty.")
    if upload.declared_bytes is not None and size_bytes != upload.declared_bytes:
        raise SizeMismatch("The file size does not match the declared size.")
    found = detect_format(first_bytes)
    if found is None:
        raise NotARecording("This file is not a recording in a supported format.")
    declared = parse_media_type(upload.content_type)
    if found in _FORMATS_BY_MEDIA_TYPE.get(declared, (Format.ISO_MEDIA,)):
        return upload.content_type
    is_video = declared.startswith("video/")
    return _VIDEO_TYPES.get(found, found.value) if is_video else found.value


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
