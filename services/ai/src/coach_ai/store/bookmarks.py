"""Queries about bookmarks."""

import json
from collections.abc import Collection
from uuid import UUID

from sqlalchemy import RowMapping, delete, select

from coach_ai.domain.bookmarks import MAX_BOOKMARKS, Bookmark, TooManyBookmarks
from coach_ai.tables import BOOKMARKS
from coach_common.db.transaction import Transaction


async def save_bookmark(
    tx: Transaction, question_id: str, user_id: UUID, bookmark: Bookmark
) -> None:
    """Store a bookmark. It replaces an earlier one of the same question.

    Raises:
        TooManyBookmarks: If the user has the maximum.
    """
    # The lock makes the limit exact for simultaneous requests.
    rows = await tx.fetch_all(
        select(BOOKMARKS.c.question_id).where(BOOKMARKS.c.user_id == user_id).with_for_update()
    )
    known = {row["question_id"] for row in rows}
    if question_id not in known and len(known) >= MAX_BOOKMARKS:
        raise TooManyBookmarks
    columns = {
        "note": bookmark.note,
        "collections": json.dumps(bookmark.collections),
        "updated_at": bookmark.updated_at,
    }
    await tx.execute(
        tx.dialect.upsert(
            BOOKMARKS,
            {"user_id": user_id, "question_id": question_id, **columns},
            update=columns,
        )
    )


async def delete_bookmark(tx: Transaction, question_id: str, user_id: UUID) -> None:
    """Delete the bookmark of a question, if there is one."""
    await tx.execute(
        delete(BOOKMARKS).where(
            BOOKMARKS.c.user_id == user_id, BOOKMARKS.c.question_id == question_id
        )
    )


async def list_bookmarks(
    tx: Transaction, user_id: UUID, question_ids: Collection[str]
) -> dict[str, Bookmark]:
    """Return the user's bookmarks of these questions."""
    if not question_ids:
        return {}
    rows = await tx.fetch_all(
        select(BOOKMARKS).where(
            BOOKMARKS.c.user_id == user_id, BOOKMARKS.c.question_id.in_(list(question_ids))
        )
    )
    return {row["question_id"]: _bookmark_from_row(row) for row in rows}


async def list_all_bookmarks(tx: Transaction, user_id: UUID) -> dict[str, Bookmark]:
    """Return all bookmarks of a user by question."""
    rows = await tx.fetch_all(select(BOOKMARKS).where(BOOKMARKS.c.user_id == user_id))
    return {row["question_id"]: _bookmark_from_row(row) for row in rows}


def _bookmark_from_row(row: RowMapping) -> Bookmark:
    return Bookmark(row["note"], tuple(json.loads(row["collections"])), row["updated_at"])
