"""Scoring a session: from the transcript to the session's only feedback."""

import time
from dataclasses import asdict, replace
from functools import partial

from coach_ai.deps import Deps
from coach_ai.domain import (
    AudioCoverage,
    CompletedSession,
    Feedback,
    Job,
    JobFailure,
    JobKind,
    ScoredText,
)
from coach_ai.scoring.coverage_note import describe_gaps
from coach_ai.scoring.set_aside import set_aside_non_answer
from coach_ai.store import answers, practice, questions, recordings, token_budgets
from coach_ai.use_cases import budget
from coach_ai.use_cases.accommodations import apply_accommodations
from coach_ai.use_cases.events import lock_session_recording
from coach_ai.use_cases.job_queue import queue_job
from coach_ai.use_cases.jobs import ResultWriter
from coach_ai.use_cases.provider_outage import report_outage
from coach_ai.use_cases.transcription import audio_coverage_event
from coach_common.db.transaction import Transaction
from coach_common.errors import TooManyRequests, Unavailable
from coach_common.events.catalog import FeedbackFailed, FeedbackGenerated
from coach_common.events.feedback import (
    DeliveryMetrics,
    DimensionLevel,
    EvidenceItem,
    MainImprovement,
    PointCoverage,
    StarStory,
)

BUDGET_EXCEEDED_REASON = "Today's scoring budget is used up. This answer will be scored tomorrow."


async def score_session(deps: Deps, job: Job) -> ResultWriter:
    """Score a session. The writer emits `feedback.generated`. A session gets feedback only once.

    There is no result if the session was deleted, is scored already, or has no transcript yet. The
    transcript queues a new job when it arrives. If it arrived while this job ran, the writer does.
    """
    async with deps.db.read_only() as tx:
        session = await answers.find_session(tx, job.subject_id)
        recording = asked = None
        if session is not None:
            asked = await questions.find_asked_question(
                tx, session.session_id, user_id=session.user_id
            )
        if session is not None and session.audio_s3_key is not None:
            recording = await recordings.find_recording_by_key(
                tx, session.audio_s3_key, user_id=session.user_id
            )
    answer = None if session is None or session.is_scored else session.answer(recording)
    if session is None or answer is None:
        return partial(_queue_if_answered, deps, job)
    if asked is not None:
        answer = replace(
            answer, reference=asked.reference, seniority=asked.seniority, role=asked.role
        )
    answer = await apply_accommodations(deps, session.user_id, answer)
    transcript = answer.text
    answer = set_aside_non_answer(answer)
    if answer.text not in transcript:
        # Without labels and timestamps. The quotes must occur in the transcript that is shown.
        transcript = answer.text
    started_at = time.perf_counter()
    max_tokens = deps.scorer.max_tokens_needed(answer)
    try:
        async with (
            report_outage(deps, job, deps.scorer.check, fail_feedback),
            budget.reserve_budget(deps, session.user_id, "score", max_tokens) as usage,
        ):
            feedback = await deps.scorer.score(answer, usage)
    except TooManyRequests as error:
        raise Unavailable(BUDGET_EXCEEDED_REASON) from error
    seconds = time.perf_counter() - started_at
    has_transcript = recording is not None and recording.transcript is not None
    scored = ScoredText(transcript, session.audio_s3_key if has_transcript else None)
    if note := describe_gaps(answer.coverage):
        feedback = replace(
            feedback, detailed_feedback=f"{feedback.detailed_feedback} {note}".strip()
        )

    async def write(tx: Transaction) -> None:
        if not await answers.save_feedback(
            tx, session.session_id, feedback, scored=scored, at=deps.clock()
        ):
            return
        await practice.record_answer(
            tx,
            session.user_id,
            None if asked is None else asked.reference,
            feedback,
            answer_id=session.session_id,
            at=deps.clock(),
        )
        if usage.tokens:
            await token_budgets.add_usage(
                tx,
                session.session_id,
                session.user_id,
                usage,
                prompt_version=feedback.prompt_version,
                cost_microdollars=usage.cost_microdollars(deps.prices),
                seconds=seconds,
                at=deps.clock(),
            )
        await tx.emit(build_feedback_event(session, feedback, scored, answer.coverage))

    return write


async def _queue_if_answered(deps: Deps, job: Job, tx: Transaction) -> None:
    """Queue the session again if it has got its transcript since the job read it.

    The transaction that stored the transcript could not queue it, because the job was running.
    """
    session = await answers.find_session(tx, job.subject_id)
    if session is None or session.is_scored:
        return
    if session.answer(await lock_session_recording(tx, session)) is not None:
        await queue_job(deps, tx, JobKind.FEEDBACK, session.session_id, session.user_id)


async def fail_feedback(deps: Deps, tx: Transaction, job: Job, failure: JobFailure) -> None:
    """Emit `feedback.failed` for a session without feedback."""
    session = await answers.find_session(tx, job.subject_id)
    if session is None or session.is_scored:
        return
    if failure.is_final:
        await answers.set_failed(tx, session.session_id, not failure.is_restartable)
    await tx.emit(
        FeedbackFailed(
            session_id=session.session_id,
            user_id=session.user_id,
            reason=failure.reason,
            retryable=not failure.is_final,
            restartable=failure.is_restartable,
        )
    )


def build_feedback_event(
    session: CompletedSession,
    feedback: Feedback,
    scored: ScoredText | None,
    coverage: AudioCoverage | None,
) -> FeedbackGenerated:
    """Return the event that publishes a session's feedback."""
    main_improvement = feedback.main_improvement
    return FeedbackGenerated(
        session_id=session.session_id,
        user_id=session.user_id,
        overall_score=feedback.overall_score,
        communication_score=feedback.communication_score,
        technical_score=feedback.technical_score,
        clarity_score=feedback.clarity_score,
        strengths=_remark_texts(feedback, "strength"),
        improvements=_remark_texts(feedback, "improvement"),
        detailed_feedback=feedback.detailed_feedback,
        evidence=[EvidenceItem.model_validate(asdict(remark)) for remark in feedback.remarks],
        delivery=DeliveryMetrics.model_validate(feedback.delivery),
        main_improvement=None
        if main_improvement is None
        else MainImprovement.model_validate(asdict(main_improvement)),
        star=StarStory.model_validate(feedback.star),
        audio=audio_coverage_event(coverage),
        provider=feedback.provider,
        model=feedback.model,
        rubric_version=feedback.rubric_version,
        transcript=None if scored is None else scored.transcript,
        key=None if scored is None else scored.key,
        points=[PointCoverage.model_validate(asdict(one)) for one in feedback.points],
        dimensions=[DimensionLevel.model_validate(asdict(one)) for one in feedback.dimensions],
        score_spread=feedback.score_spread,
        prompt_version=feedback.prompt_version,
        question_type=feedback.question_type,
        seniority=feedback.seniority,
    )


def _remark_texts(feedback: Feedback, kind: str) -> list[str]:
    return [remark.text for remark in feedback.remarks if remark.kind == kind]
