"""What all frames of the socket share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonValue

from coach_common.errors import CoachError

SessionId = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
EventId = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]

USER_ID_EXAMPLE = "01a20c8d-0000-7000-8000-000000000001"
SESSION_ID_EXAMPLE = "01a20c8d-0000-7000-8000-000000000002"
EVENT_ID_EXAMPLE = "01a20c8d-0000-7000-9000-000000000007"
KEY_EXAMPLE = f"uploads/{USER_ID_EXAMPLE}/1795521600000_0a1b2c3d.m4a"


def make_example(**fields: JsonValue) -> ConfigDict:
    """Return a model configuration with one documented example."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class FrameRejected(CoachError):
    """Sent to the client as an `error` frame."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code=code)


class ClientFrame(BaseModel):
    """A text frame from a client. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class SessionFrame(ClientFrame):
    """A frame about a session; without `session_id`, about the last session of the socket."""

    session_id: SessionId | None = None


class ServerFrame(BaseModel):
    """A text frame to a client."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    def encode(self) -> bytes:
        """Return the frame as JSON."""
        return self.model_dump_json().encode()
