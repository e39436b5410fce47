"""Repair of sessions that wait: stalled ones are published, missing recordings are given up."""

from dataclasses import replace

from prometheus_client import Counter

from coach_common import logs
from coach_common.events.catalog import SessionStalled
from coach_common.repair import next_repair_at
from coach_sessions import store, use_cases
from coach_sessions.deps import Deps
from coach_sessions.domain import MAX_RECORDING_DELAY
from coach_sessions.publishing import build_completion

log = logs.get_logger(__name__)

RECORDINGS_GIVEN_UP = Counter(
    "coach_sessions_recordings_given_up", "Sessions that used the client's transcript instead."
)

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


async def stop_waiting_for_recordings(deps: Deps) -> int:
    """Use the client's transcript where its recording will not arrive; return how many.

    Media searches for an upload until 24 hours after its URL has expired.
    """
    before = deps.clock() - MAX_RECORDING_DELAY
    async with deps.db.read_only() as tx:
        waiting = await store.list_waiting_for_recordings(tx, before, limit=_BATCH_SIZE)
    for session_id, user_id in waiting:
        async with deps.db.transaction() as tx:
            await use_cases.update_session_once(
                deps,
                tx,
                session_id,
                user_id=user_id,
                change=lambda session: replace(session, requested_key=None),
            )
        RECORDINGS_GIVEN_UP.inc()
        log.warning("session.recording_given_up", session_id=str(session_id))
    return len(waiting)
