"""Receipts of deletions. Plain Python: no I/O, no clock, no framework.

A receipt states when each service has deleted the data of a session or an account. It names neither
the user nor the session: its id is random, and no table relates it to one after the deletion.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from coach_common.clock import rfc3339
from coach_common.errors import NotFound

RECEIPT_TYPE = "deletion-receipt+jwt"
"""The `typ` of a signed receipt. No verifier accepts it as an access token."""

OVERDUE_AFTER = timedelta(hours=1)
"""A deletion that takes longer counts as overdue in the metrics."""

POLL_SECONDS = 30
"""After how many seconds a client should read a pending receipt again."""


class ReceiptNotFound(NotFound):
    """No receipt has this id, or the deletion has not reached auth yet."""

    code = "receipt_not_found"

    def __init__(self) -> None:
        super().__init__("There is no receipt with this id. A new one can take a minute to appear.")


class ReceiptKind(StrEnum):
    """What was deleted."""

    ACCOUNT = "account"
    SESSION = "session"


SERVICES_BY_KIND: Mapping[ReceiptKind, tuple[str, ...]] = {
    ReceiptKind.ACCOUNT: ("auth", "sessions", "media", "ai"),
    ReceiptKind.SESSION: ("sessions", "media", "ai"),
}
"""The services that must confirm a deletion: those that store data of what was deleted."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A deletion, and when each service has confirmed it."""

    id: UUID
    kind: ReceiptKind
    requested_at: datetime
    services: tuple[str, ...]
    completed_at: datetime | None = None
    confirmed_at: Mapping[str, datetime] = field(default_factory=dict)
    """The time of confirmation by service."""

    @property
    def outstanding(self) -> list[str]:
        """The services that have not confirmed the deletion."""
        return [name for name in self.services if name not in self.confirmed_at]

    @property
    def claims(self) -> dict[str, object]:
        """The content of the signature, apart from its issuer and time."""
        return {
            "receipt_id": str(self.id),
            "kind": self.kind.value,
            "requested_at": rfc3339(self.requested_at),
            "completed_at": None if self.completed_at is None else rfc3339(self.completed_at),
            "services": {name: rfc3339(self.confirmed_at[name]) for name in self.services},
        }
