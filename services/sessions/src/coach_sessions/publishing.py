"""The events that follow from a session's state. Each new state is emitted exactly once."""

import hashlib
import json
from dataclasses import replace

from coach_common.db.transaction import Transaction
from coach_common.events.catalog import (
    SessionCompleted,
    SessionJudged,
    SessionMeasured,
    SessionTranscribed,
)
from coach_sessions.domain import Session
from coach_sessions.kind import SessionKind
from coach_sessions.presentation import build_feedback_view


async def emit_changes(tx: Transaction, session: Session) -> Session:
    """Emit what was not published yet. Returns the session with the fingerprints of the events.

    The caller holds the lock of the session row and saves the returned session. Sessions emits
    nothing about an interview, which ai owns.
    """
    if session.kind is SessionKind.INTERVIEW:
        return session
    session = await _emit_transcript(tx, session)
    session = await _emit_completion(tx, session)
    session = await _emit_interim_feedback(tx, session)
    return await _emit_final_feedback(tx, session)


def build_completion(session: Session) -> SessionCompleted:
    """Return the event with everything that ai needs to score the session."""
    return SessionCompleted(
        session_id=session.id,
        user_id=session.user_id,
        title=session.title,
        question=session.question,
        duration_seconds=session.duration_seconds,
        audio_s3_key=session.audio_s3_key,
        transcript=session.usable_client_transcript,
        question_id=session.question_id,
        seniority=session.seniority,
        role=session.role,
    )


async def _emit_transcript(tx: Transaction, session: Session) -> Session:
    answer = session.answer
    published = session.published_fingerprints
    if answer is None or answer.recording_key is None or published.transcript is not None:
        return session
    await tx.emit(
        SessionTranscribed(
            session_id=session.id,
            user_id=session.user_id,
            key=answer.recording_key,
            text=answer.text,
        )
    )
    return replace(
        session, published_fingerprints=replace(published, transcript=answer.recording_key)
    )


async def _emit_completion(tx: Transaction, session: Session) -> Session:
    if session.completed_at is None or session.feedback is not None:
        return session
    event = build_completion(session)
    published = session.published_fingerprints
    fingerprint = _fingerprint(event.model_dump_json())
    if published.completion == fingerprint:
        return session
    await tx.emit(event)
    return replace(session, published_fingerprints=replace(published, completion=fingerprint))


async def _emit_interim_feedback(tx: Transaction, session: Session) -> Session:
    if not session.has_interim_feedback:
        return session
    view = build_feedback_view(session)
    published = session.published_fingerprints
    content = [view.status, view.delivery.model_dump(mode="json")]
    fingerprint = _fingerprint(json.dumps(content, sort_keys=True))
    if published.interim_feedback == fingerprint:
        return session
    await tx.emit(SessionMeasured(session_id=session.id, user_id=session.user_id, feedback=view))
    return replace(session, published_fingerprints=replace(published, interim_feedback=fingerprint))


async def _emit_final_feedback(tx: Transaction, session: Session) -> Session:
    if not session.status.is_final:
        return session
    view = build_feedback_view(session)
    published = session.published_fingerprints
    # Sessions without a dispute keep the fingerprint of releases that knew none.
    content = view.model_dump(mode="json", exclude={"dispute"} if view.dispute is None else None)
    fingerprint = _fingerprint(json.dumps(content, sort_keys=True))
    if published.final_feedback == fingerprint:
        return session
    await tx.emit(SessionJudged(session_id=session.id, user_id=session.user_id, feedback=view))
    return replace(session, published_fingerprints=replace(published, final_feedback=fingerprint))


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
