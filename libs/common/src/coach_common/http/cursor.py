"""Opaque cursors of lists that are ordered by time. A cursor is valid for one user and list."""

import base64
import binascii
import hashlib
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

from coach_common.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = struct.Struct(">q16s8s")


def encode_cursor(position: tuple[datetime, UUID], user_id: UUID, *, list_name: str) -> str:
    """Return an opaque cursor for a position in this user's list `list_name`."""
    at, item_id = position
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    packed = _CURSOR.pack(micros, item_id.bytes, _checksum(micros, item_id, user_id, list_name))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursor(text: str, user_id: UUID, *, list_name: str) -> tuple[datetime, UUID]:
    """Return the position of a cursor.

    Raises:
        InvalidInput: If `encode_cursor` did not create it for this user and list.
    """
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        micros, item_bytes, _ = _CURSOR.unpack(packed)
        position = _EPOCH + timedelta(microseconds=micros), UUID(bytes=item_bytes)
    except (binascii.Error, struct.error, ValueError, OverflowError):
        raise InvalidInput("cursor: invalid") from None
    # Compared as text: the last character of Base64 has bits that no byte keeps.
    if text != encode_cursor(position, user_id, list_name=list_name):
        raise InvalidInput("cursor: invalid")
    return position


def _checksum(micros: int, item_id: UUID, user_id: UUID, list_name: str) -> bytes:
    payload = (
        f"{list_name} cursor".encode() + struct.pack(">q", micros) + item_id.bytes + user_id.bytes
    )
    return hashlib.sha256(payload).digest()[:8]
