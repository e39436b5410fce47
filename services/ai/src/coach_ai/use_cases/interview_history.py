"""What other services learn about interviews: their history, their recordings, their deletion."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

from coach_ai.deps import Deps
from coach_ai.interview.assessment import Assessment
from coach_ai.interview.model import Interview, InterviewStatus, Turn
from coach_ai.store import deletion, interview_deletion, interviews, recordings
from coach_common.db.database import Database
from coach_common.db.transaction import MessageContext, Transaction
from coach_common.events.interviews import (
    InterviewAssessed,
    InterviewDeleted,
    InterviewRecordingLinked,
    InterviewStarted,
)
from coach_common.ids import recording_id
from coach_common.repair import REPUBLICATION_GROWTH, next_repair_at

_BATCH_SIZE = 100
_MAX_PAUSE = timedelta(minutes=10)
"""A longer time between two turns counts as this, because the user was absent."""


async def emit_start(deps: Deps, tx: Transaction, interview: Interview) -> None:
    """Emit that an interview was started."""
    await _emit(deps, tx, _build_start(interview))


async def emit_assessment(
    deps: Deps, tx: Transaction, interview: Interview, turns: Sequence[Turn], assessment: Assessment
) -> None:
    """Emit the completion and the scores of a completed interview."""
    await _emit(deps, tx, _build_assessment(interview, turns, assessment))


async def republish_due(deps: Deps) -> int:
    """Emit the state of the due interviews again; return how many were due.

    Sessions and media may have lost it. Several replicas may run this at the same time: each row is
    claimed by one of them.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await interviews.list_due(tx, now, limit=_BATCH_SIZE)
    for interview, due_at in due:
        is_completed = interview.status is InterviewStatus.COMPLETED
        next_at = next_repair_at(
            now,
            waiting_since=interview.updated_at if is_completed else interview.created_at,
            delay=deps.repair_delay,
            growth=REPUBLICATION_GROWTH,
        )
        async with deps.db.transaction() as tx:
            # The claim fails if the interview was assessed or deleted after it was read.
            if await interviews.claim_republication(
                tx, interview.id, due_at=due_at, republish_after=next_at
            ):
                event = await _build_state(tx, interview)
                await tx.emit(event.model_copy(update={"is_repeated": True}))
    return len(due)


async def schedule_all(database: Database) -> str:
    """Publish the state of all interviews again."""
    count, last = 0, None
    while True:
        async with database.transaction() as tx:
            scheduled, last = await interviews.schedule_batch(
                tx, after=last, limit=_BATCH_SIZE, at=database.clock()
            )
        count += scheduled
        if last is None:
            return f"Interviews that ai publishes again: {count}."


async def link_recording(tx: Transaction, interview: Interview, key: str) -> None:
    """Link the user's recording to the interview, and emit it unless it was linked before."""
    recording = await recordings.find_recording_by_key(tx, key, user_id=interview.user_id)
    if recording is None or recording.session_id is not None:
        return
    await recordings.mark_linked(tx, recording.upload_id, interview.id)
    await tx.emit(InterviewRecordingLinked(**_base_fields(interview), key=key))


async def delete_interview(deps: Deps, interview_id: UUID, user_id: UUID) -> UUID:
    """Delete the user's interview with its turns and transcripts. Return the id of the receipt.

    Sessions and media delete its recordings.

    Raises:
        InterviewNotFound: If it does not exist or belongs to another user.
    """
    receipt_id = uuid4()
    async with deps.db.transaction() as tx:
        await interviews.get_interview(tx, interview_id, user_id=user_id)
        await erase_interview(deps, tx, interview_id, user_id, keys=(), receipt_id=receipt_id)
    return receipt_id


async def erase_interview(
    deps: Deps,
    tx: Transaction,
    interview_id: UUID,
    user_id: UUID,
    *,
    keys: Iterable[str],
    receipt_id: UUID,
) -> bool:
    """Delete all rows of an interview and its recordings, add tombstones, and emit the deletion.

    `keys` are recordings that sessions knows. Returns False if the deletion was known.
    """
    now = deps.clock()
    is_new = await deletion.add_tombstone(tx, interview_id, at=now)
    erased = await interview_deletion.erase_interview(tx, interview_id, user_id, keys=keys)
    for key in erased:
        await deletion.add_tombstone(tx, recording_id(key), at=now)
    await deletion.erase_session(tx, interview_id, user_id, erased)
    await deps.deletions.emit(
        tx,
        InterviewDeleted(
            interview_id=interview_id,
            user_id=user_id,
            keys=erased,
            receipt_id=receipt_id,
            deleted_at=now,
        ),
        receipt_id=receipt_id,
        user_id=user_id,
    )
    return is_new


async def complete_deletion(deps: Deps, receipt_id: UUID, message: MessageContext) -> None:
    """Stop repeating the deletion of an interview. Applied once per message."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await deps.deletions.complete(tx, receipt_id)


async def _emit(deps: Deps, tx: Transaction, event: InterviewStarted) -> None:
    await interviews.schedule_republication(
        tx, event.interview_id, at=deps.clock() + deps.repair_delay
    )
    await tx.emit(event)


async def _build_state(tx: Transaction, interview: Interview) -> InterviewStarted:
    """Return the event of the last step of an interview."""
    assessment = await interviews.find_assessment(tx, interview.id, user_id=interview.user_id)
    if assessment is None:
        return _build_start(interview)
    return _build_assessment(interview, await interviews.list_turns(tx, interview.id), assessment)


def _build_start(interview: Interview) -> InterviewStarted:
    return InterviewStarted(**_base_fields(interview))


def _build_assessment(
    interview: Interview, turns: Sequence[Turn], assessment: Assessment
) -> InterviewAssessed:
    completed_at = interview.completed_at or assessment.assessed_at
    feedback = next((one.feedback for one in assessment.answers if one.feedback), None)
    return InterviewAssessed(
        **_base_fields(interview),
        completed_at=completed_at,
        assessed_at=assessment.assessed_at,
        duration_seconds=_measure_duration(turns, completed_at),
        question_count=interview.question_number,
        overall_score=assessment.overall_score,
        communication_score=assessment.communication_score,
        technical_score=assessment.technical_score,
        clarity_score=assessment.clarity_score,
        provider=None if feedback is None else feedback.provider,
        model=None if feedback is None else feedback.model,
        rubric_version=None if feedback is None else feedback.rubric_version,
        keys=[turn.audio_s3_key for turn in turns if turn.audio_s3_key is not None],
    )


def _base_fields(interview: Interview) -> dict[str, Any]:
    return {
        "interview_id": interview.id,
        "user_id": interview.user_id,
        "title": interview.setup.title,
        "interview_type": interview.setup.type.value,
        "created_at": interview.created_at,
    }


def _measure_duration(turns: Sequence[Turn], completed_at: datetime) -> int:
    """Return the seconds from the first turn to the completion, without long pauses."""
    times = [*(turn.created_at for turn in turns), completed_at]
    pauses = (later - earlier for earlier, later in pairwise(times))
    return round(sum((min(pause, _MAX_PAUSE) for pause in pauses), timedelta()).total_seconds())
