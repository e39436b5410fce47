"""What a use case of auth may reach."""

from dataclasses import dataclass, field
from datetime import timedelta

from coach_auth.keys import Secret, SigningKey
from coach_auth.limits import FailedLogins
from coach_auth.passwords import Passwords
from coach_common.clock import Clock
from coach_common.db.database import Database
from coach_common.tokens import PublicKeys


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What tokens say and how long they live."""

    issuer: str
    audience: str
    access: timedelta
    refresh: timedelta


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """How long a key signs, and how long it is published before it does."""

    period: timedelta
    lead: timedelta

    @property
    def look_seconds(self) -> float:
        """How often a replica looks at the table: well within the lead."""
        return min(5.0, self.lead.total_seconds() / 8)


@dataclass(slots=True)
class KeyRing:
    """The signing keys as last read from the table."""

    fresh_seconds: float
    keys: list[SigningKey] = field(default_factory=list)
    public: PublicKeys = field(default_factory=dict)
    jwks: list[dict[str, str]] = field(default_factory=list)
    active: SigningKey | None = None
    read_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Deps:
    """The database, the clock, and everything about secrets."""

    db: Database
    clock: Clock
    passwords: Passwords
    secret: Secret
    terms: TokenTerms
    failed_logins: FailedLogins
    key_terms: KeyTerms
    key_ring: KeyRing
