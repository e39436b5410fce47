"""Accounts, logins and refresh token families. Plain Python: no I/O, no clock, no framework."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from coach_common.errors import BadRequest, Unauthenticated

GRACE = timedelta(seconds=10)
"""How long a rotated refresh token may come back while its successor is unused: a phone whose
parallel calls all met a 401 refreshes several times with the same token."""
FAMILY_LIFE = timedelta(days=90)
"""A family ends for good this long after its login, however often it was refreshed."""


class EmailTaken(BadRequest):
    """Somebody has an account with this e-mail."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("Email already registered")


class WrongCredentials(Unauthenticated):
    """The same words whether or not the account exists."""

    code = "wrong_credentials"

    def __init__(self, message: str = "Incorrect email or password") -> None:
        super().__init__(message)


class LoginEnded(Unauthenticated):
    """The refresh token or the login behind an access token is no longer good."""

    code = "login_ended"

    def __init__(self) -> None:
        super().__init__("Your sign-in has ended. Please sign in again.")


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
    ends_at: datetime
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
class SignedIn:
    """Tokens for a person."""

    user: User
    access_token: str
    refresh_token: str
    expires_in: int


class Refresh(StrEnum):
    """What presenting a refresh token means."""

    ROTATE = "rotate"
    REPEAT = "repeat"
    REFUSE = "refuse"
    REUSE = "reuse"


def judge_refresh(
    login: Login, token: RefreshToken, successor: RefreshToken | None, now: datetime
) -> Refresh:
    """Tell what presenting `token` means (RFC 9700 §4.14.2, with a grace window).

    `rotate`: its first use. `repeat`: used just now, its successor unused: say the successor
    again. `reuse`: used before, so somebody has a copy: the family must end. `refuse`: expired
    or ended.
    """
    if not login.is_live(now):
        return Refresh.REFUSE
    if token.used_at is None:
        return Refresh.ROTATE if now < token.expires_at else Refresh.REFUSE
    is_unused = successor is not None and successor.used_at is None
    if is_unused and now - token.used_at <= GRACE:
        return Refresh.REPEAT
    return Refresh.REUSE


def email_digest(email: str) -> str:
    """Return what makes an e-mail unique, apart from its case, on any database's collation."""
    return hashlib.sha256(email.casefold().encode()).hexdigest()


def token_digest(token: str) -> bytes:
    """Return what is stored of a refresh token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
