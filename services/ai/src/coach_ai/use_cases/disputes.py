"""Disputes: opening one, and scoring the answer again without sight of the first score."""

from dataclasses import replace
from functools import partial
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain import Answer, Feedback, Job, JobFailure, JobKind
from coach_ai.domain.disputes import AlreadyDisputed, Dispute, DisputeStatus, compare
from coach_ai.domain.rewrites import AnswerNotScored, FeedbackPending, SessionNotFound
from coach_ai.scoring.set_aside import set_aside_non_answer
from coach_ai.store import answers, disputes, questions, recordings
from coach_ai.store.rewrites import get_scored_answer
from coach_ai.use_cases import budget
from coach_ai.use_cases.accommodations import apply_accommodations
from coach_ai.use_cases.job_queue import queue_job
from coach_ai.use_cases.jobs import ResultWriter
from coach_common.db.transaction import Transaction
from coach_common.errors import TooManyRequests, Unavailable
from coach_common.events.catalog import FeedbackDisputed
from coach_common.events.feedback import DisputeView, SecondScores
from coach_common.identity import Identity

DISPUTES = Counter(
    "coach_ai_disputes", "Disputes by step: opened, confirmed, changed or failed.", ["step"]
)

BUDGET_EXCEEDED_REASON = "Today's scoring budget is used up. The answer is scored again tomorrow."


async def dispute_score(
    deps: Deps, caller: Identity, session_id: UUID, *, reason: str | None
) -> DisputeView:
    """Open a dispute of the caller's score and queue the second scoring.

    The reason is stored and is not part of the second scoring.

    Raises:
        SessionNotFound: If the session does not exist or belongs to another user.
        FeedbackPending: If it has no feedback yet.
        AnswerNotScored: If its feedback has no score.
        AlreadyDisputed: If a dispute is running or has finished. A failed one is started again.
    """
    dispute = Dispute(session_id, caller.user_id, deps.clock())
    async with deps.db.transaction() as tx:
        await answers.lock_session(tx, session_id)
        scored = await get_scored_answer(tx, session_id, caller.user_id)
        if not await disputes.open_dispute(tx, dispute, reason=reason):
            raise AlreadyDisputed
        await queue_job(deps, tx, JobKind.DISPUTE, session_id, caller.user_id)
        view = build_view(dispute, scored.feedback)
        await _emit(tx, dispute, view)
    DISPUTES.labels("opened").inc()
    return view


async def score_disputed_answer(deps: Deps, job: Job) -> ResultWriter:
    """Score the answer of a dispute again. The writer emits `feedback.disputed`.

    The scorer gets what it got for the first score. There is no result if the session was deleted.
    """
    async with deps.db.read_only() as tx:
        dispute = await disputes.find_dispute(tx, job.subject_id)
        first = None if dispute is None else await answers.find_feedback(tx, job.subject_id)
        answer = await _read_answer(tx, job.subject_id)
    if dispute is None or dispute.status is not DisputeStatus.SCORING:
        return _write_nothing
    if first is None or answer is None:
        return _write_nothing
    answer = await apply_accommodations(deps, job.user_id, answer)
    max_tokens = deps.scorer.max_tokens_needed(answer)
    try:
        async with budget.reserve_budget(deps, job.user_id, "dispute", max_tokens) as usage:
            second = await deps.scorer.score_again(answer, usage)
    except TooManyRequests as error:
        raise Unavailable(BUDGET_EXCEEDED_REASON) from error
    return partial(_write_result, deps, dispute, first.feedback, second)


async def fail_disputed_answer(deps: Deps, tx: Transaction, job: Job, failure: JobFailure) -> None:
    """Store a final failure and emit `feedback.disputed`. Other failures are retried silently."""
    if not failure.is_final:
        return
    dispute = await disputes.find_dispute(tx, job.subject_id)
    first = await answers.find_feedback(tx, job.subject_id)
    if dispute is None or first is None:
        return
    if not await disputes.fail_dispute(tx, job.subject_id, failure.reason, at=deps.clock()):
        return
    failed = replace(dispute, status=DisputeStatus.FAILED, failure_reason=failure.reason)
    await _emit(tx, failed, build_view(failed, first.feedback))
    DISPUTES.labels("failed").inc()


async def count_disputes(deps: Deps) -> tuple[int, int] | None:
    """Return the numbers of all disputes and of changed ones, or None without the database."""
    try:
        async with deps.db.read_only() as tx:
            return await disputes.count_disputes(tx)
    except Unavailable:
        return None


def build_view(dispute: Dispute, first: Feedback) -> DisputeView:
    """Return the dispute as clients see it."""
    second = dispute.second
    if second is None:
        text = dispute.failure_reason or "Your answer is being scored a second time."
        return DisputeView(status=dispute.status.value, created_at=dispute.created_at, text=text)
    comparison = compare(first, second)
    return DisputeView(
        status=dispute.status.value,
        created_at=dispute.created_at,
        second_scores=SecondScores(
            overall_score=second.overall_score,
            communication_score=second.communication_score,
            technical_score=second.technical_score,
            clarity_score=second.clarity_score,
            provider=second.provider,
            model=second.model,
        ),
        difference=comparison.difference,
        spread=comparison.spread,
        outcome=comparison.outcome.value,
        text=comparison.text,
    )


async def _write_nothing(tx: Transaction) -> None:
    """Do nothing: the dispute has finished, or its session was deleted."""


async def _write_result(
    deps: Deps, dispute: Dispute, first: Feedback, second: Feedback, tx: Transaction
) -> None:
    outcome = compare(first, second).outcome
    if not await disputes.finish_dispute(tx, dispute.session_id, second, outcome, at=deps.clock()):
        return
    done = replace(dispute, status=DisputeStatus.DONE, second=second)
    await _emit(tx, done, build_view(done, first))
    DISPUTES.labels(outcome.value).inc()


async def _read_answer(tx: Transaction, session_id: UUID) -> Answer | None:
    """Return the answer as it was scored, with the words and silences of its recording."""
    session = await answers.find_session(tx, session_id)
    if session is None:
        return None
    try:
        scored = await get_scored_answer(tx, session_id, session.user_id)
    except (SessionNotFound, FeedbackPending, AnswerNotScored):
        return None
    asked = await questions.find_asked_question(tx, session_id, user_id=session.user_id)
    recording = None
    if session.audio_s3_key is not None:
        recording = await recordings.find_recording_by_key(
            tx, session.audio_s3_key, user_id=session.user_id
        )
    answer = session.answer(recording)
    if answer is None or set_aside_non_answer(answer).text not in scored.answer.text:
        # Another text was scored, for example the client's before the recording arrived.
        answer = replace(scored.answer, duration_seconds=session.duration_seconds)
    if asked is not None:
        answer = replace(
            answer, reference=asked.reference, seniority=asked.seniority, role=asked.role
        )
    return set_aside_non_answer(answer)


async def _emit(tx: Transaction, dispute: Dispute, view: DisputeView) -> None:
    await tx.emit(
        FeedbackDisputed(session_id=dispute.session_id, user_id=dispute.user_id, dispute=view)
    )
