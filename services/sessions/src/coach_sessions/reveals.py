"""Records that a user has read the score of a session, which ends the time for a self-rating."""

from collections.abc import Sequence
from uuid import UUID

from coach_common import logs
from coach_common.errors import Unavailable
from coach_sessions import progress_store
from coach_sessions.deps import Deps

log = logs.get_logger(__name__)


async def record_reveals(deps: Deps, session_ids: Sequence[UUID]) -> None:
    """Record that the feedback of these ready sessions was shown. Idempotent.

    If the database cannot write, the sessions stay unrevealed, because reading matters more.
    """
    if not session_ids:
        return
    try:
        async with deps.db.transaction() as tx:
            await progress_store.mark_revealed(tx, session_ids, at=deps.clock())
    except Unavailable as error:
        log.warning("session.reveal_not_recorded", code=error.code, sessions=len(session_ids))
