"""Queries about users' profiles."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import delete, select, update

from coach_ai.domain import (
    Accommodation,
    Profile,
    ProfileExists,
    ProfileNotFound,
    StoredProfile,
)
from coach_ai.tables import PROFILES
from coach_common.db.transaction import Transaction

_PROFILE = TypeAdapter(Profile)


async def add_profile(tx: Transaction, user_id: UUID, profile: Profile, *, at: datetime) -> None:
    """Insert the user's profile. Raises ProfileExists if there is one."""
    added = await tx.execute(
        tx.dialect.insert_ignore(PROFILES).values(
            user_id=user_id,
            content=_PROFILE.dump_json(profile).decode(),
            created_at=at,
            updated_at=at,
        )
    )
    if added.rowcount == 0:
        raise ProfileExists


async def update_profile(tx: Transaction, user_id: UUID, profile: Profile, *, at: datetime) -> None:
    """Replace the user's profile. Raises ProfileNotFound if there is none."""
    updated = await tx.execute(
        update(PROFILES)
        .where(PROFILES.c.user_id == user_id)
        .values(content=_PROFILE.dump_json(profile).decode(), updated_at=at)
    )
    if updated.rowcount == 0:
        raise ProfileNotFound


async def get_profile(tx: Transaction, user_id: UUID, *, is_locked: bool = False) -> StoredProfile:
    """Return the user's profile. With `is_locked`, lock it until the transaction ends.

    Raises:
        ProfileNotFound: If there is none.
    """
    query = select(PROFILES).where(PROFILES.c.user_id == user_id)
    row = await tx.fetch_one(query.with_for_update() if is_locked else query)
    if row is None:
        raise ProfileNotFound
    return StoredProfile(
        _PROFILE.validate_json(row["content"]), row["created_at"], row["updated_at"]
    )


async def lock_or_add_profile(tx: Transaction, user_id: UUID, *, at: datetime) -> StoredProfile:
    """Lock the user's profile until the transaction ends, and insert an empty one without it."""
    await tx.execute(
        tx.dialect.insert_ignore(PROFILES).values(
            user_id=user_id,
            content=_PROFILE.dump_json(Profile()).decode(),
            created_at=at,
            updated_at=at,
        )
    )
    return await get_profile(tx, user_id, is_locked=True)


async def find_profile(tx: Transaction, user_id: UUID) -> Profile | None:
    """Return the user's profile, or None."""
    content: str | None = await tx.scalar(
        select(PROFILES.c.content).where(PROFILES.c.user_id == user_id)
    )
    return None if content is None else _PROFILE.validate_json(content)


async def list_accommodations(tx: Transaction, user_id: UUID) -> Collection[Accommodation]:
    """Return the delivery metrics that are switched off for the user."""
    profile = await find_profile(tx, user_id)
    return () if profile is None else profile.accommodations


async def erase_profile(tx: Transaction, user_id: UUID) -> None:
    """Delete the user's profile. Raises ProfileNotFound if there is none."""
    erased = await tx.execute(delete(PROFILES).where(PROFILES.c.user_id == user_id))
    if erased.rowcount == 0:
        raise ProfileNotFound
