"""Accounts, logins and refresh token families. Plain Python: no I/O, no clock, no framework."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from coach_common.errors import BadRequest, NotFound, Unauthenticated

REUSE_GRACE_PERIOD = timedelta(seconds=10)
"""How long a rotated refresh token may come back while its successor is unused: a phone whose
parallel calls all met a 401 refreshes several times with the same token."""
LOGIN_MAX_AGE = timedelta(days=90)
"""A family ends for good this long after its login, however often it was refreshed."""

MAX_USER_AGENT_LENGTH = 200


class EmailAlreadyRegistered(BadRequest):
    """Somebody has an account with this e-mail."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("Email already registered")


class InvalidCredentials(Unauthenticated):
    """The same words whether or not the account exists."""

    code = "wrong_credentials"

    def __init__(self, message: str = "Incorrect email or password") -> None:
        super().__init__(message)


class LoginEnded(Unauthenticated):
    """The refresh token or the login behind an access token is no longer good."""

    code = "login_ended"

    def __init__(self) -> None:
        super().__init__("You have been signed out. Please sign in again.")


class SigningKeyNotFound(NotFound):
    """There is no signing key with this id."""

    code = "no_such_key"

    def __init__(self, kid: str) -> None:
        super().__init__(f"Signing key not found: {kid}")


class UserNotFound(NotFound):
    """There is no account with this e-mail."""

    code = "no_such_user"

    def __init__(self) -> None:
        super().__init__("There is no account with this e-mail.")


class LoginNotFound(NotFound):
    """It is not there, has ended, or is somebody else's."""

    code = "no_such_login"

    def __init__(self) -> None:
        super().__init__("Device not found")


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
    """A refresh token family: one sign-in on one device. Once ended it never lives again."""

    id: UUID
    user_id: UUID
    created_at: datetime
    last_used_at: datetime
    ends_at: datetime
    agent: str | None = None
    revoked_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Neither revoked nor 90 days old."""
        return self.revoked_at is None and now < self.ends_at


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One generation of a family, known by its digest alone."""

    digest: bytes
    login_id: UUID
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoginResult:
    """Tokens for a person."""

    user: User
    access_token: str
    refresh_token: str
    expires_in: int


class RefreshDecision(StrEnum):
    """What presenting a refresh token means."""

    ROTATE = "rotate"
    REPLAY_IN_GRACE = "repeat"
    REFUSE = "refuse"
    REUSE = "reuse"


def decide_refresh(
    login: Login, token: RefreshToken, successor: RefreshToken | None, now: datetime
) -> RefreshDecision:
    """Tell what presenting `token` means (RFC 9700 §4.14.2, with a grace window).

    `rotate`: its first use. `repeat`: used just now, its successor unused: say the successor
    again. `reuse`: used before, so somebody has a copy: the family must end. `refuse`: expired
    or ended.
    """
    if not login.is_live(now):
        return RefreshDecision.REFUSE
    if token.used_at is None:
        return RefreshDecision.ROTATE if now < token.expires_at else RefreshDecision.REFUSE
    is_unused = successor is not None and successor.used_at is None
    if is_unused and now - token.used_at <= REUSE_GRACE_PERIOD:
        return RefreshDecision.REPLAY_IN_GRACE
    return RefreshDecision.REUSE


class KeyState(StrEnum):
    """Of a signing key."""

    PUBLISHED = "published"
    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class SigningKeyInfo:
    """What operators may know of a signing key; `trusted_until` is set once it is retired."""

    kid: str
    state: KeyState
    created_at: datetime
    activated_at: datetime | None
    trusted_until: datetime | None


class RotationStep(StrEnum):
    """What may be due for the signing keys."""

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
    """Tell what is due: a successor for a key that has signed for `period`, or its turn to sign."""
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
    """Return what makes an e-mail unique, apart from its case, on any database's collation."""
    return hashlib.sha256(email.casefold().encode()).hexdigest()


def sanitize_user_agent(user_agent: str | None) -> str | None:
    """Return what a device says it is, as one may show it: printable, at most 200 characters."""
    printable = "".join(c for c in user_agent or "" if c.isprintable()).strip()
    return printable[:MAX_USER_AGENT_LENGTH] or None


def refresh_token_digest(token: str) -> bytes:
    """Return what is stored of a refresh token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
