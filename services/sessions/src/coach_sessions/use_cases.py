"""What people do with sessions, and what becomes known about them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from coach_common.db.transaction import Delivery, Transaction
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
    owns_key,
)

T = TypeVar("T")
Change = Callable[[Session], Session]


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
        if await store.is_gone(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        await store.add_session(tx, session)
    return session


async def get_session(deps: Deps, caller: Identity, session_id: UUID) -> Session:
    """Return the caller's session."""
    async with deps.db.read() as tx:
        return await store.get_session(tx, session_id, user_id=caller.user_id)


async def list_sessions(
    deps: Deps, caller: Identity, *, limit: int, before: tuple[datetime, UUID] | None
) -> SessionPage:
    """Return a page of the caller's sessions with the statistics over all of them."""
    async with deps.db.read() as tx:
        rows = await store.list_sessions(tx, caller.user_id, limit=limit + 1, before=before)
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
    if audio_s3_key is not None and not owns_key(caller.user_id, audio_s3_key):
        raise RecordingNotFound
    now = deps.clock()

    def complete(session: Session) -> Session:
        return replace(
            session,
            completed_at=session.completed_at or now,
            duration_seconds=_first(session.duration_seconds, duration_seconds),
            client_transcript=_first(session.client_transcript, transcript),
            announced=_without(session, "completed")
            if session.is_being_retried
            else session.announced,
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
        session = await change_session(
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
        keys = await store.erase_recordings(tx, session_id)
        await store.add_tombstone(tx, session_id, at=deps.clock())
        await tx.emit(SessionDeleted(session_id=session_id, user_id=caller.user_id, keys=keys))


async def erase_user(deps: Deps, user_id: UUID, delivery: Delivery) -> None:
    """Remove everything about a person whose account is gone."""
    async with deps.db.transaction(handling=delivery) as tx:
        await store.add_tombstone(tx, user_id, at=deps.clock())
        await store.erase_user(tx, user_id)


async def link_recording(
    deps: Deps, *, key: str, user_id: UUID, session_id: UUID, delivery: Delivery
) -> None:
    """Note which session a recording is for."""
    async with deps.db.transaction(handling=delivery) as tx:
        if await store.is_gone(tx, user_id):
            return
        await store.link_recording(
            tx, key=key, user_id=user_id, session_id=session_id, link_id=delivery.event_id
        )
        if await store.is_gone(tx, session_id):
            await store.erase_recordings(tx, session_id)
            return
        await change_session(deps, tx, session_id, user_id=user_id)


async def record_transcript(
    deps: Deps, *, key: str, user_id: UUID, text: str, delivery: Delivery
) -> None:
    """Note a recording's words; its session may become known only later."""
    async with deps.db.transaction(handling=delivery) as tx:
        if await store.is_gone(tx, user_id):
            return
        session_id = await store.record_text(tx, key=key, user_id=user_id, text=text)
        await _follow(deps, tx, session_id, user_id)


async def record_delivery(
    deps: Deps,
    *,
    key: str,
    user_id: UUID,
    measured: dict[str, Any],
    is_complete: bool,
    delivery: Delivery,
) -> None:
    """Note how a recording was spoken; its session may become known only later."""
    async with deps.db.transaction(handling=delivery) as tx:
        if await store.is_gone(tx, user_id):
            return
        session_id = await store.record_delivery(
            tx, key=key, user_id=user_id, delivery=measured, is_complete=is_complete
        )
        await _follow(deps, tx, session_id, user_id)


async def record_transcription_failure(
    deps: Deps, *, key: str, user_id: UUID, failure: Failure, delivery: Delivery
) -> None:
    """Note why a recording has no words, or none yet."""
    async with deps.db.transaction(handling=delivery) as tx:
        if await store.is_gone(tx, user_id):
            return
        session_id = await store.record_failure(tx, key=key, user_id=user_id, failure=failure)
        if session_id is not None:
            await change_session(deps, tx, session_id, user_id=user_id)


async def record_feedback(
    deps: Deps, session_id: UUID, user_id: UUID, feedback: Feedback, delivery: Delivery
) -> None:
    """Note the one judgement of a session; a second one changes nothing."""
    async with deps.db.transaction(handling=delivery) as tx:
        await change_session(
            deps,
            tx,
            session_id,
            user_id=user_id,
            change=lambda session: replace(session, feedback=session.feedback or feedback),
        )


async def record_feedback_failure(
    deps: Deps, session_id: UUID, user_id: UUID, failure: Failure, delivery: Delivery
) -> None:
    """Note why a session has no judgement, or none yet."""
    async with deps.db.transaction(handling=delivery) as tx:
        await change_session(
            deps,
            tx,
            session_id,
            user_id=user_id,
            change=lambda session: replace(
                session, failure=Failure.worse(session.failure, failure)
            ),
        )


async def change_session(
    deps: Deps,
    tx: Transaction,
    session_id: UUID,
    *,
    user_id: UUID,
    change: Change = lambda session: session,
) -> Session | None:
    """Hold the session, apply a change, store what follows and tell whoever must know.

    The one place where a session changes: each new state is announced exactly once, in the
    transaction that made it. Returns None where the session is gone.
    """
    held = await store.find_held_session(tx, session_id, user_id=user_id)
    if held is None:
        return None
    changed = change(held)
    changed = await _announce_transcript(tx, changed)
    changed = await _announce_completion(tx, changed)
    changed = await _announce_delivery(tx, changed)
    changed = await _announce_judgement(tx, changed)
    if changed != held:
        changed = replace(changed, updated_at=deps.clock())
    # Also where nothing else changed: a recording's fact may have moved the stored status.
    await store.update_session(tx, changed)
    return changed


async def _follow(deps: Deps, tx: Transaction, session_id: UUID | None, user_id: UUID) -> None:
    """Let a recording's session, if it has one by now, follow from what became known of it."""
    if session_id is None:
        return
    if await store.is_gone(tx, session_id):
        await store.erase_recordings(tx, session_id)
        return
    await change_session(deps, tx, session_id, user_id=user_id)


async def _announce_transcript(tx: Transaction, session: Session) -> Session:
    recording = session.recording
    if recording is None or recording.text is None or "transcribed" in session.announced:
        return session
    await tx.emit(
        SessionTranscribed(
            session_id=session.id,
            user_id=session.user_id,
            key=recording.key,
            text=recording.text,
        )
    )
    return replace(session, announced={**session.announced, "transcribed": recording.key})


async def _announce_completion(tx: Transaction, session: Session) -> Session:
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
    said = _fingerprint(event.model_dump_json())
    if session.announced.get("completed") == said:
        return session
    await tx.emit(event)
    return replace(session, announced={**session.announced, "completed": said})


async def _announce_delivery(tx: Transaction, session: Session) -> Session:
    if not session.is_measured:
        return session
    shown = session.feedback_shown()
    said = _fingerprint(json.dumps([shown["status"], shown["delivery"]], sort_keys=True))
    if session.announced.get("measured") == said:
        return session
    await tx.emit(SessionMeasured(session_id=session.id, user_id=session.user_id, feedback=shown))
    return replace(session, announced={**session.announced, "measured": said})


async def _announce_judgement(tx: Transaction, session: Session) -> Session:
    if not session.status.is_final:
        return session
    if session.feedback is not None and session.transcript is None:
        # The words are under way by another event: told once, with them.
        return session
    shown = session.feedback_shown()
    said = _fingerprint(json.dumps(shown, sort_keys=True))
    if session.announced.get("judged") == said:
        return session
    await tx.emit(SessionJudged(session_id=session.id, user_id=session.user_id, feedback=shown))
    return replace(session, announced={**session.announced, "judged": said})


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without(session: Session, name: str) -> dict[str, str]:
    return {key: value for key, value in session.announced.items() if key != name}


def _first(known: T | None, new: T | None) -> T | None:
    return new if known is None else known
