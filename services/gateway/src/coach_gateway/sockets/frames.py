"""What a frame from a client may be."""

import json
from typing import Any

from starlette.types import Message

from coach_common.errors import CoachError

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Above this the socket is closed (1009)."""

MAX_TEXT_BYTES = 1024 * 1024
"""Above this a text frame gets an `error`."""

LIVE = frozenset({"audio_start", "audio", "audio_end"})
"""Live audio; `audio` is our name for a binary frame."""


class Refused(CoachError):
    """Said to the client in an `error` frame."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code=code)


def parse(message: Message) -> dict[str, Any]:
    """Return a frame, which has a `type`; Refused for what is none."""
    text = message.get("text")
    if text is None:
        return {"type": "audio", "bytes": message["bytes"]}
    # Never more characters than bytes: what is short enough needs no second look.
    if len(text) > MAX_TEXT_BYTES or (
        len(text) > MAX_TEXT_BYTES // 4 and len(text.encode()) > MAX_TEXT_BYTES
    ):
        raise Refused("A frame may have up to 1 MiB.", "too_large")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("This is not JSON.", "bad_json") from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise Refused("A frame is an object with a `type`.", "bad_json")
    return frame
