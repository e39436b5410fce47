"""Logins: refresh token families, how they go on and how they end."""

import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from coach_auth import store
from coach_auth.deps import Deps
from coach_auth.domain import (
    FAMILY_LIFE,
    Login,
    LoginEnded,
    NoSuchLogin,
    Refresh,
    RefreshToken,
    SignedIn,
    User,
    WrongCredentials,
    clean_agent,
    judge_refresh,
    token_digest,
)
from coach_auth.keys import SigningKey
from coach_auth.use_cases.signing import SLACK, get_signing_key
from coach_common import logs
from coach_common.identity import Identity
from coach_common.ids import new_id

log = logs.get(__name__)

REFRESHES = Counter("coach_auth_refreshes", "Refreshes by outcome.", ["outcome"])
REVOKED = Counter("coach_auth_revoked_logins", "Logins that were ended.", ["cause"])

_REVOCATIONS = 1000


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
            await store.mark_login_used(tx, family.id, at=now)
        elif means is not Refresh.REFUSE:
            # Used before, or by a parallel call just now: read again what that one left.
            token = await store.find_refresh_token(tx, token.digest) or token
            known = await store.find_refresh_token(tx, next_token.digest)
            means = judge_refresh(family, token, known, now)
        if means is Refresh.REUSE:
            await revoke(deps, tx, user.id, cause="reuse", only=family.id)
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
        await live_user(deps, tx, caller)
        only = None if everywhere else caller.login_id
        await revoke(deps, tx, caller.user_id, cause="logout", only=only)


async def list_logins(deps: Deps, caller: Identity) -> list[Login]:
    """Return the caller's logins that can still go on, the one used last first."""
    now = deps.clock()
    async with deps.db.read() as tx:
        await live_user(deps, tx, caller)
        return await store.list_logins(
            tx, caller.user_id, now=now, unused_since=now - deps.terms.refresh
        )


async def end_login(deps: Deps, caller: Identity, login_id: UUID) -> None:
    """End one of the caller's logins, perhaps the one that asks; NoSuchLogin for any other."""
    async with deps.db.transaction() as tx:
        await live_user(deps, tx, caller)
        if not await revoke(deps, tx, caller.user_id, cause="device list", only=login_id):
            raise NoSuchLogin


async def list_revocations(deps: Deps, after: UUID | None) -> tuple[UUID | None, list[Any]]:
    """Return the newest cursor and the logins that ended since `after`."""
    async with deps.db.read() as tx:
        rows = await store.list_revocations(tx, after=after, now=deps.clock(), limit=_REVOCATIONS)
    newest = max((row["id"] for row in rows), default=after)
    return (newest if after is None or newest is None else max(after, newest)), rows


async def purge(deps: Deps) -> None:
    """Forget logins that ended long ago."""
    async with deps.db.transaction() as tx:
        await store.purge(tx, now=deps.clock())


async def live_user(deps: Deps, tx: Any, caller: Identity) -> User:
    """Return the caller's account where the login behind the access token still lives."""
    family = await store.get_login(tx, caller.login_id)
    if not family.is_live(deps.clock()) or family.user_id != caller.user_id:
        raise LoginEnded
    return await store.get_user(tx, caller.user_id)


async def revoke(
    deps: Deps,
    tx: Any,
    user_id: UUID,
    *,
    cause: str,
    only: UUID | None = None,
    but: UUID | None = None,
) -> int:
    """End a person's logins (only one, or all but one); return how many lived until now."""
    now = deps.clock()
    # Until then an access token of the login could still be good.
    keep_until = now + deps.terms.access + SLACK
    count = await store.revoke_logins(
        tx, user_id=user_id, now=now, keep_until=keep_until, only=only, but=but
    )
    REVOKED.labels(cause).inc(count)
    return count


async def sign_in(deps: Deps, user: User, key: SigningKey, *, agent: str | None = None) -> SignedIn:
    """Begin a login of somebody who has just proved who they are."""
    now = deps.clock()
    family = Login(new_id(), user.id, now, now, now + FAMILY_LIFE, clean_agent(agent))
    refresh_token = secrets.token_urlsafe(32)
    async with deps.db.transaction() as tx:
        # While the password was checked it may have been changed, or the account disabled.
        if (await store.hold_user(tx, user.id)).password_hash != user.password_hash:
            raise WrongCredentials
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
