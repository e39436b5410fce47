"""The caller of a request, from a verified access token."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: the user, the login (`sid`) of the token, and when the token expires."""

    user_id: UUID
    login_id: UUID
    expires_at: datetime
    scopes: frozenset[str] = frozenset()
    user_key: str = field(init=False, repr=False, compare=False)
    """`user_id` as text. Computed once, because every request is counted by it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "user_key", str(self.user_id))
