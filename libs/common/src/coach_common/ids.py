"""Identifiers: UUIDv7 (RFC 9562), made by the application so that they sort by time."""

from uuid import UUID

import uuid_utils.compat as uuid_utils

from coach_common.errors import NotFound


def new_id() -> UUID:
    """Return a new UUIDv7."""
    return uuid_utils.uuid7()


def parse_id(text: str, *, resource: str) -> UUID:
    """Return the id in `text`, or raise NotFound: an id that does not parse does not exist.

    Only the canonical form counts, so that one thing has one name. The error is the very one
    that somebody else's thing gives.
    """
    not_found = NotFound(f"{resource} not found", code=f"{resource.lower()}_not_found")
    try:
        parsed = UUID(text)
    except ValueError:
        raise not_found from None
    if str(parsed) != text:
        raise not_found
    return parsed
