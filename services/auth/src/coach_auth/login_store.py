"""All queries about logins, refresh tokens and revocations."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, and_, insert, literal, not_, or_, select, update

from coach_auth.domain import Login, LoginEnded, RefreshToken, Revocation, RevocationCursor
from coach_auth.tables import LOGINS, REFRESH_TOKENS, REVOCATIONS
from coach_common.db.tables import Id, UtcDateTime
from coach_common.db.transaction import Transaction
from coach_common.ids import new_id

_VISIBILITY_OVERLAP = timedelta(seconds=5)
_MAX_EXCESS_LOGINS = 500


async def add_login(tx: Transaction, login: Login) -> None:
    """Insert a login."""
    await tx.execute(
        insert(LOGINS).values(
            id=login.id,
            user_id=login.user_id,
            created_at=login.created_at,
            last_used_at=login.last_used_at,
            user_agent=login.user_agent,
            expires_at=login.expires_at,
        )
    )


async def get_login(tx: Transaction, login_id: UUID) -> Login:
    """Return a login. Raises LoginEnded if it does not exist."""
    row = await tx.fetch_one(select(LOGINS).where(LOGINS.c.id == login_id))
    if row is None:
        raise LoginEnded
    return _login(row)


async def list_logins(
    tx: Transaction, user_id: UUID, *, now: datetime, unused_since: datetime, limit: int = 100
) -> list[Login]:
    """Return a user's live logins used since `unused_since`, most recently used first."""
    rows = await tx.fetch_all(
        select(LOGINS)
        .where(
            LOGINS.c.user_id == user_id,
            LOGINS.c.revoked_at.is_(None),
            LOGINS.c.expires_at > now,
            LOGINS.c.last_used_at > unused_since,
        )
        .order_by(LOGINS.c.last_used_at.desc(), LOGINS.c.id.desc())
        .limit(limit)
    )
    return [_login(row) for row in rows]


async def mark_login_used(tx: Transaction, login_id: UUID, *, at: datetime) -> None:
    """Store the time of a login's last refresh."""
    await tx.execute(update(LOGINS).where(LOGINS.c.id == login_id).values(last_used_at=at))


async def list_excess_login_ids(
    tx: Transaction, user_id: UUID, *, now: datetime, keep: int
) -> list[UUID]:
    """Return the ids of a user's live logins beyond the `keep` most recently used ones."""
    rows = await tx.fetch_all(
        select(LOGINS.c.id)
        .where(
            LOGINS.c.user_id == user_id, LOGINS.c.revoked_at.is_(None), LOGINS.c.expires_at > now
        )
        .order_by(LOGINS.c.last_used_at.desc(), LOGINS.c.id.desc())
        .limit(_MAX_EXCESS_LOGINS)
        .offset(keep)
    )
    return [row["id"] for row in rows]


async def revoke_logins(
    tx: Transaction,
    *,
    user_id: UUID,
    now: datetime,
    expires_at: datetime,
    login_ids: Sequence[UUID] | None = None,
    except_login_id: UUID | None = None,
) -> int:
    """Revoke a user's logins: all, some, or all but one. Returns how many were revoked."""
    which = [LOGINS.c.user_id == user_id]
    if login_ids is not None:
        which.append(LOGINS.c.id.in_(login_ids))
    if except_login_id is not None:
        which.append(LOGINS.c.id != except_login_id)
    revoked = await tx.execute_bulk(
        update(LOGINS).where(*which, LOGINS.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    if revoked.rowcount:
        # Logins that were revoked at the same microsecond before have their row already.
        columns = {
            "login_id": LOGINS.c.id,
            "batch_id": literal(new_id(), Id()),
            "revoked_at": LOGINS.c.revoked_at,
            "expires_at": literal(expires_at, UtcDateTime()),
        }
        rows = select(*columns.values()).where(*which, LOGINS.c.revoked_at == now)
        await tx.execute_bulk(
            tx.dialect.insert_ignore(REVOCATIONS).from_select(list(columns), rows)
        )
    return revoked.rowcount


async def list_revocations(
    tx: Transaction, *, after: RevocationCursor | None, now: datetime, limit: int
) -> list[Revocation]:
    """Return at most `limit` unexpired revocations after the cursor, oldest first."""
    query = select(REVOCATIONS).where(REVOCATIONS.c.expires_at > now)
    if after is not None:
        query = query.where(_is_after(after))
    query = query.order_by(REVOCATIONS.c.batch_id, REVOCATIONS.c.login_id).limit(limit)
    return [_revocation(row) for row in await tx.fetch_all(query)]


async def list_recent_revocations(
    tx: Transaction, *, until: RevocationCursor, now: datetime
) -> list[Revocation]:
    """Return the revocations of the last 5 s up to the cursor.

    Transactions may commit out of order, so a reader may have missed some of them.
    """
    query = select(REVOCATIONS).where(
        REVOCATIONS.c.revoked_at > now - _VISIBILITY_OVERLAP, not_(_is_after(until))
    )
    return [_revocation(row) for row in await tx.fetch_all(query)]


async def add_refresh_token(tx: Transaction, token: RefreshToken) -> None:
    """Insert a refresh token."""
    await tx.execute(
        insert(REFRESH_TOKENS).values(
            digest=token.digest, login_id=token.login_id, expires_at=token.expires_at
        )
    )


async def find_refresh_token(tx: Transaction, digest: bytes) -> RefreshToken | None:
    """Return the refresh token with this digest, or None."""
    row = await tx.fetch_one(select(REFRESH_TOKENS).where(REFRESH_TOKENS.c.digest == digest))
    if row is None:
        return None
    values = {name: row[name] for name in RefreshToken.__slots__}
    return RefreshToken(**values | {"digest": bytes(row["digest"])})


async def mark_refresh_token_used(tx: Transaction, token: RefreshToken, *, at: datetime) -> bool:
    """Mark a refresh token as used. Returns False if it was used before."""
    used = await tx.execute(
        update(REFRESH_TOKENS)
        .where(REFRESH_TOKENS.c.digest == token.digest, REFRESH_TOKENS.c.used_at.is_(None))
        .values(used_at=at)
    )
    return used.rowcount == 1


def _is_after(cursor: RevocationCursor) -> ColumnElement[bool]:
    return or_(
        REVOCATIONS.c.batch_id > cursor.batch_id,
        and_(REVOCATIONS.c.batch_id == cursor.batch_id, REVOCATIONS.c.login_id > cursor.login_id),
    )


def _revocation(row: RowMapping) -> Revocation:
    return Revocation(row["login_id"], row["batch_id"], row["expires_at"])


def _login(row: RowMapping) -> Login:
    return Login(**{name: row[name] for name in Login.__slots__})
