"""Request and response bodies of the media service."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from coach_common.events.feedback import AudioCoverage, TranscribedWord
from coach_common.recordings import MAX_RECORDING_SECONDS
from coach_media.audio_retention import AudioRetention, RetentionRule
from coach_media.domain import Upload, UploadStatus

_UPLOAD_ID = "01936f5e-8c1a-7c3e-9b55-0d4c3f0a7e21"
_SESSION_ID = "01936f5e-1f0b-7d44-8a6e-2b9a6c1d5f03"
_USER_ID = "01936f5d-0a3c-7e10-b7f2-91c5d8e4a6b0"
_KEY = f"uploads/{_USER_ID}/1764072000000_0a1b2c3d.m4a"
_URL = f"https://storage.example.com/coach/{_KEY}?X-Amz-Signature=…"

Key = Annotated[
    str,
    StringConstraints(min_length=1, max_length=160),
    Field(description="Object key of the recording, as returned by the presign call."),
]
SessionId = Annotated[
    str,
    StringConstraints(max_length=64),
    Field(description="Practice session of the recording. An empty string means none."),
]


def _request(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="ignore", json_schema_extra={"examples": [example]})


def _response(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class PresignRequest(BaseModel):
    """Upload to prepare."""

    model_config = _request(
        {
            "content_type": "audio/m4a",
            "extension": "m4a",
            "size": 482133,
            "session_id": _SESSION_ID,
        }
    )

    content_type: Annotated[str, StringConstraints(min_length=3, max_length=200)] = Field(
        description="Media type of the recording. May have parameters, such as `codecs`.",
        examples=["audio/m4a"],
    )
    extension: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{2,5}$")] = Field(
        description="File extension that belongs to the media type, in any case.",
        examples=["m4a"],
    )
    size: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=1, lt=2**53)] | None = Field(
        default=None,
        description=(
            "Size of the recording in bytes. If given, the upload must have exactly this size. "
            "A fraction is rounded."
        ),
    )
    session_id: SessionId | None = None

    @property
    def size_bytes(self) -> int | None:
        """Declared size in whole bytes, or None."""
        return None if self.size is None else round(self.size)


class PresignResponse(BaseModel):
    """Presigned upload URL with the headers to send."""

    model_config = _response(
        {
            "url": _URL,
            "key": _KEY,
            "method": "PUT",
            "headers": {"Content-Type": "audio/m4a"},
            "expires_in": 900,
            "max_size": 104857600,
            "max_seconds": 1800,
        }
    )

    url: str = Field(description="Presigned URL for one PUT of the recording.")
    key: str = Field(description="Object key of the recording. Send it when you confirm.")
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str] = Field(description="Headers that the PUT request must send.")
    expires_in: int = Field(description="Seconds until the URL expires.")
    max_size: int = Field(description="Largest accepted size in bytes.")
    max_seconds: int = Field(
        default=MAX_RECORDING_SECONDS,
        description="Of a longer recording, this much is transcribed.",
    )


class ConfirmUploadRequest(BaseModel):
    """Upload to confirm."""

    model_config = _request({"key": _KEY, "session_id": _SESSION_ID})

    key: Key
    uploaded_at: float | None = Field(
        default=None,
        deprecated=True,
        description="Ignored. Older apps send the time of the upload in milliseconds.",
    )
    session_id: SessionId | None = None


class ConfirmUploadResponse(BaseModel):
    """The stored file as verified by the server."""

    model_config = _response(
        {
            "message": "Upload confirmed",
            "key": _KEY,
            "upload_id": _UPLOAD_ID,
            "size": 482133,
            "content_type": "audio/m4a",
        }
    )

    message: str
    key: str = Field(description="Object key of the recording.")
    upload_id: str
    size: int = Field(description="Size of the stored file in bytes.")
    content_type: str = Field(
        description="Media type of the recording, as found in the stored file."
    )

    @classmethod
    def from_domain(cls, upload: Upload) -> "ConfirmUploadResponse":
        """Build the response from a confirmed upload."""
        return cls(
            message="Upload confirmed",
            key=upload.key,
            upload_id=str(upload.id),
            size=upload.size_bytes or 0,
            content_type=upload.content_type,
        )


class CheckLiveUploadRequest(BaseModel):
    """Live recording that continues an upload."""

    key: Key
    content_type: Annotated[str, StringConstraints(min_length=3, max_length=200)]
    session_id: SessionId | None = None


class LiveUploadResponse(BaseModel):
    """Upload of a live recording."""

    upload_id: str
    key: str
    status: UploadStatus
    size: int | None
    content_type: str

    @classmethod
    def from_domain(cls, upload: Upload) -> "LiveUploadResponse":
        """Build the response from an upload."""
        return cls(
            upload_id=str(upload.id),
            key=upload.key,
            status=upload.status,
            size=upload.size_bytes,
            content_type=upload.content_type,
        )


class UploadResponse(BaseModel):
    """An upload and, when available, its transcript."""

    model_config = _response(
        {
            "id": _UPLOAD_ID,
            "key": _KEY,
            "status": "transcribed",
            "content_type": "audio/m4a",
            "size": 482133,
            "session_id": _SESSION_ID,
            "transcript": "In my last project we had to move two services to a new database.",
            "audio": {"duration_seconds": 92.4, "heard_seconds": 92.4, "gaps": []},
            "words": None,
            "created_at": "2025-11-25T12:00:00Z",
            "confirmed_at": "2025-11-25T12:00:09Z",
            "reason": None,
            "audio_deleted": False,
            "audio_deleted_at": None,
        }
    )

    id: str
    key: str = Field(description="Object key of the recording.")
    status: UploadStatus
    content_type: str = Field(description="Media type of the recording.")
    size: int | None = Field(description="Size of the stored file in bytes, once confirmed.")
    session_id: str | None
    transcript: str | None
    audio: AudioCoverage | None = Field(
        default=None, description="How much of the recording was transcribed."
    )
    words: list[TranscribedWord] | None = Field(
        default=None, description="Words with their times. Only with `words=true`."
    )
    created_at: datetime
    confirmed_at: datetime | None
    reason: str | None = Field(description="Why the upload or its transcription failed.")
    audio_deleted: bool = Field(
        default=False, description="True once the retention of the user has deleted the audio."
    )
    audio_deleted_at: datetime | None = None

    @classmethod
    def from_domain(
        cls, upload: Upload, words: list[TranscribedWord] | None = None
    ) -> "UploadResponse":
        """Build the response from an upload and its words, None if they were not requested."""
        return cls(
            id=str(upload.id),
            key=upload.key,
            status=upload.status,
            content_type=upload.content_type,
            size=upload.size_bytes,
            session_id=None if upload.session_id is None else str(upload.session_id),
            transcript=upload.transcript,
            audio=upload.audio,
            words=words,
            created_at=upload.created_at,
            confirmed_at=upload.confirmed_at,
            reason=upload.reason,
            audio_deleted=upload.audio_deleted_at is not None,
            audio_deleted_at=upload.audio_deleted_at,
        )


class RetentionRequest(BaseModel):
    """How long the audio of all recordings of the user is kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"audio": "30_days"}]})

    audio: AudioRetention


class RetentionResponse(BaseModel):
    """How long the audio of all recordings of the user is kept."""

    model_config = _response({"audio": "30_days", "is_default": False, "effective": "30_days"})

    audio: AudioRetention
    is_default: bool = Field(description="True if the user has not chosen.")
    effective: AudioRetention = Field(
        description="What applies: `after_feedback` after a refusal of `storage`, else `audio`."
    )

    @classmethod
    def from_domain(cls, rule: RetentionRule) -> "RetentionResponse":
        """Convert a rule."""
        return cls(audio=rule.wanted, is_default=rule.chosen is None, effective=rule.effective)


class PlaybackUrlResponse(BaseModel):
    """Presigned playback URL."""

    model_config = _response({"url": _URL, "expires_in": 300})

    url: str = Field(description="Presigned URL for GET requests, including ranges.")
    expires_in: int = Field(description="Seconds until the URL expires.")


class SessionRecordingResponse(BaseModel):
    """The first uploaded recording of a session."""

    key: str | None = Field(description="Object key, or null if nothing was uploaded.")
