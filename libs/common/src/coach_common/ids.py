"""Identifiers: UUIDv7 (RFC 9562), created by the application, sortable by time."""

from collections.abc import Callable
from uuid import NAMESPACE_URL, UUID, uuid5

import uuid_utils.compat as uuid_utils

from coach_common.errors import NotFound


def new_id() -> UUID:
    """Return a new UUIDv7."""
    return uuid_utils.uuid7()


def recording_id(key: str) -> UUID:
    """Return the id under which the deletion of a recording with this key is remembered."""
    return uuid5(NAMESPACE_URL, key)


def parse_id(
    text: str, *, resource: str = "Resource", not_found: Callable[[], NotFound] | None = None
) -> UUID:
    """Return the id in `text`.

    Only the canonical form is accepted, so that a resource has one URL.

    Args:
        text: The id as the client sent it.
        resource: The noun of the error, if there is no `not_found`.
        not_found: The error class of a missing resource, so that an id that does not parse gets
            the same error as an unknown one.

    Raises:
        NotFound: If `text` is not an id.
    """
    try:
        parsed = UUID(text)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != text:
        if not_found is not None:
            raise not_found()
        raise NotFound(f"{resource} not found", code=f"{resource.lower()}_not_found")
    return parsed
