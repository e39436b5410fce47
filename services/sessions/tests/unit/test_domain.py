"""The state derived from the facts of a session."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from coach_common.events.feedback import DeliveryMetrics, MetricValue
from coach_sessions.domain import (
    AnswerText,
    Failure,
    Feedback,
    Recording,
    Session,
    Status,
    is_own_upload_key,
)
from coach_sessions.presentation import build_feedback_view, format_date, format_duration

NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)
USER = UUID(int=1)


def _session(**facts: object) -> Session:
    return Session(UUID(int=2), USER, "Title", "Question?", NOW, NOW, **facts)


def _recording(key: str = "a", link: int = 1, **facts: object) -> Recording:
    return Recording(key, USER, UUID(int=2), UUID(int=link), **facts)


MEASURED = DeliveryMetrics(pace=MetricValue(value=150.0))


def _feedback(score: int | None = 70, **changed: object) -> Feedback:
    feedback = Feedback(
        score, 70, None, 70, [], [], "Good.", [], MEASURED, "local", "v1", "1", NOW,
        answer=AnswerText("words", "a"),
    )  # fmt: skip
    return replace(feedback, **changed)  # type: ignore[arg-type]


def _failure(number: int = 1, *, is_final: bool) -> Failure:
    return Failure(UUID(int=number), f"reason {number}", is_final)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, Status.NOT_COMPLETED),
        ({"recordings": (_recording(transcript="words"),)}, Status.NOT_COMPLETED),
        ({"completed_at": NOW}, Status.WAITING_FOR_RECORDING),
        ({"completed_at": NOW, "recordings": (_recording(),)}, Status.TRANSCRIBING),
        ({"completed_at": NOW, "recordings": (_recording(transcript="words"),)}, Status.SCORING),
        ({"completed_at": NOW, "client_transcript": "words"}, Status.SCORING),
        ({"completed_at": NOW, "feedback": _feedback()}, Status.READY),
        ({"feedback": _feedback()}, Status.NOT_COMPLETED),
        (
            {
                "completed_at": NOW,
                "recordings": (_recording(),),
                "feedback": _feedback(answer=None),
            },
            Status.TRANSCRIBING,
        ),
        (
            {"completed_at": NOW, "feedback": _feedback(delivery=DeliveryMetrics())},
            Status.SCORING,
        ),
        (
            {"completed_at": NOW, "client_transcript": "words", "requested_key": "k"},
            Status.WAITING_FOR_RECORDING,
        ),
        (
            {"completed_at": NOW, "recordings": (_recording(failure=_failure(is_final=True)),)},
            Status.FAILED,
        ),
        (
            {"completed_at": NOW, "recordings": (_recording(failure=_failure(is_final=False)),)},
            Status.TRANSCRIBING,
        ),
    ],
)
def test_status_is_derived_from_state(facts: dict[str, object], status: Status) -> None:
    assert _session(**facts).status is status


def test_success_takes_precedence_over_failure() -> None:
    recording = _recording(transcript="words", failure=_failure(is_final=True))
    session = _session(
        completed_at=NOW,
        recordings=(recording,),
        feedback=_feedback(),
        failure=_failure(is_final=True),
    )

    assert session.status is Status.READY
    assert build_feedback_view(session).overall_score == 70


def test_unscorable_answer_is_ready_with_null_scores() -> None:
    session = _session(completed_at=NOW, client_transcript="fine", feedback=_feedback(score=None))

    assert session.status is Status.READY
    assert build_feedback_view(session).overall_score is None


def test_first_linked_recording_is_used() -> None:
    first, second = (
        _recording("b", link=1, transcript="one"),
        _recording("a", link=2, transcript="two"),
    )

    assert _session(recordings=(first, second)).audio_s3_key == "b"
    assert _session(recordings=(second, first)).transcript == "one"


def test_client_transcript_is_used_only_without_recording_transcript() -> None:
    waiting = _session(completed_at=NOW, client_transcript="mine", recordings=(_recording(),))
    failed = _session(
        completed_at=NOW,
        client_transcript="mine",
        recordings=(_recording(failure=_failure(is_final=True)),),
    )

    assert (waiting.transcript, waiting.status) == (None, Status.TRANSCRIBING)
    assert (failed.transcript, failed.status) == ("mine", Status.SCORING)


def test_final_failure_takes_precedence_over_retryable_one() -> None:
    final, retried = _failure(1, is_final=True), _failure(2, is_final=False)

    assert Failure.prevailing(final, retried) == Failure.prevailing(retried, final) == final
    assert Failure.prevailing(None, retried) == retried


def test_pending_feedback_explains_what_is_awaited() -> None:
    session = _session(
        completed_at=NOW, recordings=(_recording(failure=_failure(7, is_final=False)),)
    )

    shown = build_feedback_view(session)

    assert shown.detailed_feedback == "The recording is being transcribed. reason 7"
    assert shown.overall_score is None
    assert shown.strengths == []
    assert session.is_being_retried


def test_date_and_duration_formats() -> None:
    assert format_date(NOW) == "November 4, 2026"
    assert format_duration(200) == "3m 20s"
    assert format_duration(None) == "N/A"


@pytest.mark.parametrize(
    ("name", "is_own"),
    [
        ("1764000000000_0a1b2c3d.m4a", True),
        ("1764000000000_0a1b2c3d.webm", True),
        ("0", False),
        ("1764000000000_0a1b2c3d", False),
        ("1764000000000_0a1b2c3d.m4a\n", False),
        ("x/1764000000000_0a1b2c3d.m4a", False),
    ],
)
def test_upload_key_must_have_the_form_that_media_gives(name: str, is_own: bool) -> None:
    assert is_own_upload_key(USER, f"uploads/{USER}/{name}") is is_own
    assert not is_own_upload_key(USER, f"uploads/{UUID(int=9)}/{name}")
    assert not is_own_upload_key(USER, f"uploads/{USER}/../{UUID(int=9)}/{name}")


def test_scored_text_never_changes_once_it_is_known() -> None:
    scored = _session(
        completed_at=NOW, client_transcript="mine", feedback=_feedback(answer=None)
    ).with_facts_joined()

    late = replace(scored, recordings=(_recording(transcript="spoken"),)).with_facts_joined()

    assert (scored.status, scored.transcript) == (Status.READY, "mine")
    assert (late.status, late.transcript) == (Status.READY, "mine")
