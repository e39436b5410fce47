"""The use cases of sessions: requests of users, and facts reported by other services."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID, uuid4

from coach_common import logs
from coach_common.db.transaction import MessageContext, Transaction
from coach_common.errors import CoachError, Conflict, Unauthenticated
from coach_common.events.catalog import SessionCreated, SessionDeleted
from coach_common.events.deletions import SessionsConfirmedDeletion
from coach_common.events.feedback import DeliveryMetrics
from coach_common.identity import Identity
from coach_common.ids import new_id, recording_id
from coach_common.repair import REPAIRS
from coach_sessions import progress_store, stats_store, store
from coach_sessions.client_transcripts import parse_client_transcript
from coach_sessions.deps import Deps
from coach_sessions.domain import (
    Failure,
    Feedback,
    RecordingLinkedElsewhere,
    RecordingNotFound,
    RecordingRef,
    Session,
    SessionNotFound,
    SessionPage,
    TooManyRecordings,
    is_own_upload_key,
)
from coach_sessions.kind import SessionKind
from coach_sessions.publishing import emit_changes
from coach_sessions.reveals import record_reveals

log = logs.get_logger(__name__)

T = TypeVar("T")
SessionChange = Callable[[Session], Session]


async def create_session(
    deps: Deps,
    caller: Identity,
    *,
    title: str,
    question: str | None,
    question_id: str | None = None,
    seniority: str | None = None,
    role: str | None = None,
    bearer: str,
) -> Session:
    """Create a session. Without `question` it asks the text of the question `question_id`.

    Raises:
        QuestionNotFound: If `question_id` does not exist or belongs to another user.
        Unavailable: If `question_id` is given and ai cannot be reached.
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    if question_id is not None:
        # Also if the client sends a text: an unknown id is reported now, not by missing scores.
        text = await deps.questions.get_text(question_id, bearer=bearer)
        question = question or text
    now = deps.clock()
    session = Session(
        id=new_id(),
        user_id=caller.user_id,
        title=title,
        question=question,
        question_id=question_id,
        seniority=seniority,
        role=role,
        created_at=now,
        updated_at=now,
    )
    async with deps.db.transaction() as tx:
        if await store.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        await store.add_session(tx, session)
        await tx.emit(
            SessionCreated(
                session_id=session.id,
                user_id=session.user_id,
                title=title,
                question=question,
                role=role,
                question_id=question_id,
                seniority=seniority,
            )
        )
    return session


async def get_session(deps: Deps, caller: Identity, session_id: UUID) -> Session:
    """Return the caller's session. The first call after it is ready reveals the score.

    Raises:
        SessionNotFound: If it does not exist or belongs to another user.
    """
    async with deps.db.read_only() as tx:
        session = await store.get_session(tx, session_id, user_id=caller.user_id)
    await record_reveals(deps, [session])
    return session


async def list_sessions(
    deps: Deps,
    caller: Identity,
    *,
    limit: int,
    position: tuple[datetime, UUID] | None,
    kind: SessionKind | None = None,
) -> SessionPage:
    """Return a page of the caller's sessions, of one kind or all, with statistics over all."""
    async with deps.db.read_only() as tx:
        rows = await store.list_sessions(
            tx, caller.user_id, limit=limit + 1, position=position, kind=kind
        )
        stats = await stats_store.get_stats(tx, caller.user_id)
    page = rows[:limit]
    await record_reveals(deps, page)
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
    bearer: str,
) -> Session:
    """Mark the session as completed.

    A repeated call fills in values that were missing and tries again what failed for another reason
    than the answer. It changes nothing else. If media has not reported `audio_s3_key` yet, the
    session waits for that recording. A transcript without a key is used only if media has received
    no recording for the session, because a recording takes precedence.

    Raises:
        SessionNotFound: If the session does not exist or belongs to another user.
        RecordingNotFound: If `audio_s3_key` is not a key of the caller.
        RecordingLinkedElsewhere: If the recording belongs to another session.
        TooManyRecordings: If the session has the maximum number of recordings.
        IsInterview: If the session is an interview.
    """
    if audio_s3_key is not None and not is_own_upload_key(caller.user_id, audio_s3_key):
        raise RecordingNotFound
    now = deps.clock()
    client_transcript = parse_client_transcript(transcript)
    key = audio_s3_key
    if client_transcript is not None and key is None:
        key = await _find_uploaded_recording(deps, session_id, bearer)

    can_restart = False

    def complete(session: Session) -> Session:
        session.require_practice()
        if can_restart:
            session = session.with_failure_reopened()
        return replace(
            session,
            completed_at=session.completed_at or now,
            duration_seconds=_keep_first(session.duration_seconds, duration_seconds),
            client_transcript=_keep_first(session.client_transcript, client_transcript),
            requested_key=key or session.requested_key,
            published_fingerprints=replace(session.published_fingerprints, completion=None)
            if session.is_being_retried
            else session.published_fingerprints,
        )

    async with deps.db.transaction() as tx:
        if key is not None:
            try:
                await _link_requested_recording(tx, caller.user_id, session_id, key)
            except (Conflict, RecordingNotFound):
                if audio_s3_key is not None:
                    raise
                key = None
        can_restart = await _reopen_failure(
            tx, session_id, caller.user_id, has_transcript=client_transcript is not None
        )
        session = await update_session_once(
            deps, tx, session_id, user_id=caller.user_id, change=complete
        )
        if session is None:
            raise SessionNotFound
    await record_reveals(deps, [session])
    return session


async def delete_session(deps: Deps, caller: Identity, session_id: UUID) -> UUID:
    """Delete the caller's session or interview. Media and ai delete recordings and transcripts.

    Returns the id of the receipt, which auth keeps.

    Raises:
        SessionNotFound: If it does not exist or belongs to another user.
    """
    now, receipt_id = deps.clock(), uuid4()
    async with deps.db.transaction() as tx:
        session = await store.lock_session(tx, session_id, user_id=caller.user_id)
        if session is None:
            raise SessionNotFound
        await store.delete_session(tx, session)
        await progress_store.delete_progress(tx, session_id)
        keys = await store.delete_recordings(tx, session_id)
        if session.requested_key is not None:
            keys.append(session.requested_key)
        for deleted_id in (session_id, *map(recording_id, keys)):
            await store.add_tombstone(tx, deleted_id, at=now)
        await deps.deletions.emit(
            tx,
            SessionDeleted(
                session_id=session_id,
                user_id=caller.user_id,
                keys=keys,
                receipt_id=receipt_id,
                deleted_at=now,
                kind=session.kind.value,
            ),
            receipt_id=receipt_id,
            user_id=caller.user_id,
        )
    return receipt_id


async def delete_user_data(
    deps: Deps,
    user_id: UUID,
    message: MessageContext,
    *,
    is_repeated: bool,
    receipt_id: UUID | None,
) -> None:
    """Delete all data of a user whose account was deleted, and confirm it for the receipt.

    With `is_repeated`, a deletion that was not known counts as a repair.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        is_new = await store.add_tombstone(tx, user_id, at=deps.clock())
        await store.delete_user_data(tx, user_id)
        if receipt_id is not None:
            await tx.emit(SessionsConfirmedDeletion(receipt_id=receipt_id))
    if is_new and is_repeated:
        REPAIRS.labels("sessions", "user_deletion").inc()


async def link_recording(
    deps: Deps, recording: RecordingRef, message: MessageContext, *, is_repeated: bool = False
) -> None:
    """Save that media has confirmed a recording, and link it to its session if it names one.

    Does nothing for a deleted user, session or recording. With `is_repeated`, a new link counts
    as a repair.
    """

    async def link(tx: Transaction) -> None:
        if recording.session_id is None:
            return
        session = await store.lock_session(tx, recording.session_id, user_id=recording.user_id)
        if session is not None and not session.can_link(recording.key):
            log.warning("recording.link_refused", session_id=str(session.id))
            return
        await store.link_recording(
            tx,
            key=recording.key,
            user_id=recording.user_id,
            session_id=recording.session_id,
            link_id=message.event_id,
        )

    await _save_recording_fact(deps, recording, message, link, is_repeated=is_repeated)


async def record_transcript(
    deps: Deps, recording: RecordingRef, text: str, message: MessageContext
) -> None:
    """Save the transcript of a recording, which may not be linked to a session yet."""

    async def save(tx: Transaction) -> None:
        await store.record_transcript(tx, recording.key, recording.user_id, text)

    await _save_recording_fact(deps, recording, message, save)


async def record_delivery_metrics(
    deps: Deps,
    recording: RecordingRef,
    metrics: DeliveryMetrics,
    *,
    is_complete: bool,
    message: MessageContext,
) -> None:
    """Save the delivery metrics of a recording, which may not be linked to a session yet."""

    async def save(tx: Transaction) -> None:
        await store.record_delivery_metrics(
            tx, recording.key, recording.user_id, metrics, is_complete=is_complete
        )

    await _save_recording_fact(deps, recording, message, save)


async def record_transcription_failure(
    deps: Deps, recording: RecordingRef, failure: Failure, message: MessageContext
) -> None:
    """Save why the transcription of a recording failed."""

    async def save(tx: Transaction) -> None:
        await store.record_failure(tx, recording.key, recording.user_id, failure)

    await _save_recording_fact(deps, recording, message, save)


async def record_feedback(
    deps: Deps, session_id: UUID, user_id: UUID, feedback: Feedback, message: MessageContext
) -> None:
    """Save the feedback of a session. Later feedback for the same session is ignored."""
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
    """Save why scoring failed."""
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
    """Lock the session row, apply the change, save it and emit the resulting events.

    All changes of sessions go through this function, so each new state is published exactly once.
    Returns None if the session was deleted.
    """
    locked = await store.lock_session(tx, session_id, user_id=user_id)
    if locked is None:
        return None
    updated = change(locked).with_facts_joined()
    updated = await emit_changes(tx, updated)
    if updated != locked:
        updated = replace(updated, updated_at=deps.clock())
    is_waiting = updated.completed_at is not None and not updated.status.is_final
    # Also if the session itself is unchanged: a fact of its recording may change the status.
    await store.update_session(
        tx, updated, repair_after=deps.clock() + deps.repair_delay if is_waiting else None
    )
    await progress_store.update_progress(tx, updated)
    return updated


async def _save_recording_fact(
    deps: Deps,
    recording: RecordingRef,
    message: MessageContext,
    save: Callable[[Transaction], Awaitable[None]],
    *,
    is_repeated: bool = False,
) -> None:
    """Lock the recording, save a fact about it and update its session.

    Nothing is kept if the user, the recording or its session was deleted.
    """
    key, user_id = recording.key, recording.user_id
    async with deps.db.transaction(deduplicate=message) as tx:
        if await store.is_deleted(tx, user_id, recording_id(key)):
            return
        await store.lock_recording(tx, key, user_id)
        is_new = is_repeated and await store.find_linked_session(tx, key, user_id) is None
        await save(tx)
        session_id = await _link_to_requesting_session(tx, recording, message)
        session_id = session_id or recording.session_id
        if session_id is None:
            return
        if await update_session_once(deps, tx, session_id, user_id=user_id) is None:
            await store.delete_recording(tx, key, user_id)
            await store.add_tombstone(tx, recording_id(key), at=deps.clock())
        elif is_new:
            REPAIRS.labels("sessions", "link").inc()


async def _find_uploaded_recording(deps: Deps, session_id: UUID, bearer: str) -> str | None:
    try:
        return await deps.uploaded_recordings.find_key(session_id, bearer=bearer)
    except CoachError as error:
        # The completion matters more. The recording is linked when its event arrives.
        log.warning("session.recordings_unknown", session_id=str(session_id), code=error.code)
        return None


async def _link_to_requesting_session(
    tx: Transaction, recording: RecordingRef, message: MessageContext
) -> UUID | None:
    """Link an unlinked recording to the session that requested it. Returns the linked session."""
    key, user_id = recording.key, recording.user_id
    session_id = await store.find_linked_session(tx, key, user_id)
    if session_id is not None:
        return session_id
    session_id = await store.find_requesting_session(tx, key, user_id)
    if session_id is not None:
        await store.link_recording(
            tx, key=key, user_id=user_id, session_id=session_id, link_id=message.event_id
        )
    return session_id


async def _link_requested_recording(
    tx: Transaction, user_id: UUID, session_id: UUID, key: str
) -> None:
    """Link the recording with this key to the session if media has reported it.

    Raises:
        SessionNotFound: If the session does not exist or belongs to another user.
        RecordingNotFound: If the recording was deleted.
        RecordingLinkedElsewhere: If the recording belongs to another session.
        TooManyRecordings: If the session has the maximum number of recordings.
    """
    if await store.is_deleted(tx, recording_id(key)):
        raise RecordingNotFound
    known = await store.lock_known_recording(tx, key, user_id)
    session = await store.lock_session(tx, session_id, user_id=user_id)
    if session is None:
        raise SessionNotFound
    if not session.can_link(key):
        raise TooManyRecordings
    if known is None:
        return
    if known.session_id not in (None, session_id):
        raise RecordingLinkedElsewhere
    await store.link_recording(
        tx, key=key, user_id=user_id, session_id=session_id, link_id=new_id()
    )


async def _reopen_failure(
    tx: Transaction, session_id: UUID, user_id: UUID, *, has_transcript: bool
) -> bool:
    """Return whether a failed session is tried again, and reopen its failed transcription.

    A transcript of the client replaces a recording that failed, which is then not tried again.
    """
    session = await store.lock_session(tx, session_id, user_id=user_id)
    if session is None or not session.can_restart:
        return False
    if session.answer is None and session.recording is not None and not has_transcript:
        await store.reopen_failure(tx, session.recording.key, user_id)
    return True


def _keep_first(known: T | None, new: T | None) -> T | None:
    return new if known is None else known
