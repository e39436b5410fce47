"""The repair sweep publishes stalled sessions, so that lost events are sent again."""

from coach_common import logs
from coach_common.events.catalog import SessionStalled
from coach_common.repair import next_repair_at
from coach_sessions import store
from coach_sessions.deps import Deps
from coach_sessions.publishing import build_completion

log = logs.get_logger(__name__)

_BATCH_SIZE = 100


async def publish_stalled_sessions(deps: Deps) -> int:
    """Emit `session.stalled` for the sessions that are due; return how many were due.

    Several replicas may run this at the same time: each due session is claimed by one of them.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await store.list_due_repairs(tx, now, limit=_BATCH_SIZE)
    for session_id, user_id, due_at in due:
        async with deps.db.transaction() as tx:
            session = await store.lock_session(tx, session_id, user_id=user_id)
            if session is None:
                continue
            is_stalled = session.completed_at is not None and not session.status.is_final
            next_at = None
            if session.completed_at is not None and is_stalled:
                next_at = next_repair_at(
                    now, waiting_since=session.completed_at, delay=deps.repair_delay
                )
            if not await store.claim_repair(tx, session_id, due_at=due_at, next_repair_at=next_at):
                continue
            if is_stalled:
                await tx.emit(
                    SessionStalled(
                        **build_completion(session).model_dump(),
                        status=session.status.value,
                        requested_key=session.requested_key,
                    )
                )
                log.info("session.stalled", session_id=str(session_id), status=session.status.value)
    return len(due)
