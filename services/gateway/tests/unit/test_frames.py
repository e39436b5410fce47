"""Frames of the socket: parsing, validation and their JSON."""

import json
import re
from importlib.resources import files
from typing import Any, get_args

import pytest
from generate_asyncapi_socket import build_document
from pydantic import BaseModel

from coach_common.errors import CoachError
from coach_common.events.feedback import FeedbackView
from coach_gateway.sockets.frames import (
    CLIENT_FRAMES,
    SERVER_FRAMES,
    AudioStartFrame,
    AuthFrame,
    BinaryFrame,
    CompleteFrame,
    ErrorFrame,
    FeedbackFrame,
    PongFrame,
    TextFrame,
    parse,
    validate,
)
from coach_gateway.sockets.interview_frames import (
    InterviewAnalysis,
    InterviewGap,
    InterviewPersona,
    InterviewSilencePrompt,
    InterviewStartFrame,
    InterviewTurnFrame,
)


def _validate(**fields: Any) -> object:
    received = parse({"type": "websocket.receive", "text": json.dumps(fields)})
    assert isinstance(received, TextFrame)
    return validate(received)


def test_binary_frame_keeps_its_content() -> None:
    frame = parse({"type": "websocket.receive", "bytes": b"\x00\x01"})

    assert frame == BinaryFrame(b"\x00\x01")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"type": "dance"}, "unknown_type"),
        ({"type": "audio"}, "unknown_type"),
        ({"type": "audio", "bytes": "abc"}, "unknown_type"),
        ({"type": "error", "message": "x", "code": "y"}, "unknown_type"),
        ({"type": "auth"}, "token_missing"),
        ({"type": "auth", "token": 1}, "token_missing"),
        ({"type": "session_start", "question": 1}, "invalid"),
        ({"type": "complete", "session_id": 1}, "session_not_found"),
        ({"type": "complete", "duration_seconds": "60"}, "invalid"),
        ({"type": "complete", "duration_seconds": True}, "invalid"),
        ({"type": "audio_uri"}, "key_needed"),
        ({"type": "audio_uri", "key": ""}, "key_needed"),
        ({"type": "audio_start"}, "invalid"),
        ({"type": "audio_start", "format": "mp3"}, "invalid"),
        ({"type": "audio_start", "format": None}, "invalid"),
    ],
)
def test_invalid_frame_is_rejected_with_its_code(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(CoachError) as error:
        _validate(**fields)

    assert error.value.code == code


def test_unknown_audio_format_error_names_the_known_ones() -> None:
    with pytest.raises(CoachError, match=r"^format must be one of pcm16, webm, ogg\.$"):
        _validate(type="audio_start", format="mp3")


@pytest.mark.parametrize(
    ("fields", "frame"),
    [
        (
            {"type": "auth", "token": "t", "last_event_id": 5, "added_later": 1},
            AuthFrame(type="auth", token="t"),
        ),
        (
            {"type": "audio_start", "format": "webm", "key": None},
            AudioStartFrame(type="audio_start", format="webm"),
        ),
        (
            {"type": "complete", "duration_seconds": 60, "transcript": None},
            CompleteFrame(type="complete", duration_seconds=60),
        ),
    ],
)
def test_valid_frame_becomes_its_model(fields: dict[str, Any], frame: object) -> None:
    assert _validate(**fields) == frame


def test_frame_types_are_unique() -> None:
    for frames in (CLIENT_FRAMES, SERVER_FRAMES):
        types = [get_args(frame.model_fields["type"].annotation)[0] for frame in frames]
        assert len(types) == len(set(types))


def test_server_frames_are_encoded_with_their_type() -> None:
    assert json.loads(PongFrame().encode()) == {"type": "pong"}
    assert json.loads(ErrorFrame(message="Größe", code="c").encode()) == {
        "type": "error", "message": "Größe", "code": "c",
    }  # fmt: skip


def test_feedback_frame_is_the_feedback_document_with_type_and_event_id() -> None:
    view = FeedbackView.model_validate(
        {"session_id": "s", "status": "scoring", "delivery": {"pace": {"value": 148}}}
    )

    frame = FeedbackFrame.from_view(view, event_id="e").model_dump(mode="json")

    assert frame == view.model_dump(mode="json") | {"type": "feedback", "event_id": "e"}
    assert frame["delivery"] == {"pace": {"value": 148}}


@pytest.mark.parametrize("frame", [*CLIENT_FRAMES, *SERVER_FRAMES])
def test_example_of_frame_is_valid(frame: type[BaseModel]) -> None:
    (example,) = frame.model_json_schema()["examples"]

    written = frame.model_validate(example).model_dump(mode="json", exclude_unset=True)

    assert written == example


def test_document_describes_every_frame_without_free_form_objects() -> None:
    document = build_document()

    messages = document["components"]["messages"]
    assert set(messages) == {
        frame.__name__ for frame in (*CLIENT_FRAMES, *SERVER_FRAMES)
    } | {"BinaryAudio"}  # fmt: skip
    assert '"additionalProperties": true' not in json.dumps(document)
    for schema in document["components"]["schemas"].values():
        assert schema["properties"]


def test_references_in_document_resolve() -> None:
    document = build_document()

    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))

    assert references
    for reference in references:
        node: Any = document
        for part in reference.split("/"):
            node = node[part]


def test_frames_of_interviews_have_the_fields_of_the_routes() -> None:
    """The gateway passes on what the client sent, and ai validates it."""
    document = json.loads((files("coach_gateway") / "openapi.json").read_text())
    schemas = document["components"]["schemas"]
    for frame, schema in (
        (InterviewStartFrame, "StartInterviewRequest"),
        (InterviewPersona, "InterviewPersona"),
        (InterviewTurnFrame, "InterviewMessageResponse"),
        (InterviewAnalysis, "InterviewAnalysis"),
        (InterviewGap, "InterviewGap"),
        (InterviewSilencePrompt, "InterviewSilencePrompt"),
    ):
        own = {"type", "words_per_minute", "was_interrupted"}  # of the socket alone
        assert set(frame.model_fields) - own == set(schemas[schema]["properties"])
