"""All queries about accounts, the audit log, and the purge of expired rows."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, delete, insert, select, update

from coach_auth.domain import EmailAlreadyRegistered, LoginEnded, User, email_digest
from coach_auth.tables import (
    ACCOUNT_TOKENS,
    AUDIT_LOG,
    CONSENTS,
    LOGINS,
    MAILS,
    OUTBOX,
    REFRESH_TOKENS,
    REVOCATIONS,
    USERS,
)
from coach_common.db.transaction import Transaction
from coach_common.ids import new_id


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
    """Delete an account with its logins, tokens, mails, consents, audit entries and events.

    Returns False if it did not exist.
    """
    login_ids = select(LOGINS.c.id).where(LOGINS.c.user_id == user_id)
    await tx.execute_bulk(delete(REFRESH_TOKENS).where(REFRESH_TOKENS.c.login_id.in_(login_ids)))
    for table in (LOGINS, ACCOUNT_TOKENS, MAILS, AUDIT_LOG, CONSENTS, OUTBOX):
        await tx.execute_bulk(delete(table).where(table.c.user_id == user_id))
    deleted = await tx.execute(delete(USERS).where(USERS.c.id == user_id))
    return deleted.rowcount == 1


async def add_audit_entry(
    tx: Transaction, *, user_id: UUID, login_id: UUID | None, action: str, at: datetime
) -> None:
    """Insert an audit log entry: a security incident, or an action of an operator."""
    await tx.execute(
        insert(AUDIT_LOG).values(
            id=new_id(), user_id=user_id, login_id=login_id, action=action, occurred_at=at
        )
    )


async def delete_expired(tx: Transaction, *, now: datetime) -> None:
    """Delete up to 500 expired logins, and expired revocations, account tokens and mails."""
    expired: Sequence[UUID] = [
        row["id"]
        for row in await tx.fetch_all(
            select(LOGINS.c.id).where(LOGINS.c.expires_at < now).limit(500)
        )
    ]
    await tx.execute_bulk(delete(REFRESH_TOKENS).where(REFRESH_TOKENS.c.login_id.in_(expired)))
    await tx.execute_bulk(delete(LOGINS).where(LOGINS.c.id.in_(expired)))
    for table in (REVOCATIONS, ACCOUNT_TOKENS, MAILS):
        await tx.execute_bulk(delete(table).where(table.c.expires_at < now))


def _user(row: RowMapping) -> User:
    return User(**{name: row[name] for name in User.__slots__})
