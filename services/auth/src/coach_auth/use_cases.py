"""What people do with their accounts, and what the gateway asks about ended logins."""

import asyncio
import secrets
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError

from coach_auth import store
from coach_auth.deps import Deps
from coach_auth.domain import (
    FAMILY_LIFE,
    EmailTaken,
    Login,
    LoginEnded,
    Refresh,
    RefreshToken,
    SignedIn,
    User,
    WrongCredentials,
    email_digest,
    judge_refresh,
    token_digest,
)
from coach_auth.keys import SigningKey
from coach_common import logs
from coach_common.errors import Unavailable
from coach_common.events.catalog import UserDeleted, UserRegistered
from coach_common.identity import Identity
from coach_common.ids import new_id
from coach_common.tokens import PublicKeys

log = logs.get(__name__)

LOGINS = Counter("coach_auth_logins", "Sign-ins by outcome.", ["outcome"])
REFRESHES = Counter("coach_auth_refreshes", "Refreshes by outcome.", ["outcome"])
REVOKED = Counter("coach_auth_revoked_logins", "Logins that were ended.", ["cause"])

_KEYS_FRESH_SECONDS = 30.0
_REVOCATION_SLACK = timedelta(minutes=1)
_REVOCATIONS = 1000


async def register(deps: Deps, *, email: str, password: str, name: str | None) -> SignedIn:
    """Make an account and sign in; EmailTaken where the e-mail has one."""
    async with deps.db.read() as tx:
        if await store.has_email(tx, email):
            raise EmailTaken
    user = User(
        id=new_id(),
        email=email,
        name=name,
        password_hash=await deps.passwords.hash(password),
        is_active=True,
        created_at=deps.clock(),
    )
    key = await get_signing_key(deps)
    async with deps.db.transaction() as tx:
        # Parallel registrations: the unique digest decides.
        await store.add_user(tx, user)
        await tx.emit(UserRegistered(user_id=user.id))
    LOGINS.labels("registered").inc()
    return await _sign_in(deps, user, key)


async def login(deps: Deps, *, email: str, password: str, address: str) -> SignedIn:
    """Sign in; WrongCredentials, after the same work, whether or not the account exists."""
    user = await _check_password(deps, email=email, password=password, address=address)
    key = await get_signing_key(deps)
    LOGINS.labels("succeeded").inc()
    return await _sign_in(deps, user, key)


async def refresh(deps: Deps, refresh_token: str) -> SignedIn:
    """Rotate a refresh token; LoginEnded where it is not good any more.

    A token that comes back outside the grace window ends its family, in the same transaction.
    """
    key = await get_signing_key(deps)
    now = deps.clock()
    successor = deps.secret.successor(refresh_token)
    async with deps.db.transaction() as tx:
        token = await store.find_refresh_token(tx, token_digest(refresh_token))
        if token is None:
            raise LoginEnded
        family = await store.get_login(tx, token.login_id)
        user = await store.get_user(tx, family.user_id)
        next_token = RefreshToken(
            token_digest(successor), family.id, min(now + deps.terms.refresh, family.ends_at)
        )
        means = judge_refresh(family, token, None, now)
        if means is Refresh.ROTATE and await store.mark_used(tx, token, at=now):
            await store.add_refresh_token(tx, next_token)
        elif means is not Refresh.REFUSE:
            # Used before, or by a parallel call just now: read again what that one left.
            token = await store.find_refresh_token(tx, token.digest) or token
            known = await store.find_refresh_token(tx, next_token.digest)
            means = judge_refresh(family, token, known, now)
        if means is Refresh.REUSE:
            await _revoke(deps, tx, user.id, cause="reuse", only=family.id)
            await store.add_audit(
                tx, user_id=user.id, login_id=family.id, what="refresh token reused", at=now
            )
    REFRESHES.labels(means.value).inc()
    if means in (Refresh.REFUSE, Refresh.REUSE):
        log.warning("login.refused", login_id=str(family.id), means=means.value)
        raise LoginEnded
    return _signed_in(deps, user, family, key, successor)


async def logout(deps: Deps, caller: Identity, *, everywhere: bool) -> None:
    """End this login, or all of the caller's."""
    async with deps.db.transaction() as tx:
        await _live(deps, tx, caller)
        only = None if everywhere else caller.login_id
        await _revoke(deps, tx, caller.user_id, cause="logout", only=only)


async def get_me(deps: Deps, caller: Identity) -> User:
    """Return the caller's account."""
    async with deps.db.read() as tx:
        return await _live(deps, tx, caller)


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
            await _live(deps, tx, caller)
            await store.update_user(tx, changed)
            if new_password is not None:
                await _revoke(deps, tx, user.id, cause="password change", but=caller.login_id)
    except IntegrityError:
        raise EmailTaken from None
    return changed


async def delete_me(deps: Deps, caller: Identity, *, password: str, address: str) -> None:
    """Erase the caller's account; every service erases what it owns."""
    user = await get_me(deps, caller)
    await _check_own_password(deps, user, password, address)
    async with deps.db.transaction() as tx:
        await _revoke(deps, tx, user.id, cause="deletion")
        if await store.delete_user(tx, user.id):
            await tx.emit(UserDeleted(user_id=user.id))


async def list_revocations(deps: Deps, after: UUID | None) -> tuple[UUID | None, list[Any]]:
    """Return the newest cursor and the logins that ended since `after`."""
    async with deps.db.read() as tx:
        rows = await store.list_revocations(tx, after=after, now=deps.clock(), limit=_REVOCATIONS)
    newest = max((row["id"] for row in rows), default=after)
    return (newest if after is None or newest is None else max(after, newest)), rows


async def get_signing_key(deps: Deps) -> SigningKey:
    """Return the active key; the first call ever makes one."""
    await _read_keys(deps)
    if deps.key_ring.active is None:
        key = await asyncio.to_thread(deps.secret.new_signing_key)
        async with deps.db.transaction() as tx:
            # Replicas that start together all try; the unique slot takes one.
            await store.add_active_key(
                tx, kid=key.kid, private_key=deps.secret.wrap(key), at=deps.clock()
            )
        deps.key_ring.read_at = float("-inf")
        await _read_keys(deps)
    if deps.key_ring.active is None:
        raise Unavailable("There is no key to sign with yet.")
    return deps.key_ring.active


async def get_jwks(deps: Deps) -> list[dict[str, str]]:
    """Return the public keys, RFC 7517."""
    await get_signing_key(deps)
    return [key.jwk() for key in deps.key_ring.keys.values()]


async def get_public_keys(deps: Deps) -> PublicKeys:
    """Return the public keys by `kid`, for auth's own reading of tokens."""
    await get_signing_key(deps)
    return {kid: key.private_key.public_key() for kid, key in deps.key_ring.keys.items()}


async def purge(deps: Deps) -> None:
    """Forget logins that ended long ago."""
    async with deps.db.transaction() as tx:
        await store.purge(tx, now=deps.clock())


async def _read_keys(deps: Deps) -> None:
    ring = deps.key_ring
    if time.monotonic() - ring.read_at < _KEYS_FRESH_SECONDS:
        return
    async with deps.db.read() as tx:
        rows = await store.list_signing_keys(tx)
    known = dict(ring.keys)
    ring.keys = {
        row["kid"]: known.get(row["kid"]) or deps.secret.unwrap(row["kid"], row["private_key"])
        for row in rows
    }
    active = [row["kid"] for row in rows if row["state"] == "active"]
    ring.active = ring.keys[active[0]] if active else None
    ring.read_at = time.monotonic() if active else float("-inf")


async def _check_password(deps: Deps, *, email: str, password: str, address: str) -> User:
    account = email_digest(email)
    delay = deps.failed_logins.check(account, address)
    async with deps.db.read() as tx:
        user = await store.find_user_by_email(tx, email)
    is_right = await deps.passwords.check(password, None if user is None else user.password_hash)
    if delay:
        await asyncio.sleep(delay)
    if user is None or not is_right or not user.is_active:
        deps.failed_logins.failed(account, address)
        LOGINS.labels("refused").inc()
        raise WrongCredentials
    deps.failed_logins.succeeded(account, address)
    return user


async def _check_own_password(deps: Deps, user: User, password: str, address: str) -> None:
    try:
        await _check_password(deps, email=user.email, password=password, address=address)
    except WrongCredentials:
        raise WrongCredentials("Current password is incorrect") from None


async def _live(deps: Deps, tx: Any, caller: Identity) -> User:
    """Return the caller's account where the login behind the access token still lives."""
    family = await store.get_login(tx, caller.login_id)
    if not family.is_live(deps.clock()) or family.user_id != caller.user_id:
        raise LoginEnded
    return await store.get_user(tx, caller.user_id)


async def _revoke(
    deps: Deps,
    tx: Any,
    user_id: UUID,
    *,
    cause: str,
    only: UUID | None = None,
    but: UUID | None = None,
) -> None:
    now = deps.clock()
    # Until then an access token of the login could still be good.
    keep_until = now + deps.terms.access + _REVOCATION_SLACK
    count = await store.revoke_logins(
        tx, user_id=user_id, now=now, keep_until=keep_until, only=only, but=but
    )
    REVOKED.labels(cause).inc(count)


async def _sign_in(deps: Deps, user: User, key: SigningKey) -> SignedIn:
    now = deps.clock()
    family = Login(new_id(), user.id, now, now + FAMILY_LIFE)
    refresh_token = secrets.token_urlsafe(32)
    async with deps.db.transaction() as tx:
        await store.add_login(tx, family)
        await store.add_refresh_token(
            tx, RefreshToken(token_digest(refresh_token), family.id, now + deps.terms.refresh)
        )
    return _signed_in(deps, user, family, key, refresh_token)


def _signed_in(
    deps: Deps, user: User, family: Login, key: SigningKey, refresh_token: str
) -> SignedIn:
    terms = deps.terms
    now: datetime = deps.clock()
    issued_at = int(now.timestamp())
    expires_in = int(terms.access.total_seconds())
    access_token = key.sign(
        {
            "iss": terms.issuer,
            "aud": terms.audience,
            "sub": str(user.id),
            "sid": str(family.id),
            "jti": str(new_id()),
            "iat": issued_at,
            "exp": issued_at + expires_in,
            "type": "access",
            "scope": "",
        }
    )
    return SignedIn(user, access_token, refresh_token, expires_in)
