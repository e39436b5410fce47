"""Accounts, logins and refresh token rotation. Plain Python: no I/O, no clock, no framework."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from coach_common.errors import BadRequest, NotFound, Unauthenticated

REUSE_GRACE_PERIOD = timedelta(seconds=10)
"""How long a rotated refresh token may be sent again while its successor is unused: a client whose
parallel requests all received 401 refreshes several times with the same token."""
LOGIN_MAX_AGE = timedelta(days=90)
"""A login expires this long after it was created, however often it was refreshed."""

MAX_USER_AGENT_LENGTH = 200


class EmailAlreadyRegistered(BadRequest):
    """Another account has this e-mail address."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("Email already registered")


class InvalidCredentials(Unauthenticated):
    """Wrong e-mail or password. The message does not tell whether the account exists."""

    code = "wrong_credentials"

    def __init__(self, message: str = "Incorrect email or password") -> None:
        super().__init__(message)


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
class Revocation:
    """A revoked login. After `expires_at` none of its access tokens can be valid."""

    id: UUID
    login_id: UUID
    expires_at: datetime


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
    login: Login, token: RefreshToken, successor: RefreshToken | None, now: datetime
) -> RefreshDecision:
    """Decide how to handle a presented refresh token (RFC 9700 §4.14.2).

    `rotate`: first use, issue the successor. `repeat`: used within the grace period and the
    successor is unused (parallel requests of one client), return the same successor. `reuse`:
    used before, so the token was copied; revoke the login. `refuse`: expired, or the login is
    revoked.
    """
    if not login.is_live(now):
        return RefreshDecision.REFUSE
    if token.used_at is None:
        return RefreshDecision.ROTATE if now < token.expires_at else RefreshDecision.REFUSE
    is_successor_unused = successor is not None and successor.used_at is None
    if is_successor_unused and now - token.used_at <= REUSE_GRACE_PERIOD:
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


def email_digest(email: str) -> str:
    """Return the key that makes an e-mail address unique, regardless of case and collation."""
    return hashlib.sha256(email.casefold().encode()).hexdigest()


def sanitize_user_agent(user_agent: str | None) -> str | None:
    """Return the printable part of a User-Agent header, at most 200 characters, or None."""
    printable = "".join(c for c in user_agent or "" if c.isprintable()).strip()
    return printable[:MAX_USER_AGENT_LENGTH] or None
