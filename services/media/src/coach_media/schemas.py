"""Request and response bodies of media."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from coach_media.domain import Upload

Key = Annotated[str, StringConstraints(min_length=1, max_length=160)]
SessionId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class PresignUploadRequest(BaseModel):
    """A recording that is about to be uploaded."""

    model_config = ConfigDict(extra="ignore")

    content_type: Annotated[str, StringConstraints(min_length=3, max_length=200)] = Field(
        examples=["audio/m4a"]
    )
    extension: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{2,5}$")] = Field(
        examples=["m4a"]
    )
    size: Annotated[int, Field(strict=True, ge=1, lt=2**63)] | None = Field(
        default=None, description="bytes"
    )
    session_id: SessionId | None = None


class PresignedUploadResponse(BaseModel):
    """Where and how to PUT it."""

    url: str
    key: str
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str]
    expires_in: int = Field(description="seconds")
    max_size: int = Field(description="bytes")


class ConfirmUploadRequest(BaseModel):
    """The recording is in the store."""

    model_config = ConfigDict(extra="ignore")

    key: Key
    uploaded_at: Annotated[int, Field(ge=0, lt=2**53)] = Field(
        description="milliseconds since the epoch"
    )
    session_id: SessionId | None = None


class ConfirmUploadResponse(BaseModel):
    """What is really there."""

    message: str
    key: str
    upload_id: str
    size: int
    content_type: str

    @classmethod
    def from_domain(cls, upload: Upload) -> "ConfirmUploadResponse":
        """Shape a confirmed upload."""
        return cls(
            message="Upload confirmed",
            key=upload.key,
            upload_id=str(upload.id),
            size=upload.size_bytes or 0,
            content_type=upload.content_type,
        )


class UploadResponse(BaseModel):
    """An upload."""

    id: str
    key: str
    status: str
    content_type: str
    size: int | None
    session_id: str | None
    transcript: str | None
    created_at: datetime
    confirmed_at: datetime | None
    reason: str | None

    @classmethod
    def from_domain(cls, upload: Upload) -> "UploadResponse":
        """Shape an upload."""
        return cls(
            id=str(upload.id),
            key=upload.key,
            status=upload.status.value,
            content_type=upload.content_type,
            size=upload.size_bytes,
            session_id=None if upload.session_id is None else str(upload.session_id),
            transcript=upload.transcript,
            created_at=upload.created_at,
            confirmed_at=upload.confirmed_at,
            reason=upload.reason,
        )


class PlaybackUrlResponse(BaseModel):
    """A short-lived URL."""

    url: str
    expires_in: int = Field(description="seconds")
