"""Accounts: made, read, changed, erased; and who may sign in."""

import asyncio
from dataclasses import replace

from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError

from coach_auth import store
from coach_auth.deps import Deps
from coach_auth.domain import (
    EmailTaken,
    NoSuchUser,
    SignedIn,
    User,
    WrongCredentials,
    email_digest,
)
from coach_auth.use_cases.logins import live_user, revoke, sign_in
from coach_auth.use_cases.signing import get_signing_key
from coach_common import logs
from coach_common.events.catalog import UserDeleted, UserRegistered
from coach_common.identity import Identity
from coach_common.ids import new_id

log = logs.get(__name__)

LOGINS = Counter("coach_auth_logins", "Sign-ins by outcome.", ["outcome"])


async def register(
    deps: Deps, *, email: str, password: str, name: str | None, agent: str | None = None
) -> SignedIn:
    """Make an account and sign in; EmailTaken where the e-mail has one."""
    user = await create_user(deps, email=email, password=password, name=name)
    key = await get_signing_key(deps)
    LOGINS.labels("registered").inc()
    return await sign_in(deps, user, key, agent=agent)


async def create_user(deps: Deps, *, email: str, password: str, name: str | None) -> User:
    """Make an account; EmailTaken where the e-mail has one."""
    async with deps.db.read() as tx:
        if await store.find_user_by_email(tx, email) is not None:
            raise EmailTaken
    user = User(
        id=new_id(),
        email=email,
        name=name,
        password_hash=await deps.passwords.hash(password),
        is_active=True,
        created_at=deps.clock(),
    )
    async with deps.db.transaction() as tx:
        # Parallel registrations: the unique digest decides.
        await store.add_user(tx, user)
        await tx.emit(UserRegistered(user_id=user.id))
    return user


async def show_user(deps: Deps, email: str) -> tuple[User, int]:
    """Return an account, disabled or not, and how many logins of it live; NoSuchUser."""
    now = deps.clock()
    async with deps.db.read() as tx:
        user = await store.find_user_by_email(tx, email)
        if user is None:
            raise NoSuchUser
        logins = await store.list_logins(
            tx, user.id, now=now, unused_since=now - deps.terms.refresh
        )
    return user, len(logins)


async def set_user_active(deps: Deps, email: str, *, is_active: bool) -> User:
    """Enable or disable an account, and leave a record; disabling ends all its logins."""
    async with deps.db.transaction() as tx:
        user = await store.find_user_by_email(tx, email)
        if user is None:
            raise NoSuchUser
        if await store.mark_user_active(tx, user.id, is_active=is_active):
            if not is_active:
                await revoke(deps, tx, user.id, cause="disabling")
            what = "enabled by an operator" if is_active else "disabled by an operator"
            await store.add_audit(tx, user_id=user.id, login_id=None, what=what, at=deps.clock())
    log.warning("user.changed_by_operator", user_id=str(user.id), is_active=is_active)
    return replace(user, is_active=is_active)


async def login(
    deps: Deps, *, email: str, password: str, address: str, agent: str | None = None
) -> SignedIn:
    """Sign in; WrongCredentials, after the same work, whether or not the account exists."""
    user = await _check_password(deps, email=email, password=password, address=address)
    key = await get_signing_key(deps)
    LOGINS.labels("succeeded").inc()
    return await sign_in(deps, user, key, agent=agent)


async def get_me(deps: Deps, caller: Identity) -> User:
    """Return the caller's account."""
    async with deps.db.read() as tx:
        return await live_user(deps, tx, caller)


async def change_me(
    deps: Deps,
    caller: Identity,
    *,
    name: str | None,
    email: str | None,
    new_password: str | None,
    current_password: str | None,
    address: str,
) -> User:
    """Change what is given; a new password ends all other logins of the caller."""
    user = await get_me(deps, caller)
    changed = replace(user, name=name or user.name, email=email or user.email)
    if new_password is not None:
        await _check_own_password(deps, user, current_password or "", address)
        changed = replace(changed, password_hash=await deps.passwords.hash(new_password))
    try:
        async with deps.db.transaction() as tx:
            await live_user(deps, tx, caller)
            await store.update_user(tx, changed)
            if new_password is not None:
                await revoke(deps, tx, user.id, cause="password change", but=caller.login_id)
    except IntegrityError:
        raise EmailTaken from None
    return changed


async def delete_me(deps: Deps, caller: Identity, *, password: str, address: str) -> None:
    """Erase the caller's account; every service erases what it owns."""
    user = await get_me(deps, caller)
    await _check_own_password(deps, user, password, address)
    async with deps.db.transaction() as tx:
        await store.hold_user(tx, user.id)
        await revoke(deps, tx, user.id, cause="deletion")
        if await store.delete_user(tx, user.id):
            await tx.emit(UserDeleted(user_id=user.id))


async def _check_password(deps: Deps, *, email: str, password: str, address: str) -> User:
    account = email_digest(email)
    delay = await deps.failed_logins.check(account, address)
    async with deps.db.read() as tx:
        user = await store.find_user_by_email(tx, email)
    is_right = await deps.passwords.check(password, None if user is None else user.password_hash)
    if delay:
        await asyncio.sleep(delay)
    await deps.failed_logins.check(account, address)
    if user is None or not is_right or not user.is_active:
        await deps.failed_logins.failed(account, address)
        LOGINS.labels("refused").inc()
        raise WrongCredentials
    await deps.failed_logins.succeeded(account, address)
    return user


async def _check_own_password(deps: Deps, user: User, password: str, address: str) -> None:
    try:
        await _check_password(deps, email=user.email, password=password, address=address)
    except WrongCredentials:
        raise WrongCredentials("Current password is incorrect") from None
