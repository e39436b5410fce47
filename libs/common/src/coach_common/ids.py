"""Identifiers: UUIDv7 (RFC 9562), made by the application so that they sort by time."""

from uuid import UUID

import uuid_utils.compat as uuid_utils

from coach_common.errors import NotFound


def new_id() -> UUID:
    """Return a new UUIDv7."""
    return uuid_utils.uuid7()


def parse_id(text: str, *, what: str) -> UUID:
    """Return the id in `text`, or raise NotFound: an id that does not parse does not exist.

    Only the canonical form counts, so that one thing has one name.
    """
    try:
        parsed = UUID(text)
    except ValueError:
        raise NotFound(f"{what} not found") from None
    if str(parsed) != text:
        raise NotFound(f"{what} not found")
    return parsed
