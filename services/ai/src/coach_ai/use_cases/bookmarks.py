"""Bookmarks of questions, with notes and collections."""

from collections import Counter as CountOf
from collections.abc import Sequence
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain import QuestionNotFound
from coach_ai.domain.bookmarks import Bookmark
from coach_ai.store import bookmarks, deletion, questions
from coach_ai.use_cases.questions import get_question, normalize_question_id
from coach_common.errors import Unauthenticated
from coach_common.identity import Identity

BOOKMARK_CHANGES = Counter("coach_ai_bookmark_changes", "Changes of bookmarks.", ["change"])


async def save_bookmark(
    deps: Deps, caller: Identity, question_id: str, *, note: str | None, collections: Sequence[str]
) -> Bookmark:
    """Mark a question that the caller may use. Replaces the note and the collections.

    Raises:
        QuestionNotFound: If it does not exist or belongs to another user.
        TooManyBookmarks: If the caller has the maximum number of bookmarks.
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    question = await get_question(deps, caller, question_id)
    bookmark = Bookmark(note, tuple(dict.fromkeys(collections)), deps.clock())
    async with deps.db.transaction() as tx:
        if await deletion.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        if question.owner_id is not None and not await questions.lock_own_question(
            tx, UUID(question.id), caller.user_id
        ):
            raise QuestionNotFound
        await bookmarks.save_bookmark(tx, question.id, caller.user_id, bookmark)
    BOOKMARK_CHANGES.labels("saved").inc()
    return bookmark


async def delete_bookmark(deps: Deps, caller: Identity, question_id: str) -> None:
    """Delete the caller's bookmark of a question. Does nothing if there is none."""
    async with deps.db.transaction() as tx:
        await bookmarks.delete_bookmark(tx, normalize_question_id(question_id), caller.user_id)
    BOOKMARK_CHANGES.labels("deleted").inc()


async def find_bookmark(deps: Deps, caller: Identity, question_id: str) -> Bookmark | None:
    """Return the caller's bookmark of a question, or None."""
    async with deps.db.read_only() as tx:
        found = await bookmarks.list_bookmarks(tx, caller.user_id, [question_id])
    return found.get(question_id)


async def count_collections(deps: Deps, caller: Identity) -> dict[str, int]:
    """Return how many questions each collection of the caller has, in the order of the names."""
    async with deps.db.read_only() as tx:
        marked = await bookmarks.list_all_bookmarks(tx, caller.user_id)
    counts = CountOf(name for one in marked.values() for name in one.collections)
    return dict(sorted(counts.items()))
