"""The caller of a request, from a verified access token."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: the user, the login (`sid`) of the token, and when the token expires."""

    user_id: UUID
    login_id: UUID
    expires_at: datetime
    scopes: frozenset[str] = frozenset()
