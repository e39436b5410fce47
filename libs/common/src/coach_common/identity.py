"""Who is calling, as a verified access token says it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: the person, the login (`sid`) the token belongs to, and until when."""

    user_id: UUID
    login_id: UUID
    expires_at: datetime
    scopes: frozenset[str] = frozenset()
