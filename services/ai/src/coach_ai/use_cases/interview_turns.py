"""One turn of an interview: a message of the candidate and the interviewer's response."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain import Recording
from coach_ai.interview.answer_clock import read_clock
from coach_ai.interview.assessment import assess
from coach_ai.interview.flow import Step, decide, join_answer
from coach_ai.interview.intents import find_intent
from coach_ai.interview.model import Intent, Interview, InterviewStatus, Turn
from coach_ai.interview.own_voice import find_spoken_intent, read_spoken_answer
from coach_ai.interview.rule_interviewer import TurnToWord
from coach_ai.store import deletion, interviews, practice, recordings
from coach_ai.use_cases import interview_history
from coach_ai.use_cases.interview_scoring import make_answer, score_answer
from coach_ai.use_cases.interview_wording import word_turn
from coach_common.errors import Conflict, InvalidInput, NotFound, TransactionConflict
from coach_common.identity import Identity
from coach_common.ids import recording_id

TURNS = Counter("coach_ai_interview_turns", "Turns of interviews by intent.", ["intent"])
LATE_ANSWERS = Counter(
    "coach_ai_interview_late_answers", "Answers in interviews that exceed the time limit."
)
FOLLOW_UPS = Counter("coach_ai_interview_follow_ups", "Follow-ups by the gap they probe.", ["gap"])


class InterviewOver(Conflict):
    """The interview takes no more messages."""

    code = "interview_over"

    def __init__(self) -> None:
        super().__init__("This interview is over. Start another one.")


class TranscriptPending(Conflict):
    """The recording is not transcribed yet. The same request succeeds later."""

    code = "transcript_pending"

    def __init__(self) -> None:
        super().__init__("The recording is still being transcribed. Send the message again.")


class RecordingFailed(InvalidInput):
    """The recording cannot be transcribed."""

    code = "recording_failed"


class RecordingUsedElsewhere(Conflict):
    """The recording belongs to another session or interview."""

    code = "linked_elsewhere"

    def __init__(self) -> None:
        super().__init__("This recording belongs to another session.")


class IdempotencyKeyReused(Conflict):
    """The Idempotency-Key was sent with another message before."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key belongs to another message. Use a new key.")


class UnknownRecording(NotFound):
    """The recording does not exist or belongs to another user."""

    code = "recording_not_found"

    def __init__(self) -> None:
        super().__init__("Recording not found")


@dataclass(frozen=True, slots=True)
class InterviewMessage:
    """What the candidate sends: text, or a recording, whose transcript takes precedence."""

    text: str
    audio_s3_key: str | None = None
    idempotency_key: str | None = None


async def send_message(
    deps: Deps, caller: Identity, interview_id: UUID, message: InterviewMessage
) -> tuple[Interview, Turn]:
    """Store the message with the interviewer's response. Return both, and the new state.

    The answer is scored first, then the response is worded. If scoring fails, nothing is stored,
    and the client may send the message again. A message with a known Idempotency-Key or recording
    returns its stored turn.

    Raises:
        InterviewNotFound: If the interview does not exist or belongs to another user.
        InterviewOver: If it takes no more messages.
        TranscriptPending: If the recording is not transcribed yet.
        RecordingFailed: If it cannot be transcribed and there is no text.
        UnknownRecording: If the key is not one of the caller or its recording was deleted.
        RecordingUsedElsewhere: If it belongs to another session or interview.
        IdempotencyKeyReused: If the key was sent with another message.
        TooManyRequests: If the caller's daily token budget is spent.
        Unavailable: If the provider cannot score now.
    """
    # Before waiting for another turn, which costs the candidate no time.
    arrived_at = deps.clock()
    async with deps.interview_turns.enter(caller.user_id):
        async with deps.db.read_only() as tx:
            interview = await interviews.get_interview(tx, interview_id, user_id=caller.user_id)
            turns = list(await interviews.list_turns(tx, interview_id))
        if (stored := _find_repeated(turns, message)) is not None:
            return interview, stored
        if interview.status is not InterviewStatus.IN_PROGRESS:
            raise InterviewOver
        recording = await _find_recording(deps, interview, message)
        turn, next_state = await _respond(
            deps, interview, turns, message, recording, arrived_at=arrived_at
        )
        await _store(deps, next_state, [*turns, turn], expected_turns=interview.turn_count)
    TURNS.labels(turn.intent).inc()
    if turn.late_seconds:
        LATE_ANSWERS.inc()
    if turn.gap is not None:
        FOLLOW_UPS.labels(turn.gap.kind).inc()
    return next_state, turn


def _find_repeated(turns: Sequence[Turn], message: InterviewMessage) -> Turn | None:
    """Return the turn that this message made before, or None."""
    for turn in turns:
        if message.audio_s3_key is not None and turn.audio_s3_key == message.audio_s3_key:
            return turn
        is_same_key = turn.idempotency_key == message.idempotency_key
        if message.idempotency_key is not None and is_same_key:
            is_same = message.audio_s3_key is None and turn.message == message.text
            if not is_same:
                raise IdempotencyKeyReused
            return turn
    return None


async def _find_recording(
    deps: Deps, interview: Interview, message: InterviewMessage
) -> Recording | None:
    """Return the finished recording of a message, or None if its text is used.

    A recording of nothing but noise is returned without a transcript, if there is no text.

    The recording belongs to the interview from its first message, even if it is not transcribed.
    """
    key = message.audio_s3_key
    if key is None:
        return None
    if not key.startswith(f"uploads/{interview.user_id}/"):
        raise UnknownRecording
    async with deps.db.read_only() as tx:
        if await deletion.is_deleted(tx, recording_id(key)):
            raise UnknownRecording
        recording = await recordings.find_recording_by_key(tx, key, user_id=interview.user_id)
        other = await interviews.find_interview_of_recording(tx, key)
    if other is not None:
        raise RecordingUsedElsewhere
    if recording is None:
        raise TranscriptPending
    if recording.session_id not in (None, interview.id):
        raise RecordingUsedElsewhere
    if recording.session_id is None:
        async with deps.db.transaction() as tx:
            if not await interviews.lock_interview(tx, interview):
                raise interviews.InterviewNotFound
            await interview_history.link_recording(tx, interview, key)
    if recording.transcript is not None:
        return recording
    if not recording.has_failed:
        raise TranscriptPending
    if message.text:
        return None
    if recording.has_no_answer:
        return recording
    raise RecordingFailed(recording.failure_reason or "We could not process this recording.")


async def _respond(
    deps: Deps,
    interview: Interview,
    turns: Sequence[Turn],
    message: InterviewMessage,
    recording: Recording | None,
    *,
    arrived_at: datetime,
) -> tuple[Turn, Interview]:
    transcript = None if recording is None else recording.transcript
    spoken = None
    if transcript is not None:
        spoken = await asyncio.to_thread(read_spoken_answer, interview, turns, transcript)
    if spoken is not None and not spoken.text and message.text:
        recording = spoken = None
    text = message.text if spoken is None else spoken.text
    intent = find_intent(text) if recording is None else find_spoken_intent(text, transcript)
    number, feedback, answer, late_seconds = interview.question_number, None, "", 0
    if intent is Intent.ANSWER:
        clock = read_clock(interview, turns)
        answered_at = clock.find_answer_time(message.audio_s3_key, arrived_at=arrived_at)
        late_seconds = clock.get_late_seconds(answered_at)
        answer = join_answer(turns, number, text)
        feedback = await score_answer(
            deps, interview.user_id, make_answer(interview, interview.current, answer, spoken)
        )
    decision = decide(interview, turns, intent, answer, feedback)
    points = () if feedback is None else feedback.points
    to_word = TurnToWord(interview, tuple(turns), intent, text, decision, points)
    worded = await word_turn(deps, interview.user_id, to_word)
    now = deps.clock()
    turn = Turn(
        number=interview.turn_count,
        question_number=number,
        intent=intent,
        message=text,
        response=worded.text,
        created_at=now,
        audio_s3_key=message.audio_s3_key,
        idempotency_key=message.idempotency_key,
        gap=worded.gap,
        feedback=feedback,
        method=worded.method,
        late_seconds=late_seconds,
    )
    is_over = decision.step is Step.CLOSE
    return turn, replace(
        interview,
        question_number=decision.question_number,
        turn_count=interview.turn_count + 1,
        status=InterviewStatus.COMPLETED if is_over else interview.status,
        completed_at=now if is_over else None,
        updated_at=now,
    )


async def _store(
    deps: Deps, interview: Interview, turns: Sequence[Turn], *, expected_turns: int
) -> None:
    """Store the last turn and the state. The turn that ends the interview also assesses it."""
    async with deps.db.transaction() as tx:
        if not await interviews.update_progress(tx, interview, turn_count=expected_turns):
            raise TransactionConflict("Another message was answered first. Please try again.")
        await interviews.add_turn(tx, interview, turns[-1])
        await practice.record_interview_answer(tx, interview, turns[-1])
        if interview.status is InterviewStatus.COMPLETED:
            now = deps.clock()
            assessment = assess(interview, turns, at=now)
            await interviews.save_assessment(tx, interview, assessment, at=now)
            await interview_history.emit_assessment(deps, tx, interview, turns, assessment)
