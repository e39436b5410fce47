"""The cursor of a list that is ordered by time: opaque, and good for one person's list alone."""

import base64
import binascii
import hashlib
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

from coach_common.errors import Invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = struct.Struct(">q16s8s")


def write_cursor(before: tuple[datetime, UUID], user_id: UUID, *, of: str) -> str:
    """Return an opaque cursor that only this person's list takes; `of` names the list."""
    at, item_id = before
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    packed = _CURSOR.pack(micros, item_id.bytes, _check(micros, item_id, user_id, of))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(text: str, user_id: UUID, *, of: str) -> tuple[datetime, UUID]:
    """Return where a page begins; Invalid for anything that `write_cursor` did not write."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        micros, item_bytes, check = _CURSOR.unpack(packed)
        item_id = UUID(bytes=item_bytes)
        at = _EPOCH + timedelta(microseconds=micros)
    except (binascii.Error, struct.error, ValueError, OverflowError):
        raise Invalid("cursor: not one of ours") from None
    if check != _check(micros, item_id, user_id, of):
        raise Invalid("cursor: not one of ours")
    return at, item_id


def _check(micros: int, item_id: UUID, user_id: UUID, of: str) -> bytes:
    said = f"{of} cursor".encode() + struct.pack(">q", micros) + item_id.bytes + user_id.bytes
    return hashlib.sha256(said).digest()[:8]
