"""Use cases of the retention of audio: choice, consent, and the sweep that applies them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client import Counter

from coach_common.db.transaction import MessageContext, Transaction
from coach_common.errors import Unauthenticated
from coach_common.events.consents import ConsentChanged
from coach_common.identity import Identity
from coach_common.repair import REPAIRS
from coach_media import deletion_store, retention_store, store
from coach_media.audio_retention import AudioRetention, RetentionRule, audio_deletion_time
from coach_media.deps import Deps

AUDIO_DELETED = Counter(
    "coach_media_audio_deleted", "Recordings whose audio was deleted by the user's retention."
)

_BATCH_SIZE = 50
_TRANSCRIPTION_CHECK_DELAY = timedelta(minutes=1)
_MAX_TRANSCRIPTION_WAIT = timedelta(days=2)
"""Transcription is tried for 24 h. After this time the audio is deleted in any case."""


async def get_retention(deps: Deps, caller: Identity) -> RetentionRule:
    """Return what decides how long the caller's audio is kept."""
    async with deps.db.read_only() as tx:
        return await find_rule(deps, tx, caller.user_id)


async def choose_retention(
    deps: Deps, caller: Identity, retention: AudioRetention
) -> RetentionRule:
    """Store the caller's choice. It applies to all recordings that still have their audio.

    Without the consent to storage it applies once the consent is given.

    Raises:
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    async with deps.db.transaction() as tx:
        await store.lock_uploader(tx, caller.user_id)
        if await store.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        await retention_store.save_retention(tx, caller.user_id, retention)
        rule = await find_rule(deps, tx, caller.user_id)
        await _reschedule(tx, await retention_store.list_audio_times(tx, caller.user_id), rule)
    return rule


async def record_storage_consent(
    deps: Deps, event: ConsentChanged, message: MessageContext
) -> None:
    """Store a decision about storage, unless a later one is stored.

    A refusal, and its withdrawal, apply to all recordings that have their audio. A repeated refusal
    is applied again, because a recording may have been confirmed at the same time.
    """
    user_id = event.user_id
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.lock_uploader(tx, user_id)
        if await store.is_deleted(tx, user_id):
            await store.delete_uploader(tx, user_id)
            return
        former = await find_rule(deps, tx, user_id)
        is_new = await retention_store.save_storage_consent(
            tx, user_id, is_given=event.is_given, changed_at=event.changed_at
        )
        rule = await find_rule(deps, tx, user_id)
        if former.is_storage_refused or rule.is_storage_refused:
            await _reschedule(tx, await retention_store.list_audio_times(tx, user_id), rule)
    if is_new and event.is_repeated:
        REPAIRS.labels("media", "consent").inc()


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
        rule = await find_rule(deps, tx, user_id)
        await _reschedule(tx, times, rule, feedback_at=now)


async def find_rule(deps: Deps, tx: Transaction, user_id: UUID) -> RetentionRule:
    """Return what decides how long the audio of the user is kept."""
    return await retention_store.get_rule(tx, user_id, default=deps.default_retention)


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
    tx: Transaction,
    times: list[retention_store.AudioTimes],
    rule: RetentionRule,
    *,
    feedback_at: datetime | None = None,
) -> None:
    """Store when the rule deletes the audio, and the time of feedback. Writes only changes."""
    changed = []
    for stored in times:
        fed_back_at = stored.feedback_at or feedback_at
        delete_at = audio_deletion_time(
            rule.effective, confirmed_at=stored.confirmed_at, feedback_at=fed_back_at
        )
        scheduled = replace(stored, feedback_at=fed_back_at, audio_delete_at=delete_at)
        if scheduled != stored:
            changed.append(scheduled)
    await retention_store.save_audio_times(tx, changed)
