"""Create, read, update and delete accounts, and sign in with e-mail and password."""

import asyncio
from dataclasses import replace

from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError

from coach_auth import store
from coach_auth.deps import Deps
from coach_auth.domain import (
    ClientInfo,
    EmailAlreadyRegistered,
    InvalidCredentials,
    LoginResult,
    User,
    UserNotFound,
    email_digest,
)
from coach_auth.use_cases.logins import create_login, get_active_user, revoke_logins
from coach_auth.use_cases.signing_keys import get_signing_key
from coach_common import logs
from coach_common.events.catalog import UserDeleted, UserRegistered
from coach_common.identity import Identity
from coach_common.ids import new_id

log = logs.get_logger(__name__)

LOGINS = Counter("coach_auth_logins", "Sign-ins by outcome.", ["outcome"])


async def register(
    deps: Deps, client: ClientInfo, *, email: str, password: str, name: str | None
) -> LoginResult:
    """Create an account and sign in. Raises EmailAlreadyRegistered if the e-mail is taken."""
    user = await create_user(deps, email=email, password=password, name=name)
    key = await get_signing_key(deps)
    LOGINS.labels("registered").inc()
    return await create_login(deps, user, key, user_agent=client.user_agent)


async def create_user(deps: Deps, *, email: str, password: str, name: str | None) -> User:
    """Create an account. Raises EmailAlreadyRegistered if the e-mail is taken."""
    async with deps.db.read_only() as tx:
        if await store.find_user_by_email(tx, email) is not None:
            raise EmailAlreadyRegistered
    user = User(
        id=new_id(),
        email=email,
        name=name,
        password_hash=await deps.password_hasher.hash(password),
        is_active=True,
        created_at=deps.clock(),
    )
    async with deps.db.transaction() as tx:
        # The unique digest decides between parallel registrations.
        await store.add_user(tx, user)
        await tx.emit(UserRegistered(user_id=user.id))
    return user


async def show_user(deps: Deps, email: str) -> tuple[User, int]:
    """Return an account and its number of live logins. Raises UserNotFound."""
    now = deps.clock()
    async with deps.db.read_only() as tx:
        user = await store.find_user_by_email(tx, email)
        if user is None:
            raise UserNotFound
        logins = await store.list_logins(
            tx, user.id, now=now, unused_since=now - deps.token_policy.refresh_lifetime
        )
    return user, len(logins)


async def set_user_active(deps: Deps, email: str, *, is_active: bool) -> User:
    """Enable or disable an account and write an audit entry. Disabling revokes all its logins."""
    async with deps.db.transaction() as tx:
        user = await store.find_user_by_email(tx, email)
        if user is None:
            raise UserNotFound
        if await store.mark_user_active(tx, user.id, is_active=is_active):
            if not is_active:
                await revoke_logins(deps, tx, user.id, reason="disabling")
            action = "enabled by an operator" if is_active else "disabled by an operator"
            await store.add_audit_entry(
                tx, user_id=user.id, login_id=None, action=action, at=deps.clock()
            )
    log.warning("user.active_state_changed", user_id=str(user.id), is_active=is_active)
    return replace(user, is_active=is_active)


async def login(deps: Deps, client: ClientInfo, *, email: str, password: str) -> LoginResult:
    """Sign in. Raises InvalidCredentials, after the same work, if the account does not exist."""
    user = await _check_password(deps, client, email=email, password=password)
    key = await get_signing_key(deps)
    LOGINS.labels("succeeded").inc()
    return await create_login(deps, user, key, user_agent=client.user_agent)


async def get_me(deps: Deps, caller: Identity) -> User:
    """Return the caller's account."""
    async with deps.db.read_only() as tx:
        return await get_active_user(deps, tx, caller)


async def update_me(
    deps: Deps,
    caller: Identity,
    client: ClientInfo,
    *,
    name: str | None,
    email: str | None,
    new_password: str | None,
    current_password: str | None,
) -> User:
    """Update the given fields. A new password revokes all other logins of the caller."""
    user = await get_me(deps, caller)
    updated = replace(user, name=name or user.name, email=email or user.email)
    if new_password is not None:
        await _check_own_password(deps, user, client, current_password or "")
        updated = replace(updated, password_hash=await deps.password_hasher.hash(new_password))
    try:
        async with deps.db.transaction() as tx:
            await get_active_user(deps, tx, caller)
            await store.update_user(tx, updated)
            if new_password is not None:
                await revoke_logins(
                    deps, tx, user.id, reason="password_change", except_login_id=caller.login_id
                )
    except IntegrityError:
        raise EmailAlreadyRegistered from None
    return updated


async def delete_me(deps: Deps, caller: Identity, client: ClientInfo, *, password: str) -> None:
    """Delete the caller's account and emit `user.deleted`."""
    user = await get_me(deps, caller)
    await _check_own_password(deps, user, client, password)
    async with deps.db.transaction() as tx:
        await store.lock_user(tx, user.id)
        await revoke_logins(deps, tx, user.id, reason="deletion")
        if await store.delete_user(tx, user.id):
            await tx.emit(UserDeleted(user_id=user.id))


async def _check_password(deps: Deps, client: ClientInfo, *, email: str, password: str) -> User:
    account = email_digest(email)
    delay = await deps.login_throttle.check(account, client.ip)
    async with deps.db.read_only() as tx:
        user = await store.find_user_by_email(tx, email)
    matches = await deps.password_hasher.check(
        password, None if user is None else user.password_hash
    )
    if delay:
        await asyncio.sleep(delay)
    await deps.login_throttle.check(account, client.ip)
    if user is None or not matches or not user.is_active:
        await deps.login_throttle.record_failure(account, client.ip)
        LOGINS.labels("refused").inc()
        raise InvalidCredentials
    await deps.login_throttle.record_success(account, client.ip)
    return user


async def _check_own_password(deps: Deps, user: User, client: ClientInfo, password: str) -> None:
    try:
        await _check_password(deps, client, email=user.email, password=password)
    except InvalidCredentials:
        raise InvalidCredentials("Current password is incorrect") from None
