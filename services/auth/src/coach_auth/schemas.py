"""Request and response bodies of auth."""

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from coach_auth import domain
from coach_auth.passwords import is_common_password
from coach_common.text import EmptyToNone, UnicodeText

_DEPRECATED: dict[str, JsonValue] = {"deprecated": True}
"""Marks a field in OpenAPI. Pydantic's own flag would also warn at each access."""
_EXAMPLE_TOKEN = "<access token>"  # noqa: S105 # an example
_EXAMPLE_REFRESH_TOKEN = "<refresh token>"  # noqa: S105 # an example
_EXAMPLE_USER: dict[str, JsonValue] = {
    "id": "019a7c2e-5a3b-7c41-9d0e-3f1b2a4c5d6e",
    "email": "alice@example.com",
    "name": "Alice",
    "is_active": True,
    "is_verified": True,
    "created_at": "2026-11-24T12:00:00Z",
}

_EXAMPLE_DEVICE: dict[str, JsonValue] = {
    "id": "019a7c2e-6f10-7b52-8a3d-9c4e5f607182",
    "created_at": "2026-11-24T12:00:00Z",
    "last_used_at": "2026-11-26T08:30:00Z",
    "device": "Coach/1.2 (iPhone)",
    "agent": "Coach/1.2 (iPhone)",
    "is_current": True,
    "current": True,
}
_EXAMPLE_KEY: dict[str, JsonValue] = {
    "kty": "RSA",
    "use": "sig",
    "alg": "RS256",
    "kid": "<key id>",
    "n": "u1SU1LfVLPHCozMxH2Mo…",
    "e": "AQAB",
}


def _normalize_email(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        raise ValueError("is not a valid e-mail address") from None


def _strip(value: object) -> object:
    return value.strip(" \t") if isinstance(value, str) else value


def _reject_control_characters(text: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("must not contain control characters")
    return text


def _reject_common_password(password: str) -> str:
    if is_common_password(password):
        raise ValueError("is one of the most common passwords; please choose another one")
    return password


Email = Annotated[
    UnicodeText,
    BeforeValidator(_strip),
    StringConstraints(min_length=3, max_length=254),
    AfterValidator(_normalize_email),
]
NewPassword = Annotated[
    UnicodeText,
    StringConstraints(min_length=6, max_length=128),
    AfterValidator(_reject_common_password),
]
Password = Annotated[UnicodeText, StringConstraints(min_length=1, max_length=128)]
Token = Annotated[UnicodeText, StringConstraints(min_length=1, max_length=4096)]
Name = Annotated[
    UnicodeText,
    StringConstraints(strip_whitespace=True, max_length=100),
    AfterValidator(_reject_control_characters),
]


def _config(example: dict[str, JsonValue]) -> ConfigDict:
    return ConfigDict(
        extra="ignore", populate_by_name=True, json_schema_extra={"examples": [example]}
    )


class RegisterRequest(BaseModel):
    """Account to create."""

    model_config = _config(
        {"email": "alice@example.com", "password": "correct horse", "name": "Alice"}
    )

    email: Email
    password: NewPassword
    name: Name | None = None


class LoginRequest(BaseModel):
    """E-mail and password."""

    model_config = _config({"email": "alice@example.com", "password": "correct horse"})

    email: Email
    password: Annotated[UnicodeText, StringConstraints(max_length=128)]


class RefreshRequest(BaseModel):
    """The refresh token to exchange."""

    model_config = _config({"refresh_token": _EXAMPLE_REFRESH_TOKEN})

    refresh_token: Token


class LogoutRequest(BaseModel):
    """Sign-out options."""

    model_config = _config({"everywhere": True})

    everywhere: bool = Field(default=False, description="Sign out all devices of the user.")


class UpdateAccountRequest(BaseModel):
    """Fields to update. `newPassword` requires `currentPassword`."""

    model_config = _config(
        {"name": "Alice", "newPassword": "a much better horse", "currentPassword": "correct horse"}
    )

    name: Name | None = Field(default=None, description="An empty string removes the name.")
    email: Annotated[Email | None, EmptyToNone] = None
    newPassword: NewPassword | None = Field(default=None, json_schema_extra=_DEPRECATED)  # noqa: N815 - on the wire
    new_password: NewPassword | None = None
    currentPassword: Password | None = Field(default=None, json_schema_extra=_DEPRECATED)  # noqa: N815 - on the wire
    current_password: Password | None = None

    @model_validator(mode="after")
    def _check_aliases(self) -> Self:
        for one, other, name in (
            (self.newPassword, self.new_password, "newPassword"),
            (self.currentPassword, self.current_password, "currentPassword"),
        ):
            if one is not None and other is not None and one != other:
                raise ValueError(f"{name} was sent twice with different values")
        if self.new_password_value is not None and self.current_password_value is None:
            raise ValueError("currentPassword is required to change the password")
        if self.new_password_value is not None and domain.is_same_password(
            self.new_password_value, self.current_password_value or ""
        ):
            raise ValueError("newPassword must differ from currentPassword")
        return self

    @property
    def new_password_value(self) -> str | None:
        """The new password under either name."""
        return self.new_password if self.newPassword is None else self.newPassword

    @property
    def current_password_value(self) -> str | None:
        """The current password under either name."""
        return self.current_password if self.currentPassword is None else self.currentPassword


class DeleteAccountRequest(BaseModel):
    """The current password, as confirmation."""

    model_config = _config({"password": "correct horse"})

    password: Password


class ForgotPasswordRequest(BaseModel):
    """E-mail address of the account whose password is to be reset."""

    model_config = _config({"email": "alice@example.com"})

    email: Email


class ResetPasswordRequest(BaseModel):
    """The token from the mail and the new password."""

    model_config = _config({"token": _EXAMPLE_REFRESH_TOKEN, "new_password": "a much better horse"})

    token: Token
    new_password: NewPassword


class TokenRequest(BaseModel):
    """The token from a mail."""

    model_config = _config({"token": _EXAMPLE_REFRESH_TOKEN})

    token: Token


class User(BaseModel):
    """An account."""

    model_config = _config(_EXAMPLE_USER)

    id: str
    email: str
    name: str | None
    is_active: bool
    is_verified: bool = Field(description="True if the user confirmed the e-mail address.")
    created_at: datetime

    @classmethod
    def from_domain(cls, user: domain.User) -> "User":
        """Convert an account."""
        return cls(
            id=str(user.id),
            email=user.email,
            name=user.name,
            is_active=user.is_active,
            is_verified=user.is_verified,
            created_at=user.created_at,
        )


class AuthResponse(BaseModel):
    """User and tokens."""

    model_config = _config(
        {
            "user": _EXAMPLE_USER,
            "token": _EXAMPLE_TOKEN,
            "refresh_token": _EXAMPLE_REFRESH_TOKEN,
            "token_type": "bearer",
            "expires_in": 1800,
        }
    )

    user: User
    token: str = Field(description="The access token.")
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Lifetime of the access token in seconds.")

    @classmethod
    def from_domain(cls, result: domain.LoginResult) -> "AuthResponse":
        """Convert the result of a login or registration."""
        return cls(
            user=User.from_domain(result.user),
            token=result.access_token,
            refresh_token=result.refresh_token,
            expires_in=result.expires_in,
        )


class TokenResponse(BaseModel):
    """New access and refresh token."""

    model_config = _config(
        {
            "access_token": _EXAMPLE_TOKEN,
            "token": _EXAMPLE_TOKEN,
            "refresh_token": _EXAMPLE_REFRESH_TOKEN,
            "token_type": "bearer",
            "expires_in": 1800,
        }
    )

    access_token: str
    token: str = Field(
        description="The same as `access_token`, for older app versions.",
        json_schema_extra=_DEPRECATED,
    )
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Lifetime of the access token in seconds.")

    @classmethod
    def from_domain(cls, result: domain.LoginResult) -> "TokenResponse":
        """Convert the result of a refresh."""
        return cls(
            access_token=result.access_token,
            token=result.access_token,
            refresh_token=result.refresh_token,
            expires_in=result.expires_in,
        )


class Device(BaseModel):
    """A signed-in device."""

    model_config = _config(_EXAMPLE_DEVICE)

    id: str
    created_at: datetime
    last_used_at: datetime = Field(description="Time of the last token refresh.")
    device: str | None = Field(description="User-Agent of the device.")
    agent: str | None = Field(
        description="The same as `device`, for older app versions.", json_schema_extra=_DEPRECATED
    )
    is_current: bool = Field(description="True for the calling device.")
    current: bool = Field(
        description="The same as `is_current`, for older app versions.",
        json_schema_extra=_DEPRECATED,
    )

    @classmethod
    def from_domain(cls, login: domain.Login, *, current_login_id: UUID) -> "Device":
        """Convert a login."""
        is_current = login.id == current_login_id
        return cls(
            id=str(login.id),
            created_at=login.created_at,
            last_used_at=login.last_used_at,
            device=login.user_agent,
            agent=login.user_agent,
            is_current=is_current,
            current=is_current,
        )


class DeviceList(BaseModel):
    """The signed-in devices of a user."""

    model_config = _config({"logins": [_EXAMPLE_DEVICE]})

    logins: list[Device]

    @classmethod
    def from_domain(cls, logins: Sequence[domain.Login], *, current_login_id: UUID) -> "DeviceList":
        """Convert a user's logins."""
        return cls(
            logins=[Device.from_domain(one, current_login_id=current_login_id) for one in logins]
        )


class MessageResponse(BaseModel):
    """Confirmation message."""

    model_config = _config({"message": "Signed out"})

    message: str


class JsonWebKey(BaseModel):
    """A public RSA key (RFC 7517)."""

    model_config = _config(_EXAMPLE_KEY)

    kty: str
    use: str
    alg: str
    kid: str
    n: str
    e: str


class JsonWebKeySet(BaseModel):
    """The public keys that verify access tokens (RFC 7517)."""

    model_config = _config({"keys": [_EXAMPLE_KEY]})

    keys: list[JsonWebKey]


class RevokedLogin(BaseModel):
    """A revoked login. After `expires_at` none of its access tokens can be valid."""

    login_id: str
    expires_at: datetime


class RevocationsResponse(BaseModel):
    """Revocations after a cursor. Pass `cursor` as `after` in the next request.

    If `has_more`, more revocations are ready: a client must read them before it trusts a token.
    """

    cursor: str
    has_more: bool
    revoked: list[RevokedLogin]

    @classmethod
    def from_domain(cls, page: domain.RevocationPage) -> "RevocationsResponse":
        """Convert a page of revocations."""
        return cls(
            cursor="" if page.cursor is None else str(page.cursor),
            has_more=page.has_more,
            revoked=[
                RevokedLogin(login_id=str(one.login_id), expires_at=one.expires_at)
                for one in page.revocations
            ],
        )
