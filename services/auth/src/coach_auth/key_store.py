"""All queries about signing keys."""

from datetime import datetime

from sqlalchemy import delete, or_, select, update

from coach_auth.domain import KeyState, SigningKeyInfo, WrappedKey
from coach_auth.tables import SIGNING_KEYS
from coach_common.db.transaction import Transaction

_UNIQUE_SLOTS = {KeyState.ACTIVE: 1, KeyState.PUBLISHED: 2}
"""Values of a column with a unique index, which allows one active and one published key. Retired
keys have null there."""


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


async def _change_key(
    tx: Transaction, kid: str, expected_state: KeyState, **values: object
) -> bool:
    changed = await tx.execute(
        update(SIGNING_KEYS)
        .where(SIGNING_KEYS.c.kid == kid, SIGNING_KEYS.c.state == expected_state)
        .values(**values)
    )
    return changed.rowcount == 1
