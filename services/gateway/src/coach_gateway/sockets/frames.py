"""The frames of the socket: models of what clients and the server send, and the parser.

docs/asyncapi-socket.json is generated from these models by `tools/generate_asyncapi_socket.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from coach_common.errors import CoachError, InvalidInput, NotFound, Unauthenticated
from coach_common.events.feedback import FEEDBACK_EXAMPLE, FeedbackView
from coach_common.validation import MeasuredNumber, describe_first_error
from coach_gateway.sockets.frame_base import (
    EVENT_ID_EXAMPLE,
    KEY_EXAMPLE,
    SESSION_ID_EXAMPLE,
    USER_ID_EXAMPLE,
    ClientFrame,
    EventId,
    FrameRejected,
    ServerFrame,
    SessionFrame,
    SessionId,
    Timestamp,
    make_example,
)
from coach_gateway.sockets.interview_frames import (
    InterviewDeltaFrame,
    InterviewListeningFrame,
    InterviewMessageFrame,
    InterviewReplyStartFrame,
    InterviewSilenceFrame,
    InterviewStartFrame,
    InterviewThinkingFrame,
    InterviewTurnFrame,
)

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A larger frame closes the socket with 1009."""

MAX_TEXT_BYTES = 1024 * 1024
"""A larger text frame gets an `error`."""

MAX_CONTROL_TEXT_BYTES = 16 * 1024
"""A larger text frame gets an `error` unless its type is in LONG_FRAMES."""

LONG_FRAMES = frozenset({"auth", "complete", "interview_start", "interview_message"})
"""Frames that may have up to 1 MiB."""

MIN_SAMPLE_RATE = 8_000
MAX_SAMPLE_RATE = 48_000

AudioFormat = Literal["pcm16", "webm", "ogg"]
_ACCESS_TOKEN = "<access token>"  # noqa: S105 # an example


# --- from the client


def _string_or_none(value: object) -> object:
    return value if isinstance(value, str) else None


class AuthFrame(ClientFrame):
    """Authenticate the socket, or extend it with a new token of the same user."""

    model_config = make_example(type="auth", token=_ACCESS_TOKEN, last_event_id=EVENT_ID_EXAMPLE)

    type: Literal["auth"]
    token: str
    last_event_id: Annotated[str | None, BeforeValidator(_string_or_none)] = Field(
        default=None, description="`event_id` of the last received push; later ones are sent again"
    )


class SessionStartFrame(SessionFrame):
    """Create a session, or select an existing one with `session_id`."""

    model_config = make_example(type="session_start", question="Tell me about a conflict.")

    type: Literal["session_start"]
    question: str | None = Field(default=None, description="required without `session_id`")
    title: str | None = Field(
        default=None, description="default: the first 80 characters of the question"
    )


class AudioUriFrame(SessionFrame):
    """Confirm an upload for the session."""

    model_config = make_example(type="audio_uri", key=KEY_EXAMPLE)

    type: Literal["audio_uri"]
    key: str = Field(min_length=1, description="object key of the upload")


class AudioStartFrame(SessionFrame):
    """Start live audio. Binary frames with the audio follow, then `audio_end`."""

    model_config = make_example(type="audio_start", format="pcm16", sample_rate=16000)

    type: Literal["audio_start"]
    format: AudioFormat
    sample_rate: MeasuredNumber | None = Field(
        default=None, description="in Hz, from 8000 to 48000; required for pcm16"
    )
    key: Annotated[str | None, BeforeValidator(_string_or_none)] = Field(
        default=None, description="continue the interrupted recording with this object key"
    )


class AudioEndFrame(ClientFrame):
    """End live audio."""

    model_config = make_example(type="audio_end")

    type: Literal["audio_end"]


class CompleteFrame(SessionFrame):
    """Mark the session as completed and request feedback."""

    model_config = make_example(type="complete", duration_seconds=95)

    type: Literal["complete"]
    duration_seconds: MeasuredNumber | None = Field(
        default=None, description="length of the answer; a fraction is rounded"
    )
    transcript: str | None = None
    audio_s3_key: str | None = None


class PingFrame(ClientFrame):
    """Request a `pong`."""

    model_config = make_example(type="ping")

    type: Literal["ping"]


ClientTextFrame = Annotated[
    AuthFrame
    | SessionStartFrame
    | AudioUriFrame
    | AudioStartFrame
    | AudioEndFrame
    | CompleteFrame
    | InterviewStartFrame
    | InterviewMessageFrame
    | InterviewReplyStartFrame
    | PingFrame,
    Field(discriminator="type"),
]
InterviewFrame = InterviewStartFrame | InterviewMessageFrame | InterviewReplyStartFrame
CommandFrame = SessionStartFrame | AudioUriFrame | CompleteFrame | InterviewFrame
"""The frames that become service calls."""


@dataclass(frozen=True, slots=True)
class BinaryFrame:
    """A binary frame: live audio."""

    content: bytes


@dataclass(frozen=True, slots=True)
class TextFrame:
    """A text frame that is a JSON object with a `type`, not validated any further."""

    type: str
    fields: dict[str, Any]


# --- from the server


class AuthSuccessFrame(ServerFrame):
    """The socket is authenticated until `expires_at`."""

    model_config = make_example(
        type="auth_success",
        user_id=USER_ID_EXAMPLE,
        expires_at="2026-11-24T12:30:00.000000Z",
        resumed=True,
    )

    type: Literal["auth_success"] = "auth_success"
    user_id: str
    expires_at: Timestamp
    resumed: bool = Field(description="true: all pushes after `last_event_id` follow")


class SessionStartedFrame(ServerFrame):
    """The session of the socket was created or selected."""

    model_config = make_example(type="session_started", session_id=SESSION_ID_EXAMPLE)

    type: Literal["session_started"] = "session_started"
    session_id: SessionId


class AudioStartedFrame(ServerFrame):
    """Live audio can be sent, from byte `received` on."""

    model_config = make_example(
        type="audio_started", session_id=SESSION_ID_EXAMPLE, key=KEY_EXAMPLE, received=0
    )

    type: Literal["audio_started"] = "audio_started"
    session_id: SessionId
    key: str
    received: int = Field(description="bytes the server already has")


class PartialFrame(ServerFrame):
    """The transcript of live audio so far."""

    model_config = make_example(type="partial", text="Last year I fixed", is_reply=False)

    type: Literal["partial"] = "partial"
    text: str
    is_reply: bool = Field(
        default=False,
        description="true if an interview is answered: the text has words of the candidate besides"
        " the interviewer's own and “hm”",
    )


class PongFrame(ServerFrame):
    """The response to `ping`."""

    model_config = make_example(type="pong")

    type: Literal["pong"] = "pong"


class StoredUpload(ServerFrame):
    """A live recording that was stored before the client resumed it."""

    upload_id: str
    key: str
    size: int = Field(description="size in bytes")
    content_type: str


class ErrorFrame(ServerFrame):
    """A frame was rejected, a recording failed, or the socket is about to be closed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "error", "message": "Start a session first.", "code": "no_session"}
            ]
        },
        json_schema_serialization_defaults_required=False,
    )

    type: Literal["error"] = "error"
    message: str = Field(description="one sentence for the user")
    code: str
    upload: StoredUpload | None = Field(
        default=None, description="only with the code `already_stored`: what was stored"
    )

    def encode(self) -> bytes:
        """Return the frame as JSON, without an absent `upload`."""
        return self.model_dump_json(exclude_none=True).encode()


class TranscriptFrame(ServerFrame):
    """A recording was transcribed."""

    model_config = make_example(
        type="transcript", event_id=EVENT_ID_EXAMPLE, session_id=SESSION_ID_EXAMPLE,
        key=KEY_EXAMPLE, text="Last year I fixed a broken build.", final=True,
    )  # fmt: skip

    type: Literal["transcript"] = "transcript"
    event_id: EventId
    session_id: SessionId | None = None
    key: str
    text: str
    final: bool = True


class ProgressFrame(ServerFrame):
    """Progress of a long transcription."""

    model_config = make_example(
        type="progress", event_id=EVENT_ID_EXAMPLE, session_id=SESSION_ID_EXAMPLE, key=KEY_EXAMPLE,
        done_seconds=119.4, duration_seconds=600.6,
    )  # fmt: skip

    type: Literal["progress"] = "progress"
    event_id: EventId
    session_id: SessionId | None = None
    key: str
    done_seconds: float
    duration_seconds: float


class ExportFrame(ServerFrame):
    """A copy of all data of the user is ready, at `GET /auth/me/export/{export_id}`."""

    model_config = make_example(
        type="export", event_id=EVENT_ID_EXAMPLE, export_id=SESSION_ID_EXAMPLE, status="ready",
        expires_at="2026-12-03T12:00:02Z",
    )  # fmt: skip

    type: Literal["export"] = "export"
    event_id: EventId
    export_id: str
    status: Literal["ready"] = "ready"
    expires_at: datetime


class FeedbackFrame(FeedbackView):
    """The feedback of a session has changed."""

    model_config = make_example(type="feedback", event_id=EVENT_ID_EXAMPLE, **FEEDBACK_EXAMPLE)

    type: Literal["feedback"] = "feedback"
    event_id: EventId

    @classmethod
    def from_view(cls, view: FeedbackView, *, event_id: str) -> "FeedbackFrame":
        """Return the frame that pushes a feedback document."""
        fields = {name: getattr(view, name) for name in FeedbackView.model_fields}
        return cls(event_id=event_id, **fields)


PushFrame = TranscriptFrame | ProgressFrame | FeedbackFrame | ExportFrame
"""The frames that are sent to all sockets of a user, without a request."""

ServerTextFrame = Annotated[
    AuthSuccessFrame
    | SessionStartedFrame
    | AudioStartedFrame
    | InterviewThinkingFrame
    | InterviewDeltaFrame
    | InterviewTurnFrame
    | InterviewListeningFrame
    | InterviewSilenceFrame
    | PartialFrame
    | PongFrame
    | ErrorFrame
    | TranscriptFrame
    | ProgressFrame
    | ExportFrame
    | FeedbackFrame,
    Field(discriminator="type"),
]

# --- parsing

CLIENT_FRAMES: tuple[type[ClientFrame], ...] = get_args(get_args(ClientTextFrame)[0])
SERVER_FRAMES: tuple[type[BaseModel], ...] = get_args(get_args(ServerTextFrame)[0])

_CLIENT_TYPES = frozenset(
    get_args(frame.model_fields["type"].annotation)[0] for frame in CLIENT_FRAMES
)
_CLIENT_FRAME: TypeAdapter[ClientTextFrame] = TypeAdapter(ClientTextFrame)


def parse(message: Mapping[str, Any]) -> TextFrame | BinaryFrame:
    """Return a received frame.

    Raises:
        FrameRejected: If it is not a JSON object with a `type`, or too long for its type.
    """
    text: str | None = message.get("text")
    if text is None:
        return BinaryFrame(message["bytes"])
    # A text of more than MAX_TEXT_BYTES characters is not encoded.
    size_bytes = len(text) if len(text) > MAX_TEXT_BYTES else len(text.encode())
    if size_bytes > MAX_TEXT_BYTES:
        raise FrameRejected("Frames may be up to 1 MiB.", "too_large")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise FrameRejected("The frame is not valid JSON.", "bad_json") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise FrameRejected("A frame must be a JSON object with a `type`.", "bad_json")
    if size_bytes > MAX_CONTROL_TEXT_BYTES and fields["type"] not in LONG_FRAMES:
        raise FrameRejected("Frames of this type may be up to 16 KiB.", "too_large")
    return TextFrame(fields["type"], fields)


def validate(frame: TextFrame) -> ClientTextFrame:
    """Return the frame as the model of its type. The error names the first invalid field.

    Raises:
        FrameRejected: If the type is unknown, or `audio_uri` has no `key`.
        Unauthenticated: If `auth` has no token.
        NotFound: If `session_id` is not a string.
        InvalidInput: If another field is missing or invalid.
    """
    if frame.type not in _CLIENT_TYPES:
        raise FrameRejected("Unknown frame type.", "unknown_type")
    try:
        return _CLIENT_FRAME.validate_python(frame.fields)
    except ValidationError as error:
        path, message = describe_first_error(error)
        field = path.removeprefix(f"{frame.type}.")
        raise _invalid_field_error(frame.type, field, message) from None


def _invalid_field_error(frame_type: str, field: str, message: str) -> CoachError:
    if frame_type == "auth":
        return Unauthenticated("A token is missing.", code="token_missing")
    if field == "session_id":
        return NotFound("Session not found", code="session_not_found")
    if (frame_type, field) == ("audio_uri", "key"):
        return FrameRejected("Upload the recording first and send its `key`.", "key_needed")
    if field == "format":
        return InvalidInput(f"format must be one of {', '.join(get_args(AudioFormat))}.")
    if field == "sample_rate":
        return invalid_sample_rate()
    return InvalidInput(f"{field}: {message}")


def invalid_sample_rate() -> InvalidInput:
    """Return the error of a `sample_rate` that is missing, no number or out of range."""
    return InvalidInput(
        f"sample_rate must be a number from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}."
    )
