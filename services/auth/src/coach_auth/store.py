"""All queries of auth. They take a transaction and return domain objects."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    and_,
    delete,
    insert,
    literal,
    not_,
    or_,
    select,
    update,
)

from coach_auth.domain import (
    EmailAlreadyRegistered,
    KeyState,
    Login,
    LoginEnded,
    RefreshToken,
    Revocation,
    RevocationCursor,
    SigningKeyInfo,
    User,
    WrappedKey,
    email_digest,
)
from coach_auth.tables import (
    ACCOUNT_TOKENS,
    AUDIT_LOG,
    LOGINS,
    MAILS,
    OUTBOX,
    REFRESH_TOKENS,
    REVOCATIONS,
    SIGNING_KEYS,
    USERS,
)
from coach_common.db.tables import Id, UtcDateTime
from coach_common.db.transaction import Transaction
from coach_common.ids import new_id

_VISIBILITY_OVERLAP = timedelta(seconds=5)
_MAX_EXCESS_LOGINS = 500
_UNIQUE_SLOTS = {KeyState.ACTIVE: 1, KeyState.PUBLISHED: 2}


async def add_user(tx: Transaction, user: User) -> None:
    """Insert an account. Raises EmailAlreadyRegistered if its e-mail is taken."""
    added = await tx.execute(
        tx.dialect.insert_ignore(USERS).values(
            id=user.id,
            email_digest=email_digest(user.email),
            email=user.email,
            name=user.name,
            password_hash=user.password_hash,
            is_active=user.is_active,
            is_verified=user.is_verified,
            created_at=user.created_at,
        )
    )
    if added.rowcount == 0:
        raise EmailAlreadyRegistered


async def find_user_by_email(tx: Transaction, email: str) -> User | None:
    """Return the account with this e-mail address (case-insensitive), or None."""
    row = await tx.fetch_one(select(USERS).where(USERS.c.email_digest == email_digest(email)))
    return None if row is None else _user(row)


async def find_user(tx: Transaction, user_id: UUID) -> User | None:
    """Return an account, active or not, or None."""
    row = await tx.fetch_one(select(USERS).where(USERS.c.id == user_id))
    return None if row is None else _user(row)


async def get_user(tx: Transaction, user_id: UUID) -> User:
    """Return an active account. Raises LoginEnded if it is deleted or disabled."""
    row = await tx.fetch_one(select(USERS).where(USERS.c.id == user_id, USERS.c.is_active))
    if row is None:
        raise LoginEnded
    return _user(row)


async def lock_user(tx: Transaction, user_id: UUID) -> User:
    """Lock and return an active account. Raises LoginEnded if it is deleted or disabled."""
    statement = select(USERS).where(USERS.c.id == user_id, USERS.c.is_active)
    row = await tx.fetch_one(statement.with_for_update())
    if row is None:
        raise LoginEnded
    return _user(row)


async def mark_user_active(tx: Transaction, user_id: UUID, *, is_active: bool) -> bool:
    """Enable or disable an account. Returns False if it already was."""
    changed = await tx.execute(
        update(USERS)
        .where(USERS.c.id == user_id, USERS.c.is_active != is_active)
        .values(is_active=is_active)
    )
    return changed.rowcount == 1


async def update_user(
    tx: Transaction, user_id: UUID, *, expected_password_hash: str | None = None, **values: object
) -> bool:
    """Update only the given columns of an account.

    Returns False if `expected_password_hash` is given and is no longer the stored one. Raises
    IntegrityError if another account has the new e-mail address.
    """
    condition = [USERS.c.id == user_id]
    if expected_password_hash is not None:
        condition.append(USERS.c.password_hash == expected_password_hash)
    updated = await tx.execute(update(USERS).where(*condition).values(**values))
    return updated.rowcount == 1


async def delete_user(tx: Transaction, user_id: UUID) -> bool:
    """Delete an account with its logins, tokens, mails, audit entries and unpublished events.

    Returns False if it did not exist.
    """
    login_ids = select(LOGINS.c.id).where(LOGINS.c.user_id == user_id)
    await tx.execute(delete(REFRESH_TOKENS).where(REFRESH_TOKENS.c.login_id.in_(login_ids)))
    for table in (LOGINS, ACCOUNT_TOKENS, MAILS, AUDIT_LOG, OUTBOX):
        await tx.execute(delete(table).where(table.c.user_id == user_id))
    deleted = await tx.execute(delete(USERS).where(USERS.c.id == user_id))
    return deleted.rowcount == 1


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
    revoked = await tx.execute(
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
        await tx.execute(tx.dialect.insert_ignore(REVOCATIONS).from_select(list(columns), rows))
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


async def add_audit_entry(
    tx: Transaction, *, user_id: UUID, login_id: UUID | None, action: str, at: datetime
) -> None:
    """Insert an audit log entry: a security incident, or an action of an operator."""
    await tx.execute(
        insert(AUDIT_LOG).values(
            id=new_id(), user_id=user_id, login_id=login_id, action=action, occurred_at=at
        )
    )


async def list_keys(tx: Transaction) -> list[SigningKeyInfo]:
    """Return all signing keys without their private parts, oldest first."""
    rows = await tx.fetch_all(select(SIGNING_KEYS).order_by(SIGNING_KEYS.c.created_at))
    return [
        SigningKeyInfo(
            row["kid"],
            KeyState(row["state"]),
            row["created_at"],
            row["activated_at"],
            row["trusted_until"],
        )
        for row in rows
    ]


async def list_wrapped_keys(tx: Transaction, *, now: datetime) -> list[WrappedKey]:
    """Return the keys that are trusted at `now`, oldest first."""
    keys = SIGNING_KEYS.c
    rows = await tx.fetch_all(
        select(keys.kid, keys.state, keys.private_key)
        .where(or_(keys.trusted_until.is_(None), keys.trusted_until > now))
        .order_by(keys.created_at)
    )
    return [WrappedKey(row["kid"], KeyState(row["state"]), row["private_key"]) for row in rows]


async def add_key(
    tx: Transaction, *, kid: str, state: KeyState, private_key: str, at: datetime
) -> bool:
    """Insert the active or the published key. Returns False if there is one already."""
    added = await tx.execute(
        tx.dialect.insert_ignore(SIGNING_KEYS).values(
            kid=kid,
            state=state,
            unique_slot=_UNIQUE_SLOTS[state],
            private_key=private_key,
            created_at=at,
            activated_at=at if state is KeyState.ACTIVE else None,
        )
    )
    return added.rowcount == 1


async def mark_key_active(tx: Transaction, kid: str, *, at: datetime) -> bool:
    """Activate the published key. Returns False if another call did."""
    return await _change_key(
        tx,
        kid,
        KeyState.PUBLISHED,
        state=KeyState.ACTIVE,
        unique_slot=_UNIQUE_SLOTS[KeyState.ACTIVE],
        activated_at=at,
    )


async def mark_key_retired(tx: Transaction, kid: str, *, trusted_until: datetime) -> bool:
    """Retire the active key. Returns False if another call did."""
    return await _change_key(
        tx,
        kid,
        KeyState.ACTIVE,
        state=KeyState.RETIRED,
        unique_slot=None,
        trusted_until=trusted_until,
    )


async def delete_key(tx: Transaction, kid: str) -> KeyState | None:
    """Delete a key. Returns its previous state, or None if it did not exist."""
    which = SIGNING_KEYS.c.kid == kid
    row = await tx.fetch_one(select(SIGNING_KEYS.c.state).where(which).with_for_update())
    await tx.execute(delete(SIGNING_KEYS).where(which))
    return None if row is None else KeyState(row["state"])


async def delete_expired_keys(tx: Transaction, *, now: datetime) -> int:
    """Delete retired keys whose last token has expired. Returns how many."""
    deleted = await tx.execute(delete(SIGNING_KEYS).where(SIGNING_KEYS.c.trusted_until < now))
    return deleted.rowcount


async def delete_expired(tx: Transaction, *, now: datetime) -> None:
    """Delete up to 500 expired logins, and expired revocations, account tokens and mails."""
    expired: Sequence[UUID] = [
        row["id"]
        for row in await tx.fetch_all(
            select(LOGINS.c.id).where(LOGINS.c.expires_at < now).limit(500)
        )
    ]
    await tx.execute(delete(REFRESH_TOKENS).where(REFRESH_TOKENS.c.login_id.in_(expired)))
    await tx.execute(delete(LOGINS).where(LOGINS.c.id.in_(expired)))
    for table in (REVOCATIONS, ACCOUNT_TOKENS, MAILS):
        await tx.execute(delete(table).where(table.c.expires_at < now))


def _is_after(cursor: RevocationCursor) -> ColumnElement[bool]:
    return or_(
        REVOCATIONS.c.batch_id > cursor.batch_id,
        and_(REVOCATIONS.c.batch_id == cursor.batch_id, REVOCATIONS.c.login_id > cursor.login_id),
    )


def _revocation(row: RowMapping) -> Revocation:
    return Revocation(row["login_id"], row["batch_id"], row["expires_at"])


def _user(row: RowMapping) -> User:
    return User(**{name: row[name] for name in User.__slots__})


def _login(row: RowMapping) -> Login:
    return Login(**{name: row[name] for name in Login.__slots__})


async def _change_key(
    tx: Transaction, kid: str, expected_state: KeyState, **values: object
) -> bool:
    changed = await tx.execute(
        update(SIGNING_KEYS)
        .where(SIGNING_KEYS.c.kid == kid, SIGNING_KEYS.c.state == expected_state)
        .values(**values)
    )
    return changed.rowcount == 1
