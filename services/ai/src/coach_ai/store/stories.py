"""Queries about users' stories."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import RowMapping, delete, insert, select, update

from coach_ai.domain import MAX_STORIES, Story, StoryNotFound, TooManyStories
from coach_ai.profile.similarity import Vectors, dump_vectors, load_vectors
from coach_ai.tables import STORIES
from coach_common.db.transaction import Transaction


async def add_story(tx: Transaction, user_id: UUID, story: Story, vectors: Vectors | None) -> None:
    """Insert a story of a user. Raises TooManyStories if the user has the maximum."""
    # The lock makes the limit exact for simultaneous requests.
    owned = await tx.fetch_all(
        select(STORIES.c.id).where(STORIES.c.user_id == user_id).with_for_update()
    )
    if len(owned) >= MAX_STORIES:
        raise TooManyStories
    await tx.execute(
        insert(STORIES).values(
            id=story.id,
            user_id=user_id,
            title=story.title,
            text=story.text,
            created_at=story.created_at,
            updated_at=story.updated_at,
            **_vector_values(vectors),
        )
    )


async def update_story(
    tx: Transaction, user_id: UUID, story: Story, vectors: Vectors | None
) -> None:
    """Replace a story of a user. Raises StoryNotFound if it is not the user's."""
    updated = await tx.execute(
        update(STORIES)
        .where(STORIES.c.id == story.id, STORIES.c.user_id == user_id)
        .values(
            title=story.title,
            text=story.text,
            updated_at=story.updated_at,
            **_vector_values(vectors),
        )
    )
    if updated.rowcount == 0:
        raise StoryNotFound


async def delete_story(tx: Transaction, story_id: UUID, user_id: UUID) -> None:
    """Delete a story of a user. Raises StoryNotFound if it is not the user's."""
    deleted = await tx.execute(
        delete(STORIES).where(STORIES.c.id == story_id, STORIES.c.user_id == user_id)
    )
    if deleted.rowcount == 0:
        raise StoryNotFound


async def get_story(
    tx: Transaction, story_id: UUID, *, user_id: UUID
) -> tuple[Story, Vectors | None]:
    """Return a story of a user with its vectors, or None for those without any.

    Raises:
        StoryNotFound: If it is not the user's.
    """
    row = await tx.fetch_one(
        select(STORIES).where(STORIES.c.id == story_id, STORIES.c.user_id == user_id)
    )
    if row is None:
        raise StoryNotFound
    return _story_from_row(row), _vectors_from_row(row)


async def list_stories(tx: Transaction, user_id: UUID) -> Sequence[tuple[Story, Vectors | None]]:
    """Return all stories of a user with their vectors, newest first."""
    rows = await tx.fetch_all(
        select(STORIES).where(STORIES.c.user_id == user_id).order_by(STORIES.c.id.desc())
    )
    return [(_story_from_row(row), _vectors_from_row(row)) for row in rows]


def _vector_values(vectors: Vectors | None) -> dict[str, object]:
    if vectors is None:
        return {"vectors": None, "vector_count": 0}
    return {"vectors": dump_vectors(vectors), "vector_count": len(vectors)}


def _story_from_row(row: RowMapping) -> Story:
    return Story(row["id"], row["title"], row["text"], row["created_at"], row["updated_at"])


def _vectors_from_row(row: RowMapping) -> Vectors | None:
    return None if row["vectors"] is None else load_vectors(row["vectors"], row["vector_count"])
