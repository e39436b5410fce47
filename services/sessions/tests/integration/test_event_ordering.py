"""Events in every order, with repetitions, lead to the same rows, responses and events."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from coach_common.db.migrate import schema_differences
from coach_common.events.base import Event
from coach_common.events.catalog import (
    DeliveryMeasured,
    FeedbackFailed,
    FeedbackGenerated,
    SessionCompleted,
    SessionDeleted,
    SessionJudged,
    SessionMeasured,
    SessionTranscribed,
    TranscriptionCompleted,
    TranscriptionFailed,
    UploadConfirmed,
    UploadLinked,
    UserDeleted,
)
from coach_common.events.feedback import FeedbackView
from coach_common.ids import new_id
from coach_common.messaging.dispatch import Outcome
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event, emitted_events
from coach_sessions import repair
from coach_sessions.domain import MAX_RECORDINGS_PER_SESSION
from coach_sessions.tables import METADATA, RECORDINGS, SESSIONS

WHOLE = {"pace": {"value": 150.0}}
EARLY = {"pace": {"value": None}}


class EventFactory:
    """Builds the events about one session and one recording."""

    def __init__(self, user_id: UUID, session_id: UUID, name: str = "1") -> None:
        self.user_id, self.session_id, self.upload_id = user_id, session_id, new_id()
        self.key = f"uploads/{user_id}/1764000000000_0000000{name}.m4a"

    @property
    def _of_upload(self) -> dict[str, object]:
        return {"upload_id": self.upload_id, "user_id": self.user_id, "key": self.key}

    def confirmed(self, *, is_linked: bool = True) -> UploadConfirmed:
        return UploadConfirmed(
            **self._of_upload,
            content_type="audio/m4a",
            size=9,
            etag="e",
            session_id=self.session_id if is_linked else None,
        )

    def linked(self) -> UploadLinked:
        return UploadLinked(**self._of_upload, etag="e", session_id=self.session_id)

    def transcribed(self, text: str = "I fixed the build.") -> TranscriptionCompleted:
        return TranscriptionCompleted(
            **self._of_upload,
            text=text,
            language="en",
            duration_seconds=3.0,
            provider="local",
            model="base",
        )

    def acoustic_metrics(self) -> DeliveryMeasured:
        return DeliveryMeasured(**self._of_upload, delivery=EARLY, is_complete=False)

    def measured(self, pace: float = 150.0) -> DeliveryMeasured:
        return DeliveryMeasured(**self._of_upload, delivery={"pace": {"value": pace}})

    def not_transcribed(self, *, retryable: bool) -> TranscriptionFailed:
        return TranscriptionFailed(**self._of_upload, reason="No speech.", retryable=retryable)

    def scored(self, score: int | None = 71, **changed: object) -> FeedbackGenerated:
        fields: dict[str, Any] = {
            "session_id": self.session_id,
            "user_id": self.user_id,
            "overall_score": score,
            "communication_score": score,
            "technical_score": None,
            "clarity_score": score,
            "strengths": ["Clear result."],
            "improvements": ["Say what you did first."],
            "detailed_feedback": "Good.",
            "evidence": [{"quote": "I fixed the build."}],
            "delivery": {"pace": {"value": 150.0}},
            "provider": "local",
            "model": "rubric",
            "rubric_version": "1",
        }
        return FeedbackGenerated.model_validate(fields | changed)

    def not_scored(self, *, retryable: bool) -> FeedbackFailed:
        return FeedbackFailed(
            session_id=self.session_id,
            user_id=self.user_id,
            reason="The coach is away.",
            retryable=retryable,
        )


_FEEDBACK_VARIANTS: dict[str, Callable[[EventFactory], FeedbackGenerated]] = {
    "with its text": lambda facts: facts.scored(transcript="I fixed the build.", key=facts.key),
    "without its text": lambda facts: facts.scored(),
    "without delivery": lambda facts: facts.scored(delivery={}),
}


def _json(feedback: FeedbackView) -> dict[str, Any]:
    return feedback.model_dump(mode="json")


async def _create_session(client: httpx.AsyncClient) -> UUID:
    response = await client.post("/sessions", json={"title": "One", "question": "Why?"})
    return UUID(response.json()["id"])


async def _complete(client: httpx.AsyncClient, session_id: UUID, **body: object) -> httpx.Response:
    return await client.post(f"/sessions/{session_id}/complete", json=body)


async def test_migrations_match_metadata(service: Service) -> None:
    assert service.database is not None
    assert await schema_differences(service.database, "coach_sessions", METADATA) == []


def _assert_ready_shows_everything(shown: dict[str, Any], session: dict[str, Any]) -> None:
    """Assert that a ready session has its transcript, delivery and scores, and others no score."""
    is_ready = shown["status"] == "ready"
    assert session["status"] == shown["status"]
    assert (shown["overall_score"] is not None) is is_ready
    assert (session["overall_score"] is not None) is is_ready
    if is_ready:
        assert shown["transcript"] == session["transcript"] == "I fixed the build."
        assert shown["delivery"]["pace"]["value"] == 150.0


@pytest.mark.parametrize("link", ["with the confirm", "later"])
@pytest.mark.parametrize("feedback", ["with its text", "without its text", "without delivery"])
async def test_all_event_orders_converge_to_the_same_state(
    service: Service, client: httpx.AsyncClient, user_id: UUID, link: str, feedback: str
) -> None:
    ends = set()
    seen: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    for order in itertools.permutations(
        ("linked", "transcribed", "measured", "completed", "scored")
    ):
        session_id = await _create_session(client)
        facts = EventFactory(user_id, session_id)
        facts.key = f"uploads/{user_id}/{session_id}.m4a"
        published: dict[str, list[Event]] = {
            "linked": [facts.confirmed()]
            if link == "with the confirm"
            else [facts.confirmed(is_linked=False), facts.linked()],
            "transcribed": [facts.transcribed()],
            "measured": [facts.measured()],
            "scored": [_FEEDBACK_VARIANTS[feedback](facts)],
        }
        for name in order:
            if name == "completed":
                assert (await _complete(client, session_id)).status_code == 200
            for event in published.get(name, []):
                event_id = new_id()
                for _ in range(2):
                    verdict = await deliver_event(service, event, event_id=event_id)
                    assert verdict.outcome is Outcome.DONE
            _assert_ready_shows_everything(
                (await client.get(f"/sessions/{session_id}/feedback")).json(),
                (await client.get(f"/sessions/{session_id}")).json(),
            )

        shown = (await client.get(f"/sessions/{session_id}/feedback")).json()
        session = (await client.get(f"/sessions/{session_id}")).json()
        seen.append((order, shown))
        ends.add(
            (
                shown["status"],
                shown["overall_score"],
                shown["transcript"],
                session["status"],
                session["audio_s3_key"] == facts.key,
                shown["delivery"]["pace"]["value"],
            )
        )

    assert ends == {("ready", 71, "I fixed the build.", "ready", True, 150.0)}
    transcribed = [
        str(one.session_id) for one in await emitted_events(service.database, SessionTranscribed)
    ]
    early = await emitted_events(service.database, SessionMeasured)
    scored = await emitted_events(service.database, SessionJudged)
    for order, shown in seen:
        session = shown["session_id"]
        assert transcribed.count(session) == 1, order
        published = [one.feedback.status for one in early if str(one.session_id) == session]
        until_the_words = order[: order.index("transcribed")]
        if feedback == "with its text":
            until_the_words = order[: min(order.index("transcribed"), order.index("scored"))]
        is_early = {"linked", "measured", "completed"} <= {*until_the_words}
        assert published == ["transcribing"] * is_early + ["scoring"] * (order[-1] == "scored"), (
            order
        )
        (last,) = [_json(one.feedback) for one in scored if str(one.session_id) == session]
        assert last == {**shown, "generated_at": last["generated_at"]}


async def test_delivery_metrics_are_published_once_while_scoring(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    for event in (facts.confirmed(), facts.transcribed(), facts.measured()):
        await deliver_event(service, event)
    await _complete(client, session_id)
    await deliver_event(service, facts.not_scored(retryable=True))
    await _complete(client, session_id)

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert shown["status"] == "scoring"
    assert shown["delivery"] == {"pace": {"value": 150.0}}
    assert shown["overall_score"] is None
    (published,) = await emitted_events(service.database, SessionMeasured)
    assert _json(published.feedback)["delivery"] == shown["delivery"]


async def test_acoustic_metrics_are_pushed_before_transcript_based_ones(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    await deliver_event(service, facts.confirmed())
    await _complete(client, session_id)
    for event in (facts.acoustic_metrics(), facts.transcribed(), facts.measured()):
        await deliver_event(service, event)

    published = [
        _json(one.feedback) for one in await emitted_events(service.database, SessionMeasured)
    ]

    assert [(one["status"], one["delivery"], one["transcript"]) for one in published] == [
        ("transcribing", EARLY, None),
        ("scoring", WHOLE, "I fixed the build."),
    ]


async def test_partial_metrics_never_replace_complete_ones(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    for order in itertools.permutations(
        ("completed", "acoustic_metrics", "transcribed", "measured")
    ):
        session_id = await _create_session(client)
        facts = EventFactory(user_id, session_id)
        facts.key = f"uploads/{user_id}/{session_id}.m4a"
        await deliver_event(service, facts.confirmed())
        for name in order:
            if name == "completed":
                await _complete(client, session_id)
            else:
                await deliver_event(service, getattr(facts, name)())

        shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

        assert (shown["status"], shown["delivery"]) == ("scoring", WHOLE), order
        published = await emitted_events(service.database, SessionMeasured)
        *_, last = [_json(one.feedback) for one in published if one.session_id == session_id]
        assert (last["status"], last["delivery"]) == ("scoring", WHOLE), order


@pytest.mark.parametrize("order", [("acoustic", "failed"), ("failed", "acoustic")])
async def test_no_metrics_for_recording_whose_transcription_failed(
    service: Service, client: httpx.AsyncClient, user_id: UUID, order: tuple[str, str]
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    await deliver_event(service, facts.confirmed())
    await _complete(client, session_id)
    events = {
        "acoustic": facts.acoustic_metrics(),
        "failed": facts.not_transcribed(retryable=False),
    }

    for name in order:
        await deliver_event(service, events[name])

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()
    assert (shown["status"], shown["delivery"]) == ("failed", {})


async def test_metrics_after_final_feedback_are_ignored(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    for event in (facts.confirmed(), facts.transcribed(), facts.scored()):
        await deliver_event(service, event)
    await _complete(client, session_id)
    before = (await client.get(f"/sessions/{session_id}/feedback")).json()

    await deliver_event(service, facts.measured(pace=99.0))

    assert (await client.get(f"/sessions/{session_id}/feedback")).json() == before
    assert await emitted_events(service.database, SessionMeasured) == []
    assert len(await emitted_events(service.database, SessionJudged)) == 1


async def test_failed_scoring_still_returns_delivery_metrics(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    for event in (facts.confirmed(), facts.transcribed(), facts.measured()):
        await deliver_event(service, event)
    await _complete(client, session_id)
    await deliver_event(service, facts.not_scored(retryable=False))

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert (shown["status"], shown["delivery"]) == ("failed", {"pace": {"value": 150.0}})


async def test_metrics_of_second_recording_are_ignored(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    first, second = EventFactory(user_id, session_id, "1"), EventFactory(user_id, session_id, "2")
    for event in (first.confirmed(), second.confirmed(), second.measured(99.0), first.measured()):
        await deliver_event(service, event)

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert shown["delivery"] == {"pace": {"value": 150.0}}


async def test_completed_event_is_resent_when_recording_arrives_later(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)

    completed = await _complete(client, session_id, duration_seconds=65)
    waiting = await client.get(f"/sessions/{session_id}/feedback")
    await deliver_event(service, facts.confirmed())

    assert completed.status_code == 200
    assert waiting.json()["status"] == "waiting_for_recording"
    assert waiting.json()["overall_score"] is None
    assert waiting.headers["retry-after"]
    published = await emitted_events(service.database, SessionCompleted)
    assert [event.audio_s3_key for event in published] == [None, facts.key]


async def test_complete_is_idempotent(service: Service, client: httpx.AsyncClient) -> None:
    session_id = await _create_session(client)

    first = await _complete(client, session_id, duration_seconds=65)
    second = await _complete(client, session_id, duration_seconds=99)

    assert first.json() == second.json()
    assert second.json()["duration_seconds"] == 65
    assert len(await emitted_events(service.database, SessionCompleted)) == 1


async def test_complete_again_retries_a_retryable_failure(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    await _complete(client, session_id, transcript="I did it.")
    await deliver_event(service, facts.not_scored(retryable=True))

    scoring = (await client.get(f"/sessions/{session_id}/feedback")).json()
    await _complete(client, session_id)

    assert scoring["status"] == "scoring"
    assert "The coach is away." in scoring["detailed_feedback"]
    assert len(await emitted_events(service.database, SessionCompleted)) == 2


@pytest.mark.parametrize("stage", ["transcription", "scoring"])
@pytest.mark.parametrize("is_restartable", [True, False])
async def test_complete_restarts_only_failures_with_another_cause_than_the_answer(
    service: Service, client: httpx.AsyncClient, user_id: UUID, stage: str, is_restartable: bool
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    await deliver_event(service, facts.confirmed())
    if stage == "scoring":
        await deliver_event(service, facts.transcribed())
    await _complete(client, session_id)
    failed = (
        facts.not_transcribed(retryable=False)
        if stage == "transcription"
        else facts.not_scored(retryable=False)
    ).model_copy(update={"restartable": is_restartable})
    await deliver_event(service, failed)

    before = await client.get(f"/sessions/{session_id}/feedback")
    await _complete(client, session_id)
    after = await client.get(f"/sessions/{session_id}/feedback")

    completions = await emitted_events(service.database, SessionCompleted)
    assert before.json()["status"] == "failed"
    if not is_restartable:
        assert (after.json(), len(completions)) == (before.json(), 1)
        return
    assert after.json()["status"] == ("transcribing" if stage == "transcription" else "scoring")
    assert len(completions) == 2

    await deliver_event(service, failed)
    assert (await client.get(f"/sessions/{session_id}/feedback")).json() == before.json()
    assert len(await emitted_events(service.database, SessionJudged)) == 2


async def test_transcription_failure_fails_session_with_reason(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    await deliver_event(service, facts.confirmed())
    await deliver_event(service, facts.not_transcribed(retryable=False))
    await deliver_event(service, facts.not_transcribed(retryable=True))
    await _complete(client, session_id)

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert (shown["status"], shown["detailed_feedback"]) == ("failed", "No speech.")
    assert shown["overall_score"] is None
    (published,) = await emitted_events(service.database, SessionJudged)
    assert published.feedback.status == "failed"


async def test_second_recording_does_not_change_feedback(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    first, second = EventFactory(user_id, session_id, "1"), EventFactory(user_id, session_id, "2")
    for event in (
        first.confirmed(),
        second.confirmed(),
        second.transcribed("Later."),
        first.transcribed("First."),
    ):
        await deliver_event(service, event)
    await _complete(client, session_id)
    await deliver_event(service, first.scored(80))
    await deliver_event(service, second.scored(10))

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert (shown["overall_score"], shown["transcript"]) == (80, "First.")
    assert len(await emitted_events(service.database, SessionTranscribed)) == 1


async def test_audio_key_in_complete_links_the_recording(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)

    await _complete(client, session_id, audio_s3_key=facts.key)
    await deliver_event(service, facts.confirmed(is_linked=False))
    await deliver_event(service, facts.transcribed())

    session = (await client.get(f"/sessions/{session_id}")).json()
    assert (session["status"], session["audio_s3_key"]) == ("scoring", facts.key)


async def test_late_events_do_not_restore_deleted_session(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    await deliver_event(service, facts.confirmed())

    deletion = await client.delete(f"/sessions/{session_id}")
    for late in (facts.transcribed(), facts.measured(), facts.scored(), facts.linked()):
        assert (await deliver_event(service, late)).outcome is Outcome.DONE

    assert deletion.status_code == 204
    assert (await client.get(f"/sessions/{session_id}")).status_code == 404
    assert await emitted_events(service.database, SessionTranscribed) == []
    assert service.database is not None
    async with service.database.read_only() as tx:
        assert await tx.fetch_all(select(RECORDINGS)) == []
    (published,) = await emitted_events(service.database, SessionDeleted)
    assert published.keys == [facts.key]


async def test_user_deletion_removes_all_data(
    service: Service, client: httpx.AsyncClient, user_id: UUID, issuer: TokenIssuer
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    await deliver_event(service, facts.confirmed())
    await _complete(client, session_id)

    await deliver_event(service, UserDeleted(user_id=user_id))
    await deliver_event(service, facts.transcribed())
    again = await client.post("/sessions", json={"title": "More"})

    assert (await client.get("/sessions")).json()["sessions"] == []
    assert again.status_code == 401
    assert await emitted_events(service.database, SessionCompleted) == []
    async with client_for(service, headers=issuer.bearer(new_id())) as other:
        assert (await other.post("/sessions", json={"title": "Mine"})).status_code == 201


@pytest.mark.parametrize("is_link_known", [True, False], ids=["linked", "not linked"])
async def test_no_fact_is_kept_for_a_recording_of_a_deleted_session(
    service: Service, client: httpx.AsyncClient, user_id: UUID, is_link_known: bool
) -> None:
    for order in itertools.permutations(("linked", "transcribed", "failed", "deleted")):
        session_id = await _create_session(client)
        facts = EventFactory(user_id, session_id)
        facts.key = f"uploads/{user_id}/{session_id}.m4a"
        events: dict[str, list[Event]] = {
            "linked": [facts.confirmed(is_linked=not is_link_known), facts.linked()],
            "transcribed": [facts.transcribed(), facts.acoustic_metrics(), facts.measured()],
            "failed": [facts.not_transcribed(retryable=False)],
        }
        for name in order:
            if name == "deleted":
                await client.delete(f"/sessions/{session_id}")
            for event in events.get(name, []):
                assert (await deliver_event(service, event)).outcome is Outcome.DONE

    async with service.database.read_only() as tx:  # type: ignore[union-attr]
        assert await tx.fetch_all(select(RECORDINGS)) == []
        assert await tx.fetch_all(select(SESSIONS)) == []


async def test_event_about_session_without_tombstone_leaves_nothing(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    """A dead letter may be replayed after the tombstones have been purged."""
    facts = EventFactory(user_id, new_id())
    named = {"session_id": facts.session_id}

    for event in (facts.transcribed(), facts.measured(), facts.not_transcribed(retryable=False)):
        await deliver_event(service, event.model_copy(update=named))
    await deliver_event(service, facts.confirmed())

    async with service.database.read_only() as tx:  # type: ignore[union-attr]
        assert await tx.fetch_all(select(RECORDINGS)) == []


async def test_unknown_key_leaves_session_waiting_without_rows(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)

    for number in range(30):
        key = f"uploads/{user_id}/17640000000{number:02}_0a1b2c3d.m4a"
        answer = await _complete(client, session_id, audio_s3_key=key)
        assert (answer.status_code, answer.json()["status"]) == (200, "waiting_for_recording")

    async with service.database.read_only() as tx:  # type: ignore[union-attr]
        assert await tx.fetch_all(select(RECORDINGS)) == []
    assert len(await emitted_events(service.database, SessionCompleted)) == 1


@pytest.mark.parametrize("name", ["0", "1764000000000_0a1b2c3d.m4a/x", "../x"])
async def test_malformed_key_is_not_found(
    client: httpx.AsyncClient, user_id: UUID, name: str
) -> None:
    session_id = await _create_session(client)

    answer = await _complete(client, session_id, audio_s3_key=f"uploads/{user_id}/{name}")

    assert (answer.status_code, answer.json()["code"]) == (404, "recording_not_found")


async def test_requested_recording_is_linked_in_every_order(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    for order in itertools.permutations(("confirmed", "transcribed", "completed")):
        session_id = await _create_session(client)
        facts = EventFactory(user_id, session_id)
        facts.key = f"uploads/{user_id}/1764000000000_{session_id.hex[-8:]}.m4a"
        for name in order:
            if name == "confirmed":
                await deliver_event(service, facts.confirmed(is_linked=False))
            elif name == "transcribed":
                await deliver_event(service, facts.transcribed())
            else:
                await _complete(
                    client, session_id, audio_s3_key=facts.key, transcript="Something else."
                )

        session = (await client.get(f"/sessions/{session_id}")).json()

        assert (session["status"], session["audio_s3_key"], session["transcript"]) == (
            "scoring", facts.key, "I fixed the build."
        ), order  # fmt: skip
        published = [
            event for event in await emitted_events(service.database, SessionCompleted)
            if event.session_id == session_id
        ]  # fmt: skip
        assert {event.transcript for event in published if event.audio_s3_key is None} <= {None}
        assert published[-1].audio_s3_key == facts.key


async def test_concurrent_confirm_and_complete_link_the_recording(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    for _ in range(20):
        session_id = await _create_session(client)
        facts = EventFactory(user_id, session_id)
        facts.key = f"uploads/{user_id}/1764000000000_{new_id().hex[-8:]}.m4a"

        completed, result = await asyncio.gather(
            _complete(client, session_id, audio_s3_key=facts.key),
            deliver_event(service, facts.confirmed(is_linked=False)),
        )

        assert (completed.status_code, result.outcome) == (200, Outcome.DONE)
        session = (await client.get(f"/sessions/{session_id}")).json()
        assert (session["status"], session["audio_s3_key"]) == ("transcribing", facts.key)


async def test_session_takes_a_limited_number_of_recordings(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    keys = []
    for number in range(MAX_RECORDINGS_PER_SESSION + 5):
        facts = EventFactory(user_id, session_id)
        facts.key = f"uploads/{user_id}/1764000000000_000000{number:02}.m4a"
        keys.append(facts.key)
        await deliver_event(service, facts.confirmed())

    refused = await _complete(client, session_id, audio_s3_key=keys[-1])
    accepted = await _complete(client, session_id, audio_s3_key=keys[3])

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_recordings")
    assert (accepted.status_code, accepted.json()["audio_s3_key"]) == (200, keys[0])
    async with service.database.read_only() as tx:  # type: ignore[union-attr]
        linked = await tx.fetch_all(
            select(RECORDINGS.c.key).where(RECORDINGS.c.session_id == session_id)
        )
    assert len(linked) == MAX_RECORDINGS_PER_SESSION


async def test_recording_of_another_session_is_refused(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    first, second = await _create_session(client), await _create_session(client)
    facts = EventFactory(user_id, first)
    await deliver_event(service, facts.confirmed())

    refused = await _complete(client, second, audio_s3_key=facts.key)

    assert (refused.status_code, refused.json()["code"]) == (409, "linked_elsewhere")


@pytest.mark.parametrize("placeholder", ["  ", "...", "[BLANK_AUDIO]", "null", "undefined"])
async def test_placeholder_transcript_waits_for_the_recording(
    service: Service, client: httpx.AsyncClient, user_id: UUID, placeholder: str
) -> None:
    session_id = await _create_session(client)

    answer = await _complete(client, session_id, transcript=placeholder)

    assert answer.json()["status"] == "waiting_for_recording"
    (published,) = await emitted_events(service.database, SessionCompleted)
    assert published.transcript is None


async def test_late_recording_does_not_replace_the_scored_text(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    await _complete(client, session_id, transcript="My own words.")
    await deliver_event(service, facts.scored(transcript="My own words.", key=None))
    before = (await client.get(f"/sessions/{session_id}/feedback")).json()

    for event in (facts.confirmed(), facts.transcribed(), facts.measured()):
        await deliver_event(service, event)
        assert (await client.get(f"/sessions/{session_id}/feedback")).json() == before

    session = (await client.get(f"/sessions/{session_id}")).json()
    assert (before["status"], before["transcript"]) == ("ready", "My own words.")
    assert (session["status"], session["transcript"]) == ("ready", "My own words.")
    assert len(await emitted_events(service.database, SessionJudged)) == 1
    assert await emitted_events(service.database, SessionTranscribed) == []


async def test_deleting_a_session_deletes_the_recording_it_waits_for(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    await _complete(client, session_id, audio_s3_key=facts.key)

    await client.delete(f"/sessions/{session_id}")
    await deliver_event(service, facts.confirmed(is_linked=False))

    (published,) = await emitted_events(service.database, SessionDeleted)
    assert published.keys == [facts.key]
    async with service.database.read_only() as tx:  # type: ignore[union-attr]
        assert await tx.fetch_all(select(RECORDINGS)) == []


async def test_uploaded_recording_takes_precedence_over_the_clients_words(
    service: Service, client: httpx.AsyncClient, user_id: UUID, uploaded_recordings: Any
) -> None:
    """The phone confirms and completes at once; `upload.confirmed` arrives later."""
    session_id = await _create_session(client)
    facts = EventFactory(user_id, session_id)
    uploaded_recordings.keys[session_id] = facts.key

    completed = await _complete(client, session_id, transcript="Something else.")
    events = await emitted_events(service.database, SessionCompleted)
    for event in (facts.confirmed(), facts.transcribed()):
        await deliver_event(service, event)

    assert completed.json()["status"] == "waiting_for_recording"
    assert [event.transcript for event in events] == [None]
    session = (await client.get(f"/sessions/{session_id}")).json()
    assert (session["status"], session["transcript"]) == ("scoring", "I fixed the build.")


async def test_complete_succeeds_while_media_is_unavailable(
    client: httpx.AsyncClient, uploaded_recordings: Any
) -> None:
    session_id = await _create_session(client)
    uploaded_recordings.is_down = True

    answer = await _complete(client, session_id, transcript="I fixed it.")

    assert (answer.status_code, answer.json()["status"]) == (200, "scoring")


async def test_uploaded_recording_of_another_session_does_not_stop_a_completion(
    service: Service, client: httpx.AsyncClient, user_id: UUID, uploaded_recordings: Any
) -> None:
    first, second = await _create_session(client), await _create_session(client)
    facts = EventFactory(user_id, first)
    await deliver_event(service, facts.confirmed())
    uploaded_recordings.keys[second] = facts.key

    answer = await _complete(client, second, transcript="I fixed it.")

    assert (answer.status_code, answer.json()["status"]) == (200, "scoring")


async def test_clients_words_are_used_if_the_named_recording_never_arrives(
    service: Service, client: httpx.AsyncClient, user_id: UUID, clock: FakeClock
) -> None:
    with_words, without = await _create_session(client), await _create_session(client)
    keys = [f"uploads/{user_id}/1764000000000_0000000{number}.m4a" for number in (1, 2)]
    await _complete(client, with_words, audio_s3_key=keys[0], transcript="I fixed it.")
    await _complete(client, without, audio_s3_key=keys[1])

    clock.advance(24 * 3600)
    assert await repair.stop_waiting_for_recordings(service.deps) == 0
    clock.advance(2 * 3600)
    assert await repair.stop_waiting_for_recordings(service.deps) == 1
    assert await repair.stop_waiting_for_recordings(service.deps) == 0

    statuses = [
        (await client.get(f"/sessions/{one}")).json()["status"] for one in (with_words, without)
    ]
    assert statuses == ["scoring", "waiting_for_recording"]
    *_, last = await emitted_events(service.database, SessionCompleted)
    assert (last.session_id, last.transcript) == (with_words, "I fixed it.")
