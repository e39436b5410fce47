"""Use cases of the retention of audio: the user's choice, and the sweep that applies it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from prometheus_client import Counter

from coach_common.db.transaction import MessageContext, Transaction
from coach_common.errors import Unauthenticated
from coach_common.identity import Identity
from coach_media import deletion_store, retention_store, store
from coach_media.audio_retention import AudioRetention, audio_deletion_time
from coach_media.deps import Deps

AUDIO_DELETED = Counter(
    "coach_media_audio_deleted", "Recordings whose audio was deleted by the user's retention."
)

_BATCH_SIZE = 50
_TRANSCRIPTION_CHECK_DELAY = timedelta(minutes=1)
_MAX_TRANSCRIPTION_WAIT = timedelta(days=2)
"""Transcription is tried for 24 h. After this time the audio is deleted in any case."""


async def get_retention(deps: Deps, caller: Identity) -> tuple[AudioRetention, bool]:
    """Return what applies to the caller's audio, and whether it is the default."""
    async with deps.db.read_only() as tx:
        chosen = await retention_store.find_retention(tx, caller.user_id)
    return (deps.default_retention, True) if chosen is None else (chosen, False)


async def choose_retention(deps: Deps, caller: Identity, retention: AudioRetention) -> None:
    """Store the caller's choice. It applies to all recordings that still have their audio.

    Raises:
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    async with deps.db.transaction() as tx:
        await store.lock_uploader(tx, caller.user_id)
        if await store.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        await retention_store.save_retention(tx, caller.user_id, retention)
        await _reschedule(tx, await retention_store.list_audio_times(tx, caller.user_id), retention)


async def record_feedback(
    deps: Deps,
    session_id: UUID,
    user_id: UUID,
    message: MessageContext,
    *,
    keys: Sequence[str] = (),
) -> None:
    """Store that the feedback of a session is ready. Applied once per message.

    `keys` are recordings of the session whose link may not have arrived.
    """
    now = deps.clock()
    async with deps.db.transaction(deduplicate=message) as tx:
        times = await retention_store.list_audio_times(
            tx, user_id, session_id=session_id, keys=keys
        )
        retention = await find_effective_retention(deps, tx, user_id)
        fed_back = [replace(one, feedback_at=one.feedback_at or now) for one in times]
        await _reschedule(tx, fed_back, retention)


async def find_effective_retention(deps: Deps, tx: Transaction, user_id: UUID) -> AudioRetention:
    """Return the choice of the user, or the default."""
    return await retention_store.find_retention(tx, user_id) or deps.default_retention


async def delete_due_audio(deps: Deps) -> int:
    """Delete the audio that is due; return how many uploads were due.

    Audio that is still being transcribed is deleted later. The object is deleted by the worker of
    object deletions. Several replicas may run this at the same time.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await retention_store.list_due_audio(tx, now, limit=_BATCH_SIZE)
    for upload, due_at in due:
        async with deps.db.transaction() as tx:
            waits_since = upload.confirmed_at or now
            if (
                not retention_store.is_transcription_over(upload)
                and now - waits_since < _MAX_TRANSCRIPTION_WAIT
            ):
                until = now + _TRANSCRIPTION_CHECK_DELAY
                await retention_store.postpone_audio_deletion(
                    tx, upload, due_at=due_at, until=until
                )
            elif await retention_store.mark_audio_deleted(tx, upload, due_at=due_at, at=now):
                await deletion_store.add_object_deletions(tx, [upload], due_at=now)
                AUDIO_DELETED.inc()
    return len(due)


async def _reschedule(
    tx: Transaction, times: list[retention_store.AudioTimes], retention: AudioRetention
) -> None:
    await retention_store.save_audio_times(
        tx,
        [
            (
                one,
                audio_deletion_time(
                    retention, confirmed_at=one.confirmed_at, feedback_at=one.feedback_at
                ),
            )
            for one in times
        ],
    )
