"""Parses frames from clients."""

import json
from typing import Any

from coach_common.errors import CoachError

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A larger frame closes the socket with 1009."""

MAX_TEXT_BYTES = 1024 * 1024
"""A larger text frame gets an `error`."""

MAX_CONTROL_TEXT_BYTES = 16 * 1024
"""A larger text frame gets an `error` unless its type is in LONG_FRAMES."""

LONG_FRAMES = frozenset({"auth", "complete"})
"""Frames that may have up to 1 MiB."""


class FrameRejected(CoachError):
    """Sent to the client as an `error` frame."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code=code)


def parse(text: str) -> dict[str, Any]:
    """Return a frame with a `type`. Raises FrameRejected if it is invalid."""
    size_bytes = _utf8_length(text, MAX_TEXT_BYTES)
    if size_bytes > MAX_TEXT_BYTES:
        raise FrameRejected("Frames may be up to 1 MiB.", "too_large")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise FrameRejected("The frame is not valid JSON.", "bad_json") from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise FrameRejected("A frame must be a JSON object with a `type`.", "bad_json")
    if size_bytes > MAX_CONTROL_TEXT_BYTES and frame["type"] not in LONG_FRAMES:
        raise FrameRejected("Frames of this type may be up to 16 KiB.", "too_large")
    return frame


def _utf8_length(text: str, limit: int) -> int:
    """Return the length in UTF-8. A text of more than `limit` characters is not encoded."""
    return len(text) if len(text) > limit else len(text.encode())
