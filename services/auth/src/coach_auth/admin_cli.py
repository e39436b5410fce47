"""Operator commands `coach auth keys …` and `coach users …`. Each returns the text to print."""

import getpass
import sys
from datetime import datetime
from typing import Annotated

import typer
from pydantic import ValidationError

from coach_auth.deps import Deps
from coach_auth.domain import ClientInfo, User
from coach_auth.schemas import RegisterRequest
from coach_auth.use_cases import accounts, recovery, signing_keys
from coach_common.cli import Subcommand
from coach_common.clock import rfc3339
from coach_common.errors import InvalidInput
from coach_common.validation import describe_first_error

Email = Annotated[str, typer.Argument(help="E-mail address of the account.", metavar="EMAIL")]


async def list_keys(deps: Deps) -> str:
    """List the signing keys: id, state, created, active since, trusted until."""
    lines = [
        f"{key.kid}  {key.state:9}  {_format_time(key.created_at)}"
        f"  {_format_time(key.activated_at)}  {_format_time(key.trusted_until)}"
        for key in await signing_keys.list_keys(deps)
    ]
    return "\n".join(lines or ["No signing keys yet; one is created at first start."])


async def rotate_keys(deps: Deps) -> str:
    """Publish a new key. It becomes active after every verifier has fetched it."""
    key = await signing_keys.publish_key(deps)
    active_at = _format_time(key.created_at + deps.key_policy.publication_lead)
    return f"Published key {key.kid}; it becomes active at {active_at}."


async def revoke_key(
    deps: Deps, kid: Annotated[str, typer.Argument(help="Key id, from `list`.", metavar="KID")]
) -> str:
    """Revoke a compromised key. Its tokens are rejected; clients refresh."""
    await signing_keys.revoke_key(deps, kid)
    return f"{kid} is revoked; its tokens are rejected everywhere within two minutes."


async def create_user(
    deps: Deps,
    email: Email,
    name: Annotated[str | None, typer.Option(help="Name that the app shows.")] = None,
) -> str:
    """Create an account. The password is read from the terminal or from standard input."""
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    try:
        registration = RegisterRequest(email=email, password=password, name=name)
    except ValidationError as error:
        field, message = describe_first_error(error)
        raise InvalidInput(f"{field}: {message}") from None
    user = await accounts.create_user(
        deps,
        ClientInfo("operator"),
        email=registration.email,
        password=registration.password,
        name=registration.name,
    )
    return _format_user(user)


async def show_user(deps: Deps, email: Email) -> str:
    """Show an account and its number of live logins."""
    user, logins = await accounts.show_user(deps, email)
    return f"{_format_user(user)}  {logins} logins"


async def disable_user(deps: Deps, email: Email) -> str:
    """Disable an account: revoke all its logins and reject new ones."""
    return _format_user(await accounts.set_user_active(deps, email, is_active=False))


async def enable_user(deps: Deps, email: Email) -> str:
    """Enable an account."""
    return _format_user(await accounts.set_user_active(deps, email, is_active=True))


async def reset_password(deps: Deps, email: Email) -> str:
    """Send a password reset mail, or print the token if SMTP is not configured."""
    token = await recovery.start_password_reset(deps, email)
    if token is None:
        return "A password reset mail is queued; the running service sends it."
    return f"Token for POST /auth/password/reset, valid for 30 minutes, usable once:\n{token}"


def _format_user(user: User) -> str:
    state = "active" if user.is_active else "disabled"
    return f"{user.id}  {user.email}  {state}  since {_format_time(user.created_at)}"


def _format_time(at: datetime | None) -> str:
    return "-" if at is None else rfc3339(at)


KEY_SUBCOMMANDS = {
    "list": Subcommand(list_keys),
    "rotate": Subcommand(rotate_keys),
    "revoke": Subcommand(revoke_key, aliases=("retire",)),
}
USER_SUBCOMMANDS = {
    "create": Subcommand(create_user),
    "show": Subcommand(show_user),
    "disable": Subcommand(disable_user),
    "enable": Subcommand(enable_user),
    "reset-password": Subcommand(reset_password),
}
