"""Create, refresh, list and revoke logins."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter

from coach_auth import login_store, store
from coach_auth.deps import Deps
from coach_auth.domain import (
    LOGIN_MAX_AGE,
    MAX_LIVE_LOGINS,
    InvalidCredentials,
    Login,
    LoginEnded,
    LoginNotFound,
    LoginResult,
    RefreshDecision,
    RefreshToken,
    RevocationCursor,
    RevocationPage,
    User,
    decide_refresh,
    sanitize_user_agent,
)
from coach_auth.keys import SigningKey
from coach_auth.use_cases.signing_keys import CLOCK_SKEW_ALLOWANCE, get_signing_key
from coach_common import logs
from coach_common.credentials import token_digest
from coach_common.db.transaction import Transaction
from coach_common.identity import Identity
from coach_common.ids import new_id

log = logs.get_logger(__name__)

REFRESHES = Counter("coach_auth_token_refreshes", "Refreshes by outcome.", ["outcome"])
REVOKED = Counter("coach_auth_revoked_logins", "Logins that were revoked.", ["reason"])

_REVOCATIONS_PAGE_SIZE = 1000


async def refresh(deps: Deps, refresh_token: str) -> LoginResult:
    """Exchange a refresh token. Raises LoginEnded if it is expired, revoked or was reused.

    A token that is reused outside the grace period revokes its login in the same transaction.
    """
    key = await get_signing_key(deps)
    now = deps.clock()
    grace_period = deps.token_policy.refresh_grace
    successor = deps.key_derivation.derive_successor(refresh_token)
    async with deps.db.transaction() as tx:
        token = await login_store.find_refresh_token(tx, token_digest(refresh_token))
        if token is None:
            raise LoginEnded
        login = await login_store.get_login(tx, token.login_id)
        user = await store.get_user(tx, login.user_id)
        next_token = RefreshToken(
            token_digest(successor),
            login.id,
            min(now + deps.token_policy.refresh_lifetime, login.expires_at),
        )
        decision = decide_refresh(login, token, None, now, grace_period=grace_period)
        if decision is RefreshDecision.ROTATE and await login_store.mark_refresh_token_used(
            tx, token, at=now
        ):
            await login_store.add_refresh_token(tx, next_token)
            await login_store.mark_login_used(tx, login.id, at=now)
        elif decision is not RefreshDecision.REFUSE:
            # Used before, or by a parallel call just now: read what that call stored.
            token = await login_store.find_refresh_token(tx, token.digest) or token
            stored_successor = await login_store.find_refresh_token(tx, next_token.digest)
            decision = decide_refresh(
                login, token, stored_successor, now, grace_period=grace_period
            )
        if decision is RefreshDecision.REUSE:
            await revoke_logins(deps, tx, user.id, reason="reuse", login_ids=[login.id])
            await store.add_audit_entry(
                tx, user_id=user.id, login_id=login.id, action="refresh token reused", at=now
            )
    REFRESHES.labels(decision.value).inc()
    if decision in (RefreshDecision.REFUSE, RefreshDecision.REUSE):
        log.warning("refresh.rejected", login_id=str(login.id), decision=decision.value)
        raise LoginEnded
    return _issue_tokens(deps, user, login, key, successor)


async def logout(deps: Deps, caller: Identity, *, everywhere: bool) -> None:
    """Revoke the calling login, or all logins of the caller."""
    async with deps.db.transaction() as tx:
        await get_active_user(deps, tx, caller)
        login_ids = None if everywhere else [caller.login_id]
        await revoke_logins(deps, tx, caller.user_id, reason="logout", login_ids=login_ids)


async def list_logins(deps: Deps, caller: Identity) -> list[Login]:
    """Return the caller's live logins, most recently used first."""
    now = deps.clock()
    async with deps.db.read_only() as tx:
        await get_active_user(deps, tx, caller)
        return await login_store.list_logins(
            tx, caller.user_id, now=now, unused_since=now - deps.token_policy.refresh_lifetime
        )


async def revoke_login(deps: Deps, caller: Identity, login_id: UUID) -> None:
    """Revoke one login of the caller. Raises LoginNotFound if the caller has no such login."""
    async with deps.db.transaction() as tx:
        await get_active_user(deps, tx, caller)
        if not await revoke_logins(
            deps, tx, caller.user_id, reason="device_list", login_ids=[login_id]
        ):
            raise LoginNotFound


async def list_revocations(deps: Deps, after: RevocationCursor | None) -> RevocationPage:
    """Return a page of revocations after the cursor.

    The last page also repeats the revocations of the last 5 s, because transactions may commit out
    of order. A full page does not, so a burst of revocations cannot hold the cursor back.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        found = await login_store.list_revocations(
            tx, after=after, now=now, limit=_REVOCATIONS_PAGE_SIZE + 1
        )
        has_more = len(found) > _REVOCATIONS_PAGE_SIZE
        page = found[:_REVOCATIONS_PAGE_SIZE]
        cursor = page[-1].cursor if page else after
        if after is not None and not has_more:
            page += await login_store.list_recent_revocations(tx, until=after, now=now)
    return RevocationPage(page, cursor, has_more)


async def purge(deps: Deps) -> None:
    """Delete expired logins and revocations."""
    async with deps.db.transaction() as tx:
        await store.delete_expired(tx, now=deps.clock())


async def get_active_user(deps: Deps, tx: Transaction, caller: Identity) -> User:
    """Return the caller's account. Raises LoginEnded if the caller's login is not live."""
    login = await login_store.get_login(tx, caller.login_id)
    if not login.is_live(deps.clock()) or login.user_id != caller.user_id:
        raise LoginEnded
    return await store.get_user(tx, caller.user_id)


async def revoke_logins(
    deps: Deps,
    tx: Transaction,
    user_id: UUID,
    *,
    reason: str,
    login_ids: Sequence[UUID] | None = None,
    except_login_id: UUID | None = None,
) -> int:
    """Revoke a user's logins: all, some, or all but one. Returns how many were revoked."""
    now = deps.clock()
    # Until then an access token of the login could still be valid.
    expires_at = now + deps.token_policy.access_lifetime + CLOCK_SKEW_ALLOWANCE
    count = await login_store.revoke_logins(
        tx,
        user_id=user_id,
        now=now,
        expires_at=expires_at,
        login_ids=login_ids,
        except_login_id=except_login_id,
    )
    REVOKED.labels(reason).inc(count)
    return count


async def create_login(
    deps: Deps, user: User, key: SigningKey, *, user_agent: str | None = None
) -> LoginResult:
    """Create a login for a user whose password was checked.

    Beyond 100 live logins, the one used least recently is revoked. Raises InvalidCredentials if the
    password was changed during the check.
    """
    now = deps.clock()
    login = Login(new_id(), user.id, now, now, now + LOGIN_MAX_AGE, sanitize_user_agent(user_agent))
    refresh_token = secrets.token_urlsafe(32)
    async with deps.db.transaction() as tx:
        # The password may have been changed, or the account disabled, during the check.
        if (await store.lock_user(tx, user.id)).password_hash != user.password_hash:
            raise InvalidCredentials
        if excess := await login_store.list_excess_login_ids(
            tx, user.id, now=now, keep=MAX_LIVE_LOGINS - 1
        ):
            await revoke_logins(deps, tx, user.id, reason="too_many", login_ids=excess)
        await login_store.add_login(tx, login)
        await login_store.add_refresh_token(
            tx,
            RefreshToken(
                token_digest(refresh_token),
                login.id,
                now + deps.token_policy.refresh_lifetime,
            ),
        )
    return _issue_tokens(deps, user, login, key, refresh_token)


def _issue_tokens(
    deps: Deps, user: User, login: Login, key: SigningKey, refresh_token: str
) -> LoginResult:
    policy = deps.token_policy
    now: datetime = deps.clock()
    issued_at = int(now.timestamp())
    expires_in = int(policy.access_lifetime.total_seconds())
    access_token = key.sign(
        {
            "iss": policy.issuer,
            "aud": policy.audience,
            "sub": str(user.id),
            "sid": str(login.id),
            "jti": str(new_id()),
            "iat": issued_at,
            "exp": issued_at + expires_in,
            "type": "access",
            "scope": "",
        }
    )
    return LoginResult(user, access_token, refresh_token, expires_in)
