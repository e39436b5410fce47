"""How a session is shown to clients: the feedback document and the display strings."""

from datetime import datetime

from coach_common.events.feedback import DeliveryMetrics, FeedbackView
from coach_sessions.domain import Session, Status

_PENDING_MESSAGES = {
    Status.NOT_COMPLETED: "This session is not completed yet. Complete it to get feedback.",
    Status.WAITING_FOR_RECORDING: "Waiting for the recording to be uploaded.",
    Status.TRANSCRIBING: "The recording is being transcribed.",
    Status.SCORING: "Your answer is being scored.",
}


def build_feedback_view(session: Session) -> FeedbackView:
    """Return the feedback of a session in its current state, as the API and the socket show it."""
    feedback = session.final_feedback
    if feedback is None:
        return FeedbackView(
            session_id=str(session.id),
            status=session.status.value,
            detailed_feedback=_status_message(session),
            transcript=session.transcript,
            delivery=session.delivery_metrics or DeliveryMetrics(),
        )
    return FeedbackView(
        session_id=str(session.id),
        status=session.status.value,
        overall_score=feedback.overall_score,
        communication_score=feedback.communication_score,
        technical_score=feedback.technical_score,
        clarity_score=feedback.clarity_score,
        strengths=feedback.strengths,
        improvements=feedback.improvements,
        detailed_feedback=feedback.detailed_feedback,
        transcript=session.transcript,
        provider=feedback.provider,
        model=feedback.model,
        rubric_version=feedback.rubric_version,
        evidence=feedback.evidence,
        delivery=feedback.delivery,
        main_improvement=feedback.main_improvement,
        star=feedback.star,
        audio=feedback.audio,
        points=feedback.points,
        dimensions=feedback.dimensions,
        score_spread=feedback.score_spread,
        prompt_version=feedback.prompt_version,
        question_type=feedback.question_type,
        seniority=feedback.seniority,
        generated_at=feedback.generated_at,
        dispute=feedback.dispute,
    )


def format_date(at: datetime) -> str:
    """Return `November 24, 2026`."""
    return f"{at:%B} {at.day}, {at.year}"


def format_duration(seconds: int | None) -> str:
    """Return `3m 20s`, or `N/A` if the duration is unknown."""
    return "N/A" if seconds is None else f"{seconds // 60}m {seconds % 60}s"


def _status_message(session: Session) -> str:
    if session.status is Status.FAILED:
        return session.failure_reason or "The answer could not be scored."
    pending = _PENDING_MESSAGES.get(session.status, "")
    return pending if session.failure_reason is None else f"{pending} {session.failure_reason}"
