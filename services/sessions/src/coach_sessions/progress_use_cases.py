"""The use cases of attempts and progress."""

from datetime import datetime
from uuid import UUID

from coach_common.identity import Identity
from coach_sessions import progress_store, store
from coach_sessions.attempts import AttemptPage, compare_attempts
from coach_sessions.deps import Deps


async def list_attempts(
    deps: Deps,
    caller: Identity,
    session_id: UUID,
    *,
    limit: int,
    position: tuple[datetime, UUID] | None,
) -> AttemptPage:
    """Return a page of the caller's attempts at the question of a session, that session included.

    Raises:
        SessionNotFound: If the session does not exist or belongs to another user.
    """
    async with deps.db.read_only() as tx:
        session = await store.get_session(tx, session_id, user_id=caller.user_id)
        attempts = await progress_store.list_attempts(
            tx, session, limit=limit + 1, position=position
        )
        page = attempts[:limit]
        last = (page[-1].created_at, page[-1].session_id) if page else None
        earlier = None
        if last is not None and len(attempts) > limit:
            earlier = await progress_store.find_scored_attempt_before(tx, session, last)
    compared = compare_attempts(page, earlier)
    return AttemptPage(compared, last if len(attempts) > limit else None)
