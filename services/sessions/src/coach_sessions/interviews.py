"""Interviews in the history: ai runs and stores them, events bring what the history shows."""

from dataclasses import replace
from enum import Enum, auto
from uuid import UUID

from prometheus_client import Counter

from coach_common.db.transaction import MessageContext, Transaction
from coach_common.events.deletions import SessionsConfirmedDeletion
from coach_common.events.feedback import DeliveryMetrics
from coach_common.events.interviews import (
    InterviewAssessed,
    InterviewDeleted,
    InterviewRecordingLinked,
    InterviewStarted,
)
from coach_common.ids import recording_id
from coach_common.repair import REPAIRS
from coach_sessions import progress_store, store, use_cases
from coach_sessions.deps import Deps
from coach_sessions.domain import Feedback, Session
from coach_sessions.kind import SessionKind

HISTORY_INTERVIEWS = Counter(
    "coach_sessions_interviews",
    "Changes of interviews in the history: started, assessed or deleted.",
    ["step"],
)


class _Presence(Enum):
    """Whether the history has an interview."""

    ADDED = auto()
    KNOWN = auto()
    DELETED = auto()


_NOT_MEASURABLE = DeliveryMetrics(
    status="not_measurable", reason="An interview has several answers."
)


async def record_start(deps: Deps, event: InterviewStarted, message: MessageContext) -> None:
    """Add the interview to the history. Does nothing if it or its user was deleted."""
    async with deps.db.transaction(deduplicate=message) as tx:
        is_new = await _add_missing(tx, event) is _Presence.ADDED
    _count_change("started", event, is_new=is_new)


async def record_recording(
    deps: Deps, event: InterviewRecordingLinked, message: MessageContext
) -> None:
    """Link a recording to its interview, so that it is deleted with it.

    A recording that is linked to another session keeps its link. If the interview was deleted, a
    recording without another link is deleted as well.
    """
    key, user_id = event.key, event.user_id
    async with deps.db.transaction(deduplicate=message) as tx:
        if await store.is_deleted(tx, recording_id(key)):
            return
        await store.lock_recording(tx, key, user_id)
        if await _add_missing(tx, event) is not _Presence.DELETED:
            await store.link_recording(
                tx,
                key=key,
                user_id=user_id,
                session_id=event.interview_id,
                link_id=message.event_id,
            )
        else:
            await _delete_recording(deps, tx, key, user_id, event.interview_id)


async def record_assessment(deps: Deps, event: InterviewAssessed, message: MessageContext) -> None:
    """Store the completion and the scores of an interview. The later assessment counts."""
    feedback = Feedback(
        overall_score=event.overall_score,
        communication_score=event.communication_score,
        technical_score=event.technical_score,
        clarity_score=event.clarity_score,
        strengths=[],
        improvements=[],
        detailed_feedback="",
        evidence=[],
        delivery=_NOT_MEASURABLE,
        provider=event.provider or "",
        model=event.model or "",
        rubric_version=event.rubric_version or "",
        generated_at=event.assessed_at,
    )

    def assess(session: Session) -> Session:
        known = session.feedback
        if known is not None and known.generated_at >= feedback.generated_at:
            return session
        return replace(
            session,
            completed_at=event.completed_at,
            duration_seconds=event.duration_seconds,
            feedback=feedback,
        )

    async with deps.db.transaction(deduplicate=message) as tx:
        if await _add_missing(tx, event) is _Presence.DELETED:
            return
        session = await use_cases.update_session_once(
            deps, tx, event.interview_id, user_id=event.user_id, change=assess
        )
        is_new = session is not None and session.feedback is feedback
    _count_change("assessed", event, is_new=is_new)


async def delete_interview(deps: Deps, event: InterviewDeleted, message: MessageContext) -> None:
    """Delete an interview that ai has deleted, with its recordings, and confirm it.

    A deletion that was not known and is repeated counts as a repair.
    """
    interview_id, user_id = event.interview_id, event.user_id
    async with deps.db.transaction(deduplicate=message) as tx:
        is_new = await store.add_tombstone(tx, interview_id, at=deps.clock())
        for key in event.keys:
            await store.lock_recording(tx, key, user_id)
            await _delete_recording(deps, tx, key, user_id, interview_id)
        session = await store.lock_session(tx, interview_id, user_id=user_id)
        if session is not None:
            await store.delete_session(tx, session)
            await progress_store.delete_progress(tx, interview_id)
        for key in await store.delete_recordings(tx, interview_id):
            await store.add_tombstone(tx, recording_id(key), at=deps.clock())
        await tx.emit(SessionsConfirmedDeletion(receipt_id=event.receipt_id))
    HISTORY_INTERVIEWS.labels("deleted").inc()
    if is_new and event.is_repeated:
        REPAIRS.labels("sessions", "interview_deletion").inc()


def _count_change(step: str, event: InterviewStarted, *, is_new: bool) -> None:
    """Count a change of the history. What only a repeated event has brought is a repair."""
    if not is_new:
        return
    HISTORY_INTERVIEWS.labels(step).inc()
    if event.is_repeated:
        REPAIRS.labels("sessions", "interview").inc()


async def _add_missing(tx: Transaction, event: InterviewStarted) -> _Presence:
    """Insert the interview unless it is stored, or it or its user was deleted.

    It is inserted before the tombstones are read: a deletion either finds the row, whose lock this
    transaction holds, or its tombstone is found here.
    """
    interview = Session(
        id=event.interview_id,
        user_id=event.user_id,
        title=event.title,
        question=None,
        created_at=event.created_at,
        updated_at=event.created_at,
        kind=SessionKind.INTERVIEW,
    )
    is_new = await store.add_missing_session(tx, interview)
    if not await store.is_deleted(tx, interview.id, interview.user_id):
        return _Presence.ADDED if is_new else _Presence.KNOWN
    stored = await store.lock_session(tx, interview.id, user_id=interview.user_id)
    if stored is not None:
        await store.delete_session(tx, stored)
    return _Presence.DELETED


async def _delete_recording(
    deps: Deps, tx: Transaction, key: str, user_id: UUID, interview_id: UUID
) -> None:
    """Delete a locked recording unless it is linked to another session."""
    if await store.find_linked_session(tx, key, user_id) in (None, interview_id):
        await store.delete_recording(tx, key, user_id)
        await store.add_tombstone(tx, recording_id(key), at=deps.clock())
