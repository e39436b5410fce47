"""Accounts, logins and refresh token rotation. Plain Python: no I/O, no clock, no framework."""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from coach_common.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthenticated,
)

LOGIN_MAX_AGE = timedelta(days=90)
"""A login expires this long after it was created, however often it was refreshed."""

MAX_MAIL_DELAY = timedelta(hours=1)
"""The longest time between two attempts to send a mail."""

MAX_LIVE_LOGINS = 100
"""Live logins per account. A further login revokes the one that was used least recently."""
MAX_USER_AGENT_LENGTH = 200
UNUSABLE_PASSWORD_HASH = "!"  # noqa: S105 # no password has this hash
"""Stored instead of a hash if only a password reset gives access to the account again."""


class EmailAlreadyRegistered(BadRequest):
    """Another account has this e-mail address."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("Email already registered")


class InvalidCredentials(Unauthenticated):
    """Wrong e-mail or password. The message does not reveal whether the account exists."""

    code = "wrong_credentials"

    def __init__(self) -> None:
        super().__init__("Incorrect email or password")


class WrongPassword(Forbidden):
    """The current password of a signed-in user is wrong."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("Current password is incorrect")


class TokenInvalid(BadRequest):
    """A token from an e-mail is unknown, expired or used."""

    code = "token_invalid"

    def __init__(self) -> None:
        super().__init__("This link or code is invalid or has expired. Please request a new one.")


class AccountDisabled(Conflict):
    """An operator disabled the account."""

    code = "account_disabled"

    def __init__(self) -> None:
        super().__init__("The account is disabled. Enable it first.")


class LoginEnded(Unauthenticated):
    """The refresh token, or the login of the access token, is expired or revoked."""

    code = "login_ended"

    def __init__(self) -> None:
        super().__init__("You have been signed out. Please sign in again.")


class SigningKeyNotFound(NotFound):
    """No signing key has this id."""

    code = "signing_key_not_found"

    def __init__(self, kid: str) -> None:
        super().__init__(f"Signing key not found: {kid}")


class UserNotFound(NotFound):
    """No account has this e-mail address."""

    code = "user_not_found"

    def __init__(self) -> None:
        super().__init__("There is no account with this e-mail.")


class LoginNotFound(NotFound):
    """The login does not exist, is revoked, or belongs to another user."""

    code = "login_not_found"

    def __init__(self) -> None:
        super().__init__("Device not found")


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Where a request comes from: the client's IP address and its User-Agent header."""

    ip: str
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """An account."""

    id: UUID
    email: str
    name: str | None
    password_hash: str
    is_active: bool
    created_at: datetime
    is_verified: bool = False
    """True if the user has proved to receive mail at `email`."""


@dataclass(frozen=True, slots=True)
class Login:
    """A signed-in device and its chain of refresh tokens. A revoked login stays revoked."""

    id: UUID
    user_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None = None
    revoked_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Return True if the login is neither revoked nor expired."""
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class RevocationCursor:
    """A position in the list of revocations, ordered by batch and login."""

    batch_id: UUID
    login_id: UUID

    @classmethod
    def parse(cls, text: str) -> "RevocationCursor":
        """Return the cursor in `text`. Raises InvalidInput if it is none."""
        try:
            batch_id, login_id = text.split(".")
            return cls(UUID(batch_id), UUID(login_id))
        except ValueError:
            raise InvalidInput("after: invalid cursor") from None

    def __str__(self) -> str:
        return f"{self.batch_id}.{self.login_id}"


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoked login. After `expires_at` none of its access tokens can be valid."""

    login_id: UUID
    batch_id: UUID
    expires_at: datetime

    @property
    def cursor(self) -> RevocationCursor:
        """The position of this revocation in the list."""
        return RevocationCursor(self.batch_id, self.login_id)


@dataclass(frozen=True, slots=True)
class RevocationPage:
    """Revocations after a cursor. If `has_more`, the next page is ready at `cursor`."""

    revocations: Sequence[Revocation]
    cursor: RevocationCursor | None
    has_more: bool


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One generation of a login's refresh token, identified by its SHA-256 digest."""

    digest: bytes
    login_id: UUID
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoginResult:
    """Tokens for a user. `expires_in` is the access token's lifetime in seconds."""

    user: User
    access_token: str
    refresh_token: str
    expires_in: int


class RefreshDecision(StrEnum):
    """How to handle a presented refresh token."""

    ROTATE = "rotate"
    REPLAY_IN_GRACE = "repeat"
    REFUSE = "refuse"
    REUSE = "reuse"


def decide_refresh(
    login: Login,
    token: RefreshToken,
    successor: RefreshToken | None,
    now: datetime,
    *,
    grace_period: timedelta,
) -> RefreshDecision:
    """Decide how to handle a presented refresh token (RFC 9700 §4.14.2).

    `rotate`: first use, issue the successor. `repeat`: used within the grace period and the
    successor is unused (parallel requests of one client, or a lost response), return the same
    successor. `reuse`: used before, so the token was copied; revoke the login. `refuse`: expired,
    or the login is revoked.
    """
    if not login.is_live(now):
        return RefreshDecision.REFUSE
    if token.used_at is None:
        return RefreshDecision.ROTATE if now < token.expires_at else RefreshDecision.REFUSE
    is_successor_unused = successor is not None and successor.used_at is None
    if is_successor_unused and now - token.used_at <= grace_period:
        return RefreshDecision.REPLAY_IN_GRACE
    return RefreshDecision.REUSE


class KeyState(StrEnum):
    """State of a signing key."""

    PUBLISHED = "published"
    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class SigningKeyInfo:
    """A signing key without its private part; `trusted_until` is set once it is retired."""

    kid: str
    state: KeyState
    created_at: datetime
    activated_at: datetime | None
    trusted_until: datetime | None


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A signing key as stored: its private part is encrypted."""

    kid: str
    state: KeyState
    private_key: str


class RotationStep(StrEnum):
    """The next step of signing key rotation."""

    NONE = "none"
    PUBLISH = "publish"
    ACTIVATE = "activate"


def next_rotation_step(
    keys: Sequence[SigningKeyInfo],
    now: datetime,
    *,
    rotation_period: timedelta,
    publication_lead: timedelta,
) -> RotationStep:
    """Return the step that is due.

    A successor is published after the active key has signed for `rotation_period`. It becomes
    active after it has been published for `publication_lead`.
    """
    for key in keys:
        if key.state is KeyState.PUBLISHED:
            return (
                RotationStep.ACTIVATE
                if now >= key.created_at + publication_lead
                else RotationStep.NONE
            )
    for key in keys:
        if (
            key.state is KeyState.ACTIVE
            and now >= (key.activated_at or key.created_at) + rotation_period
        ):
            return RotationStep.PUBLISH
    return RotationStep.NONE


class MailTemplate(StrEnum):
    """A mail that auth sends. The value names its files in `templates/`."""

    PASSWORD_RESET = "password_reset"  # noqa: S105 # pragma: allowlist secret
    EMAIL_VERIFICATION = "email_verification"
    EMAIL_CHANGED = "email_changed"

    @property
    def token_lifetime(self) -> timedelta:
        """How long the token in this mail is valid."""
        return _TOKEN_LIFETIMES[self]

    @property
    def delivery_period(self) -> timedelta:
        """How long delivery is attempted."""
        return _DELIVERY_PERIODS[self]


_TOKEN_LIFETIMES = {
    MailTemplate.PASSWORD_RESET: timedelta(minutes=30),
    MailTemplate.EMAIL_VERIFICATION: timedelta(days=7),
    MailTemplate.EMAIL_CHANGED: timedelta(days=7),
}
_DELIVERY_PERIODS = {
    MailTemplate.PASSWORD_RESET: timedelta(hours=1),
    MailTemplate.EMAIL_VERIFICATION: timedelta(days=1),
    MailTemplate.EMAIL_CHANGED: timedelta(days=3),
}


@dataclass(frozen=True, slots=True)
class AccountToken:
    """A one-time token that a mail carries, stored as its SHA-256 digest.

    `purpose` is the mail it belongs to. `email` is the address the mail goes to.
    """

    id: UUID
    digest: bytes
    purpose: MailTemplate
    user_id: UUID
    email: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail that waits for delivery. Its token has the same id."""

    id: UUID
    template: MailTemplate
    user_id: UUID | None
    recipient: str
    attempts: int
    next_attempt_at: datetime
    expires_at: datetime

    def next_retry_at(self, now: datetime) -> datetime:
        """Return when to try again: after 30 s, then twice as long each time, at most an hour.

        30 s are longer than one attempt takes, so no other replica sends the mail meanwhile.
        """
        return now + min(MAX_MAIL_DELAY, timedelta(seconds=30 * 2 ** min(self.attempts, 10)))


def email_digest(email: str) -> str:
    """Return the key that makes an e-mail address unique, regardless of case and collation."""
    return hashlib.sha256(unicodedata.normalize("NFKC", email).lower().encode()).hexdigest()


def is_same_password(one: str, other: str) -> bool:
    """Return True if both passwords have the same hash input."""
    return normalize_password(one) == normalize_password(other)


def normalize_password(password: str) -> str:
    """Return the form in which passwords are compared."""
    return unicodedata.normalize("NFC", password)


def sanitize_user_agent(user_agent: str | None) -> str | None:
    """Return the printable part of a User-Agent header, at most 200 characters, or None."""
    printable = "".join(c for c in user_agent or "" if c.isprintable()).strip()
    return printable[:MAX_USER_AGENT_LENGTH] or None
