"""What operators type: `coach auth keys …` and `coach users …`, as lines to print."""

import getpass
import sys
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from coach_auth.deps import Deps
from coach_auth.domain import User
from coach_auth.schemas import Registration
from coach_auth.use_cases import accounts, signing
from coach_common.cli import Operation
from coach_common.clock import rfc3339
from coach_common.errors import Invalid
from coach_common.service import Service


async def list_keys(service: Service) -> str:
    """List the signing keys: id, state, made, active since, trusted until."""
    lines = [
        f"{key.kid}  {key.state:9}  {_at(key.created_at)}  {_at(key.activated_at)}"
        f"  {_at(key.trusted_until)}"
        for key in await signing.list_keys(_deps(service))
    ]
    return "\n".join(lines or ["There is no key yet; the first start makes one."])


async def rotate_keys(service: Service) -> str:
    """Publish a new key; it signs once every verifier has had the time to see it."""
    deps = _deps(service)
    key = await signing.publish_key(deps)
    return f"{key.kid} is published and signs from {_at(key.created_at + deps.key_terms.lead)} on."


async def retire_key(service: Service, kid: str) -> str:
    """Erase a key that somebody else has: its tokens are refused, phones refresh."""
    await signing.retire_key(_deps(service), kid)
    return f"{kid} is gone; within two minutes its tokens are refused everywhere."


async def create_user(service: Service, email: str, name: str | None) -> str:
    """Make an account; the password comes from the terminal or from standard input."""
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    try:
        wanted = Registration(email=email, password=password, name=name)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(
            f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    user = await accounts.create_user(
        _deps(service), email=wanted.email, password=wanted.password, name=wanted.name
    )
    return _line(user)


async def show_user(service: Service, email: str) -> str:
    """Show an account and how many logins of it live."""
    user, logins = await accounts.show_user(_deps(service), email)
    return f"{_line(user)}  {logins} logins"


async def disable_user(service: Service, email: str) -> str:
    """End all logins of an account and let nobody sign in to it."""
    return _line(await accounts.set_user_active(_deps(service), email, is_active=False))


async def enable_user(service: Service, email: str) -> str:
    """Let the person sign in again."""
    return _line(await accounts.set_user_active(_deps(service), email, is_active=True))


def _deps(service: Service) -> Deps:
    app: Any = service.app
    deps: Deps = app.state.deps
    return deps


def _line(user: User) -> str:
    state = "active" if user.is_active else "disabled"
    return f"{user.id}  {user.email}  {state}  since {_at(user.created_at)}"


def _at(at: datetime | None) -> str:
    return "-" if at is None else rfc3339(at)


KEYS = {
    "list": Operation(list_keys),
    "rotate": Operation(rotate_keys),
    "retire": Operation(retire_key, ("kid",)),
}
USERS = {
    "create": Operation(create_user, ("email", "--name")),
    "show": Operation(show_user, ("email",)),
    "disable": Operation(disable_user, ("email",)),
    "enable": Operation(enable_user, ("email",)),
}
