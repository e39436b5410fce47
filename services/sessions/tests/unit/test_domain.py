"""What follows from the facts of a session."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from coach_sessions.domain import (
    Failure,
    Feedback,
    Recording,
    Session,
    Status,
    date_in_words,
    duration_in_words,
    owns_key,
)

NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)
USER = UUID(int=1)


def _session(**facts: object) -> Session:
    return Session(UUID(int=2), USER, "Title", "Question?", NOW, NOW, **facts)


def _recording(key: str = "a", link: int = 1, **facts: object) -> Recording:
    return Recording(key, USER, UUID(int=2), UUID(int=link), **facts)


def _feedback(score: int | None = 70) -> Feedback:
    return Feedback(score, 70, None, 70, [], [], "Good.", [], {}, "local", "v1", "1", "t")


def _failure(number: int = 1, *, is_final: bool) -> Failure:
    return Failure(UUID(int=number), f"reason {number}", is_final)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, Status.NOT_COMPLETED),
        ({"recordings": (_recording(text="words"),)}, Status.NOT_COMPLETED),
        ({"completed_at": NOW}, Status.WAITING_FOR_RECORDING),
        ({"completed_at": NOW, "recordings": (_recording(),)}, Status.TRANSCRIBING),
        ({"completed_at": NOW, "recordings": (_recording(text="words"),)}, Status.SCORING),
        ({"completed_at": NOW, "client_transcript": "words"}, Status.SCORING),
        ({"completed_at": NOW, "feedback": _feedback()}, Status.READY),
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
def test_the_status_follows_from_the_facts(facts: dict[str, object], status: Status) -> None:
    assert _session(**facts).status is status


def test_a_success_beats_a_failure_whatever_arrived_first() -> None:
    recording = _recording(text="words", failure=_failure(is_final=True))
    session = _session(
        completed_at=NOW,
        recordings=(recording,),
        feedback=_feedback(),
        failure=_failure(is_final=True),
    )

    assert session.status is Status.READY
    assert session.feedback_shown()["overall_score"] == 70


def test_an_answer_that_could_not_be_judged_is_ready_without_scores() -> None:
    session = _session(completed_at=NOW, client_transcript="fine", feedback=_feedback(score=None))

    assert session.status is Status.READY
    assert session.feedback_shown()["overall_score"] is None


def test_it_is_judged_on_the_first_recording_that_was_linked() -> None:
    first, second = _recording("b", link=1, text="one"), _recording("a", link=2, text="two")

    assert _session(recordings=(first, second)).audio_s3_key == "b"
    assert _session(recordings=(second, first)).transcript == "one"


def test_the_clients_words_stand_in_only_where_no_recording_has_any() -> None:
    waiting = _session(completed_at=NOW, client_transcript="mine", recordings=(_recording(),))
    failed = _session(
        completed_at=NOW,
        client_transcript="mine",
        recordings=(_recording(failure=_failure(is_final=True)),),
    )

    assert (waiting.transcript, waiting.status) == (None, Status.TRANSCRIBING)
    assert (failed.transcript, failed.status) == ("mine", Status.SCORING)


def test_a_final_failure_counts_over_a_later_one_that_is_retried() -> None:
    final, retried = _failure(1, is_final=True), _failure(2, is_final=False)

    assert Failure.worse(final, retried) == Failure.worse(retried, final) == final
    assert Failure.worse(None, retried) == retried


def test_while_it_waits_it_says_for_what_and_why_it_takes_long() -> None:
    session = _session(
        completed_at=NOW, recordings=(_recording(failure=_failure(7, is_final=False)),)
    )

    shown = session.feedback_shown()

    assert shown["detailed_feedback"] == "The recording is being transcribed. reason 7"
    assert shown["overall_score"] is None
    assert shown["strengths"] == []
    assert session.is_being_retried


def test_words_for_people() -> None:
    assert date_in_words(NOW) == "November 4, 2026"
    assert duration_in_words(200) == "3m 20s"
    assert duration_in_words(None) == "N/A"


def test_a_key_is_owned_by_its_prefix_alone() -> None:
    assert owns_key(USER, f"uploads/{USER}/1_a.m4a")
    assert not owns_key(USER, f"uploads/{UUID(int=9)}/1_a.m4a")
    assert not owns_key(USER, f"uploads/{USER}/../{UUID(int=9)}/1_a.m4a")
