"""What a use case of auth may reach."""

from dataclasses import dataclass, field
from datetime import timedelta

from coach_auth.keys import Secret, SigningKey
from coach_auth.limits import FailedLogins
from coach_auth.passwords import Passwords
from coach_common.clock import Clock
from coach_common.db.database import Database


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What tokens say and how long they live."""

    issuer: str
    audience: str
    access: timedelta
    refresh: timedelta


@dataclass(slots=True)
class KeyRing:
    """The signing keys as last read from the table."""

    keys: dict[str, SigningKey] = field(default_factory=dict)
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
    key_ring: KeyRing
