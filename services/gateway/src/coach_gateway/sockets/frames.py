"""Parses frames from clients."""

import json
from typing import Any

from starlette.types import Message

from coach_common.errors import CoachError

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A larger frame closes the socket with 1009."""

MAX_TEXT_BYTES = 1024 * 1024
"""A larger text frame gets an `error`."""

AUDIO_FRAMES = frozenset({"audio_start", "audio", "audio_end"})
"""Live audio. `audio` stands for a binary frame."""


class FrameRejected(CoachError):
    """Sent to the client as an `error` frame."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code=code)


def parse(message: Message) -> dict[str, Any]:
    """Return a frame with a `type`. Raises FrameRejected if it is invalid."""
    text = message.get("text")
    if text is None:
        return {"type": "audio", "bytes": message["bytes"]}
    # A character is at least one byte and at most four in UTF-8.
    if len(text) > MAX_TEXT_BYTES or (
        len(text) > MAX_TEXT_BYTES // 4 and len(text.encode()) > MAX_TEXT_BYTES
    ):
        raise FrameRejected("Frames may be up to 1 MiB.", "too_large")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise FrameRejected("The frame is not valid JSON.", "bad_json") from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise FrameRejected("A frame must be a JSON object with a `type`.", "bad_json")
    return frame
