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
    StringConstraints,
    model_validator,
)

from coach_auth.domain import Login, LoginResult, User
from coach_auth.passwords import is_common_password


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
    str,
    BeforeValidator(_strip),
    StringConstraints(min_length=3, max_length=254),
    AfterValidator(_normalize_email),
]
NewPassword = Annotated[
    str, StringConstraints(min_length=6, max_length=128), AfterValidator(_reject_common_password)
]
Password = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=100),
    AfterValidator(_reject_control_characters),
]


class RegisterRequest(BaseModel):
    """A new account."""

    model_config = ConfigDict(extra="ignore")

    email: Email
    password: NewPassword
    name: Name | None = None


class LoginRequest(BaseModel):
    """What a person signs in with."""

    model_config = ConfigDict(extra="ignore")

    email: Annotated[str, BeforeValidator(_strip), StringConstraints(max_length=254)]
    password: Annotated[str, StringConstraints(max_length=128)]


class RefreshRequest(BaseModel):
    """A refresh token to rotate."""

    model_config = ConfigDict(extra="ignore")

    refresh_token: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class LogoutRequest(BaseModel):
    """What to end."""

    model_config = ConfigDict(extra="ignore")

    everywhere: bool = False


class UpdateAccountRequest(BaseModel):
    """What to change of the account; a new password needs the current one."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    name: Name | None = None
    email: Email | None = None
    newPassword: NewPassword | None = None  # noqa: N815 - the contract's name
    new_password: NewPassword | None = None
    currentPassword: Password | None = None  # noqa: N815 - the contract's name
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
    """The password that proves who deletes."""

    model_config = ConfigDict(extra="ignore")

    password: Password


class UserResponse(BaseModel):
    """An account."""

    id: str
    email: str
    name: str | None
    is_active: bool
    created_at: datetime

    @classmethod
    def from_domain(cls, user: User) -> "UserResponse":
        """Shape an account."""
        return cls(
            id=str(user.id),
            email=user.email,
            name=user.name,
            is_active=user.is_active,
            created_at=user.created_at,
        )


class LoginResponse(BaseModel):
    """The account with its tokens."""

    user: UserResponse
    token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="seconds")

    @classmethod
    def from_domain(cls, signed_in: LoginResult) -> "LoginResponse":
        """Shape a sign-in."""
        return cls(
            user=UserResponse.from_domain(signed_in.user),
            token=signed_in.access_token,
            refresh_token=signed_in.refresh_token,
            expires_in=signed_in.expires_in,
        )


class TokenResponse(BaseModel):
    """New tokens."""

    access_token: str
    token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="seconds")

    @classmethod
    def from_domain(cls, signed_in: LoginResult) -> "TokenResponse":
        """Shape a refresh."""
        return cls(
            access_token=signed_in.access_token,
            token=signed_in.access_token,
            refresh_token=signed_in.refresh_token,
            expires_in=signed_in.expires_in,
        )


class DeviceResponse(BaseModel):
    """A device that is signed in."""

    id: str
    created_at: datetime
    last_used_at: datetime = Field(description="when it was refreshed last")
    agent: str | None = Field(description="what it says it is")
    current: bool = Field(description="the one that asks")


class DeviceListResponse(BaseModel):
    """The devices that are signed in."""

    logins: list[DeviceResponse]

    @classmethod
    def from_domain(cls, logins: Sequence[Login], *, current: UUID) -> "DeviceListResponse":
        """Shape a person's logins."""
        return cls(
            logins=[
                DeviceResponse(
                    id=str(login.id),
                    created_at=login.created_at,
                    last_used_at=login.last_used_at,
                    agent=login.agent,
                    current=login.id == current,
                )
                for login in logins
            ]
        )


class MessageResponse(BaseModel):
    """That it was done."""

    message: str


class JsonWebKeySet(BaseModel):
    """The public keys, RFC 7517."""

    keys: list[dict[str, str]]
