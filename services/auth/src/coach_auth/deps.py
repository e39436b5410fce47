"""Dependencies of the use cases of auth."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from coach_auth.keys import KeyDerivation, SigningKey
from coach_auth.login_throttle import LoginThrottle
from coach_auth.mail_throttle import MailThrottle
from coach_auth.mailer import Mailer
from coach_auth.passwords import PasswordHasher
from coach_common.clock import Clock
from coach_common.db.database import Database
from coach_common.db.deletion_log import DeletionLog
from coach_common.events.catalog import UserDeleted
from coach_common.repair import DEFAULT_DELAY
from coach_common.tokens import PublicKeys


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """Issuer, audience and lifetimes of tokens."""

    issuer: str
    audience: str
    access_lifetime: timedelta
    refresh_lifetime: timedelta
    refresh_grace: timedelta


@dataclass(frozen=True, slots=True)
class KeyRotationPolicy:
    """How long a key signs, and how long it is published before it signs."""

    rotation_period: timedelta
    publication_lead: timedelta

    @property
    def poll_seconds(self) -> float:
        """Interval at which a replica reads the table: well within the lead time."""
        return min(5.0, self.publication_lead.total_seconds() / 8)


@dataclass(slots=True)
class SigningKeyCache:
    """Signing keys as last read from the table."""

    max_age_seconds: float
    keys: list[SigningKey] = field(default_factory=list)
    public_keys: PublicKeys = field(default_factory=dict)
    jwks: list[dict[str, str]] = field(default_factory=list)
    active: SigningKey | None = None
    read_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Deps:
    """Dependencies, created once in `app.build`."""

    db: Database
    clock: Clock
    deletions: DeletionLog[UserDeleted]
    password_hasher: PasswordHasher
    key_derivation: KeyDerivation
    token_policy: TokenPolicy
    login_throttle: LoginThrottle
    key_policy: KeyRotationPolicy
    key_cache: SigningKeyCache
    mail_throttle: MailThrottle
    mailer: Mailer | None
    """None: mails wait in the queue until they expire."""
    app_url: str | None
    repair_delay: timedelta = DEFAULT_DELAY
    """How long after a decision of a user its event is published again for the first time."""
    mail_queued: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after a transaction queued a mail."""
