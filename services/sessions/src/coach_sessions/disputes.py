"""Stores disputes of scores with the feedback that they are about."""

from dataclasses import replace
from uuid import UUID

from coach_common.db.transaction import MessageContext
from coach_common.errors import Unavailable
from coach_common.events.feedback import DisputeView
from coach_sessions import store
from coach_sessions.deps import Deps
from coach_sessions.domain import Session
from coach_sessions.use_cases import update_session_once

_SCORING = "scoring"


async def record_dispute(
    deps: Deps, session_id: UUID, user_id: UUID, dispute: DisputeView, message: MessageContext
) -> None:
    """Save a dispute. Does nothing if the session was deleted or a later state is stored.

    Raises:
        Unavailable: If the feedback has not arrived yet. The event is delivered again.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        locked = await store.lock_session(tx, session_id, user_id=user_id)
        if locked is not None and locked.feedback is None:
            raise Unavailable("The feedback of this dispute has not arrived yet.")
        await update_session_once(
            deps,
            tx,
            session_id,
            user_id=user_id,
            change=lambda session: add_dispute(session, dispute),
        )


def add_dispute(session: Session, dispute: DisputeView) -> Session:
    """Return the session with the dispute, unless it has a later state of it."""
    feedback = session.feedback
    if feedback is None or not _is_later(dispute, feedback.dispute):
        return session
    return replace(session, feedback=replace(feedback, dispute=dispute))


def _is_later(dispute: DisputeView, stored: DisputeView | None) -> bool:
    """Return whether a dispute is later: opened later, or with a result instead of none."""
    if stored is None or dispute.created_at != stored.created_at:
        return stored is None or dispute.created_at > stored.created_at
    return stored.status == _SCORING
