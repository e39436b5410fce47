"""Identifiers: UUIDv7 (RFC 9562), created by the application, sortable by time."""

from uuid import UUID

import uuid_utils.compat as uuid_utils

from coach_common.errors import NotFound


def new_id() -> UUID:
    """Return a new UUIDv7."""
    return uuid_utils.uuid7()


def parse_id(text: str, *, resource: str) -> UUID:
    """Return the id in `text`.

    Only the canonical form is accepted, so that a resource has one URL.

    Raises:
        NotFound: If `text` is not such an id, with the code `<resource>_not_found`.
    """
    not_found = NotFound(f"{resource} not found", code=f"{resource.lower()}_not_found")
    try:
        parsed = UUID(text)
    except ValueError:
        raise not_found from None
    if str(parsed) != text:
        raise not_found
    return parsed
