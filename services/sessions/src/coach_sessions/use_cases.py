"""What people do with sessions, and what becomes known about them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from coach_common.db.transaction import MessageContext, Transaction
from coach_common.errors import Unauthenticated
from coach_common.events.catalog import (
    SessionCompleted,
    SessionDeleted,
    SessionJudged,
    SessionMeasured,
    SessionTranscribed,
)
from coach_common.identity import Identity
from coach_common.ids import new_id
from coach_sessions import store
from coach_sessions.deps import Deps
from coach_sessions.domain import (
    Failure,
    Feedback,
    RecordingNotFound,
    Session,
    SessionNotFound,
    SessionPage,
    is_own_upload_key,
)

T = TypeVar("T")
SessionChange = Callable[[Session], Session]


async def create_session(
    deps: Deps, caller: Identity, *, title: str, question: str | None
) -> Session:
    """Open a new session."""
    now = deps.clock()
    session = Session(
        id=new_id(),
        user_id=caller.user_id,
        title=title,
        question=question,
        created_at=now,
        updated_at=now,
    )
    async with deps.db.transaction() as tx:
        if await store.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        await store.add_session(tx, session)
    return session


async def get_session(deps: Deps, caller: Identity, session_id: UUID) -> Session:
    """Return the caller's session."""
    async with deps.db.read_only() as tx:
        return await store.get_session(tx, session_id, user_id=caller.user_id)


async def list_sessions(
    deps: Deps, caller: Identity, *, limit: int, position: tuple[datetime, UUID] | None
) -> SessionPage:
    """Return a page of the caller's sessions with the statistics over all of them."""
    async with deps.db.read_only() as tx:
        rows = await store.list_sessions(tx, caller.user_id, limit=limit + 1, position=position)
        stats = await store.get_stats(tx, caller.user_id)
    page = rows[:limit]
    has_more = len(rows) > limit
    return SessionPage(page, stats, (page[-1].created_at, page[-1].id) if has_more else None)


async def complete_session(
    deps: Deps,
    caller: Identity,
    session_id: UUID,
    *,
    duration_seconds: int | None,
    transcript: str | None,
    audio_s3_key: str | None,
) -> Session:
    """Say that the answer is given.

    Saying it again fills in what was missing, starts a failure that may be retried again, and
    changes nothing else.
    """
    if audio_s3_key is not None and not is_own_upload_key(caller.user_id, audio_s3_key):
        raise RecordingNotFound
    now = deps.clock()

    def complete(session: Session) -> Session:
        return replace(
            session,
            completed_at=session.completed_at or now,
            duration_seconds=_keep_first(session.duration_seconds, duration_seconds),
            client_transcript=_keep_first(session.client_transcript, transcript),
            published_fingerprints=_fingerprints_without(session, "completed")
            if session.is_being_retried
            else session.published_fingerprints,
        )

    async with deps.db.transaction() as tx:
        if audio_s3_key is not None:
            await store.link_recording(
                tx,
                key=audio_s3_key,
                user_id=caller.user_id,
                session_id=session_id,
                link_id=new_id(),
            )
        session = await update_session_once(
            deps, tx, session_id, user_id=caller.user_id, change=complete
        )
        if session is None:
            raise SessionNotFound
    return session


async def delete_session(deps: Deps, caller: Identity, session_id: UUID) -> None:
    """Remove the caller's session; media and ai remove its recording and transcript."""
    async with deps.db.transaction() as tx:
        if not await store.delete_session(tx, session_id, user_id=caller.user_id):
            raise SessionNotFound
        keys = await store.clear_recordings(tx, session_id)
        await store.add_tombstone(tx, session_id, at=deps.clock())
        await tx.emit(SessionDeleted(session_id=session_id, user_id=caller.user_id, keys=keys))


async def delete_user_data(deps: Deps, user_id: UUID, message: MessageContext) -> None:
    """Remove everything about a person whose account is gone."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.add_tombstone(tx, user_id, at=deps.clock())
        await store.delete_user_data(tx, user_id)


async def link_recording(
    deps: Deps, *, key: str, user_id: UUID, session_id: UUID, message: MessageContext
) -> None:
    """Note which session a recording is for."""
    async with deps.db.transaction(deduplicate=message) as tx:
        if await store.is_deleted(tx, user_id):
            return
        await store.link_recording(
            tx, key=key, user_id=user_id, session_id=session_id, link_id=message.event_id
        )
        if await store.is_deleted(tx, session_id):
            await store.clear_recordings(tx, session_id)
            return
        await update_session_once(deps, tx, session_id, user_id=user_id)


async def record_transcript(
    deps: Deps, *, key: str, user_id: UUID, text: str, message: MessageContext
) -> None:
    """Note a recording's words; its session may become known only later."""
    async with deps.db.transaction(deduplicate=message) as tx:
        if await store.is_deleted(tx, user_id):
            return
        session_id = await store.record_transcript(tx, key=key, user_id=user_id, transcript=text)
        await _refresh_session(deps, tx, session_id, user_id)


async def record_delivery_metrics(
    deps: Deps,
    *,
    key: str,
    user_id: UUID,
    metrics: dict[str, Any],
    is_complete: bool,
    message: MessageContext,
) -> None:
    """Note how a recording was spoken; its session may become known only later."""
    async with deps.db.transaction(deduplicate=message) as tx:
        if await store.is_deleted(tx, user_id):
            return
        session_id = await store.record_delivery_metrics(
            tx, key=key, user_id=user_id, metrics=metrics, is_complete=is_complete
        )
        await _refresh_session(deps, tx, session_id, user_id)


async def record_transcription_failure(
    deps: Deps, *, key: str, user_id: UUID, failure: Failure, message: MessageContext
) -> None:
    """Note why a recording has no words, or none yet."""
    async with deps.db.transaction(deduplicate=message) as tx:
        if await store.is_deleted(tx, user_id):
            return
        session_id = await store.record_failure(tx, key=key, user_id=user_id, failure=failure)
        if session_id is not None:
            await update_session_once(deps, tx, session_id, user_id=user_id)


async def record_feedback(
    deps: Deps, session_id: UUID, user_id: UUID, feedback: Feedback, message: MessageContext
) -> None:
    """Note the one judgement of a session; a second one changes nothing."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await update_session_once(
            deps,
            tx,
            session_id,
            user_id=user_id,
            change=lambda session: replace(session, feedback=session.feedback or feedback),
        )


async def record_feedback_failure(
    deps: Deps, session_id: UUID, user_id: UUID, failure: Failure, message: MessageContext
) -> None:
    """Note why a session has no judgement, or none yet."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await update_session_once(
            deps,
            tx,
            session_id,
            user_id=user_id,
            change=lambda session: replace(
                session, failure=Failure.prevailing(session.failure, failure)
            ),
        )


async def update_session_once(
    deps: Deps,
    tx: Transaction,
    session_id: UUID,
    *,
    user_id: UUID,
    change: SessionChange = lambda session: session,
) -> Session | None:
    """Hold the session, apply a change, store what follows and tell whoever must know.

    The one place where a session changes: each new state is announced exactly once, in the
    transaction that made it. Returns None where the session is gone.
    """
    locked = await store.find_session_for_update(tx, session_id, user_id=user_id)
    if locked is None:
        return None
    updated = change(locked)
    updated = await _publish_transcript(tx, updated)
    updated = await _publish_completion(tx, updated)
    updated = await _publish_interim_feedback(tx, updated)
    updated = await _publish_final_feedback(tx, updated)
    if updated != locked:
        updated = replace(updated, updated_at=deps.clock())
    # Also where nothing else changed: a recording's fact may have moved the stored status.
    await store.update_session(tx, updated)
    return updated


async def _refresh_session(
    deps: Deps, tx: Transaction, session_id: UUID | None, user_id: UUID
) -> None:
    """Let a recording's session, if it has one by now, follow from what became known of it."""
    if session_id is None:
        return
    if await store.is_deleted(tx, session_id):
        await store.clear_recordings(tx, session_id)
        return
    await update_session_once(deps, tx, session_id, user_id=user_id)


async def _publish_transcript(tx: Transaction, session: Session) -> Session:
    recording = session.recording
    if (
        recording is None
        or recording.transcript is None
        or "transcribed" in session.published_fingerprints
    ):
        return session
    await tx.emit(
        SessionTranscribed(
            session_id=session.id,
            user_id=session.user_id,
            key=recording.key,
            text=recording.transcript,
        )
    )
    return replace(
        session,
        published_fingerprints={**session.published_fingerprints, "transcribed": recording.key},
    )


async def _publish_completion(tx: Transaction, session: Session) -> Session:
    if session.completed_at is None or session.feedback is not None:
        return session
    event = SessionCompleted(
        session_id=session.id,
        user_id=session.user_id,
        title=session.title,
        question=session.question,
        duration_seconds=session.duration_seconds,
        audio_s3_key=session.audio_s3_key,
        transcript=session.client_transcript,
    )
    fingerprint = _fingerprint(event.model_dump_json())
    if session.published_fingerprints.get("completed") == fingerprint:
        return session
    await tx.emit(event)
    return replace(
        session, published_fingerprints={**session.published_fingerprints, "completed": fingerprint}
    )


async def _publish_interim_feedback(tx: Transaction, session: Session) -> Session:
    if not session.has_interim_feedback:
        return session
    view = session.to_feedback_view()
    fingerprint = _fingerprint(json.dumps([view["status"], view["delivery"]], sort_keys=True))
    if session.published_fingerprints.get("measured") == fingerprint:
        return session
    await tx.emit(SessionMeasured(session_id=session.id, user_id=session.user_id, feedback=view))
    return replace(
        session, published_fingerprints={**session.published_fingerprints, "measured": fingerprint}
    )


async def _publish_final_feedback(tx: Transaction, session: Session) -> Session:
    if not session.status.is_final:
        return session
    if session.feedback is not None and session.transcript is None:
        # The words are under way by another event: told once, with them.
        return session
    view = session.to_feedback_view()
    fingerprint = _fingerprint(json.dumps(view, sort_keys=True))
    if session.published_fingerprints.get("judged") == fingerprint:
        return session
    await tx.emit(SessionJudged(session_id=session.id, user_id=session.user_id, feedback=view))
    return replace(
        session, published_fingerprints={**session.published_fingerprints, "judged": fingerprint}
    )


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fingerprints_without(session: Session, name: str) -> dict[str, str]:
    return {key: value for key, value in session.published_fingerprints.items() if key != name}


def _keep_first(known: T | None, new: T | None) -> T | None:
    return new if known is None else known
