"""Feedback: from an answer's words to the one judgement of its session."""

import time
from dataclasses import asdict

from coach_ai.deps import Deps
from coach_ai.domain import Job
from coach_ai.store import answers, jobs, recordings, usage
from coach_ai.use_cases import budget
from coach_common.errors import TooManyRequests, Unavailable
from coach_common.events.catalog import FeedbackFailed, FeedbackGenerated
from coach_common.events.feedback import (
    DeliveryMetrics,
    EvidenceItem,
    MainImprovement,
    StarStory,
)

OVER_BUDGET = "Today's budget for judging is used up; this answer is judged tomorrow."


async def judge_session(deps: Deps, job: Job) -> None:
    """Judge a session and tell, once; a session whose words are not known yet waits for them."""
    async with deps.db.read_only() as tx:
        session = await answers.find_session(tx, job.subject_id)
        recording = None
        if session is not None and session.audio_s3_key is not None:
            recording = await recordings.find_recording_by_key(
                tx, session.audio_s3_key, user_id=session.user_id
            )
    answer = None if session is None or session.is_judged else session.answer(recording)
    if session is None or answer is None:
        async with deps.db.transaction() as tx:
            await jobs.finish_job(tx, job)
        return
    began = time.perf_counter()
    try:
        async with budget.held(deps, session.user_id, "judge", answer) as spent:
            judgement = await deps.coach.judge(answer, spent)
    except TooManyRequests as error:
        raise Unavailable(OVER_BUDGET) from error
    seconds = time.perf_counter() - began
    main = judgement.main_improvement
    async with deps.db.transaction() as tx:
        if not await jobs.finish_job(tx, job):
            return
        if not await answers.record_judgement(tx, session.session_id, judgement, at=deps.clock()):
            return
        if spent.tokens:
            await usage.add_usage(
                tx,
                session.session_id,
                session.user_id,
                spent,
                prompt_version=judgement.prompt_version,
                cost_microdollars=spent.microdollars(deps.prices),
                seconds=seconds,
                at=deps.clock(),
            )
        await tx.emit(
            FeedbackGenerated(
                session_id=session.session_id,
                user_id=session.user_id,
                overall_score=judgement.overall_score,
                communication_score=judgement.communication_score,
                technical_score=judgement.technical_score,
                clarity_score=judgement.clarity_score,
                strengths=judgement.remarks("strength"),
                improvements=judgement.remarks("improvement"),
                detailed_feedback=judgement.detailed_feedback,
                evidence=[EvidenceItem.model_validate(one) for one in judgement.evidence()],
                delivery=DeliveryMetrics.model_validate(judgement.delivery),
                main_improvement=None
                if main is None
                else MainImprovement.model_validate(asdict(main)),
                star=StarStory.model_validate(judgement.star),
                provider=judgement.provider,
                model=judgement.model,
                rubric_version=judgement.rubric_version,
            )
        )


async def fail_feedback(deps: Deps, job: Job, reason: str, is_final: bool) -> None:
    """Tell that a session has no judgement: for good, or not yet."""
    async with deps.db.transaction() as tx:
        if is_final and not await jobs.finish_job(tx, job):
            return
        session = await answers.find_session(tx, job.subject_id)
        if session is None or session.is_judged:
            return
        await tx.emit(
            FeedbackFailed(
                session_id=session.session_id,
                user_id=session.user_id,
                reason=reason,
                retryable=not is_final,
            )
        )
