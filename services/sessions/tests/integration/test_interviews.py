"""Interviews in the history: events in any order, the list, what is refused, and deletion."""

import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from coach_common.events.base import Event
from coach_common.events.catalog import (
    SessionCompleted,
    SessionDeleted,
    SessionJudged,
    SessionTranscribed,
    TranscriptionCompleted,
    UserDeleted,
)
from coach_common.events.deletions import SessionsConfirmedDeletion
from coach_common.events.interviews import (
    InterviewAssessed,
    InterviewDeleted,
    InterviewRecordingLinked,
    InterviewStarted,
)
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import client_for, deliver_event, emitted_events
from coach_sessions import repair
from coach_sessions.domain import MAX_RECORDINGS_PER_SESSION
from coach_sessions.tables import RECORDINGS, SESSIONS

STARTED_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


class InterviewEvents:
    """Builds the events about one interview of a user."""

    def __init__(self, user_id: UUID, title: str = "Mock interview") -> None:
        self.user_id, self.interview_id, self.title = user_id, new_id(), title

    @property
    def path(self) -> str:
        return f"/sessions/{self.interview_id}"

    @property
    def _base(self) -> dict[str, Any]:
        return {
            "interview_id": self.interview_id,
            "user_id": self.user_id,
            "title": self.title,
            "interview_type": "behavioral",
            "created_at": STARTED_AT,
        }

    def key(self, number: int = 1) -> str:
        return f"uploads/{self.user_id}/1764000000000_{number:08x}.m4a"

    def started(self) -> InterviewStarted:
        return InterviewStarted(**self._base)

    def linked(self, number: int = 1) -> InterviewRecordingLinked:
        return InterviewRecordingLinked(**self._base, key=self.key(number))

    def assessed(self, score: int | None = 72, *, minute: int = 30) -> InterviewAssessed:
        return InterviewAssessed(
            **self._base,
            completed_at=STARTED_AT + timedelta(minutes=30),
            assessed_at=STARTED_AT + timedelta(minutes=minute),
            duration_seconds=1260,
            question_count=3,
            overall_score=score,
            communication_score=score,
            technical_score=None,
            clarity_score=score,
            provider="local",
            model="rubric",
            rubric_version="v4",
        )

    def transcribed(self, number: int = 1) -> TranscriptionCompleted:
        return TranscriptionCompleted(
            upload_id=new_id(),
            user_id=self.user_id,
            key=self.key(number),
            text="I fixed the build.",
            language="en",
            duration_seconds=3.0,
            provider="local",
            model="base",
        )

    def deleted(self, **changed: Any) -> InterviewDeleted:
        return InterviewDeleted(
            interview_id=self.interview_id,
            user_id=self.user_id,
            receipt_id=uuid4(),
            deleted_at=STARTED_AT,
            **changed,
        )


@pytest.fixture
def interview(user_id: UUID) -> InterviewEvents:
    return InterviewEvents(user_id)


async def _deliver(service: Service, *events: Event) -> None:
    for event in events:
        assert (await deliver_event(service, event)).outcome.value == "done"


async def _recording_keys(service: Service) -> list[str]:
    assert service.database is not None
    async with service.database.read_only() as tx:
        return [row["key"] for row in await tx.fetch_all(select(RECORDINGS.c.key))]


async def test_events_in_every_order_lead_to_the_same_session(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    names = ("started", "linked", "assessed", "transcribed")
    shown = []
    for number, order in enumerate(itertools.permutations(names)):
        interview = InterviewEvents(user_id)
        events = [
            getattr(interview, name)(*([number] if name in ("linked", "transcribed") else []))
            for name in order
        ]
        await _deliver(service, *events, *events)
        shown.append((await client.get(interview.path)).json())

    for one in shown:
        assert (one["kind"], one["status"], one["overall_score"]) == ("interview", "ready", 72)
    of_one = ("id", "updated_at")
    assert len({str({**one, **dict.fromkeys(of_one)}) for one in shown}) == 1
    assert shown[0]["created_at"] == "2026-11-24T12:00:00Z"
    assert shown[0]["duration_seconds"] == 1260
    assert (shown[0]["transcript"], shown[0]["audio_s3_key"]) == (None, None)
    for kind in (SessionCompleted, SessionJudged, SessionTranscribed):
        assert await emitted_events(service.database, kind) == []
    assert await repair.publish_stalled_sessions(service.deps) == 0
    assert (await client.get("/sessions")).json()["stats"]["total"] == len(shown)


async def test_history_lists_both_kinds_and_filters_by_one(
    service: Service, client: httpx.AsyncClient, interview: InterviewEvents
) -> None:
    practice = (await client.post("/sessions", json={"title": "Practice"})).json()
    second = InterviewEvents(interview.user_id, "Second")
    await _deliver(service, interview.started(), second.assessed())
    whole = (await client.get("/sessions")).json()
    pages = [(await client.get("/sessions", params={"kind": "interview", "limit": 1})).json()]
    cursor = pages[0]["next_cursor"]
    params = {"kind": "interview", "limit": 1, "cursor": cursor}
    pages.append((await client.get("/sessions", params=params)).json())
    only_practice = (await client.get("/sessions", params={"kind": "practice"})).json()

    kinds = {one["id"]: (one["kind"], one["status"], one["score"]) for one in whole["sessions"]}
    assert kinds == {
        practice["id"]: ("practice", "not_completed", None),
        str(interview.interview_id): ("interview", "not_completed", None),
        str(second.interview_id): ("interview", "ready", 72),
    }
    assert practice["kind"] == "practice"
    assert [one["id"] for page in pages for one in page["sessions"]] == [
        str(second.interview_id), str(interview.interview_id),
    ]  # fmt: skip
    assert pages[1]["next_cursor"] is None
    assert [one["id"] for one in only_practice["sessions"]] == [practice["id"]]
    assert whole["stats"] == pages[0]["stats"] == {"total": 3, "average": 72.0, "improvement": 0.0}
    assert (await client.get("/sessions", params={"kind": "x"})).status_code == 422


async def test_what_an_interview_does_not_have_is_refused(
    service: Service, client: httpx.AsyncClient, interview: InterviewEvents
) -> None:
    await _deliver(service, interview.started())
    responses = [
        await client.post(f"{interview.path}/complete"),
        await client.post(f"{interview.path}/complete", json={"audio_s3_key": interview.key()}),
        await client.get(f"{interview.path}/feedback"),
        await client.get(f"{interview.path}/attempts"),
        await client.put(f"{interview.path}/self-rating", json={"rating": 70}),
    ]

    assert {(one.status_code, one.json()["code"]) for one in responses} == {(409, "is_interview")}
    assert f"/ai-interview/sessions/{interview.interview_id}" in responses[0].json()["detail"]
    assert (await client.get(interview.path)).json()["status"] == "not_completed"
    assert await _recording_keys(service) == []


async def test_later_assessment_counts(
    service: Service, client: httpx.AsyncClient, interview: InterviewEvents
) -> None:
    await _deliver(service, interview.assessed(80, minute=45), interview.assessed(60, minute=30))
    after_late_event = (await client.get(interview.path)).json()["overall_score"]
    await _deliver(service, interview.assessed(None, minute=50))
    refused = (await client.get(interview.path)).json()

    assert after_late_event == 80
    assert (refused["status"], refused["overall_score"]) == ("ready", None)


async def test_completed_interview_is_practice_but_no_scored_answer(
    service: Service,
    client: httpx.AsyncClient,
    interview: InterviewEvents,
    check_progress: Callable[[UUID], Awaitable[int]],
) -> None:
    await _deliver(service, interview.started())
    before = (await client.get("/progress")).json()["practice"]
    await _deliver(service, interview.assessed())
    progress = (await client.get("/progress")).json()

    assert (before["sessions"], before["seconds"]) == (0, 0)
    assert (progress["practice"]["sessions"], progress["practice"]["seconds"]) == (1, 1260)
    assert await check_progress(interview.user_id) == 1
    assert progress["trends"] == []
    await client.delete(interview.path)
    assert await check_progress(interview.user_id) == 0


async def test_deletion_here_names_all_known_recordings_and_stays_complete(
    service: Service, client: httpx.AsyncClient, interview: InterviewEvents
) -> None:
    count = MAX_RECORDINGS_PER_SESSION + 1
    await _deliver(service, *(interview.linked(number) for number in range(count)))
    await _deliver(service, interview.transcribed(0), interview.assessed())
    deleted = await client.delete(interview.path)
    (event,) = await emitted_events(service.database, SessionDeleted)
    await _deliver(
        service, interview.started(), interview.linked(99), interview.assessed(),
        interview.transcribed(99), interview.deleted(keys=[interview.key(0)]),
    )  # fmt: skip

    assert deleted.status_code == 204
    assert deleted.headers["location"] == f"/privacy/receipts/{event.receipt_id}"
    assert event.kind == "interview"
    assert sorted(event.keys) == [interview.key(number) for number in range(count)]
    assert (await client.get(interview.path)).status_code == 404
    assert (await client.get("/sessions")).json()["sessions"] == []
    assert (await client.get("/sessions")).json()["stats"]["total"] == 0
    assert await _recording_keys(service) == []


@pytest.mark.parametrize("is_known", [True, False])
async def test_deletion_in_ai_erases_the_interview_and_is_confirmed(
    service: Service, client: httpx.AsyncClient, interview: InterviewEvents, is_known: bool
) -> None:
    practice = (await client.post("/sessions", json={"title": "Practice"})).json()["id"]
    elsewhere, unlinked = interview.key(7), interview.key(8)
    body = {"audio_s3_key": elsewhere}
    await _deliver(service, interview.transcribed(7), interview.transcribed(8))
    await client.post(f"/sessions/{practice}/complete", json=body)
    if is_known:
        await _deliver(service, interview.assessed(), interview.linked(1))
    deletion = interview.deleted(keys=[interview.key(1), elsewhere, unlinked])
    await _deliver(service, deletion, deletion.model_copy(update={"is_repeated": True}))
    await _deliver(service, interview.started(), interview.linked(1), interview.assessed())

    assert await _recording_keys(service) == [elsewhere]
    listed = (await client.get("/sessions")).json()
    assert [one["id"] for one in listed["sessions"]] == [practice]
    assert listed["stats"]["total"] == 1
    confirmed = await emitted_events(service.database, SessionsConfirmedDeletion)
    assert {one.receipt_id for one in confirmed} == {deletion.receipt_id}
    assert await emitted_events(service.database, SessionDeleted) == []


async def test_recordings_of_another_user_and_session_stay(
    service: Service, client: httpx.AsyncClient, interview: InterviewEvents, issuer: TokenIssuer
) -> None:
    stranger = InterviewEvents(new_id())
    await _deliver(service, stranger.linked(1), interview.started())
    await _deliver(service, interview.deleted(keys=[stranger.key(1)]))

    assert await _recording_keys(service) == [stranger.key(1)]
    async with client_for(service, headers=issuer.bearer(stranger.user_id)) as other:
        assert (await other.get(stranger.path)).status_code == 200
        assert (await other.get(interview.path)).status_code == 404
    foreign = stranger.deleted().model_copy(update={"user_id": interview.user_id})
    await _deliver(service, foreign)
    assert service.database is not None
    async with service.database.read_only() as tx:
        rows = await tx.fetch_all(select(SESSIONS.c.id))
    assert [row["id"] for row in rows] == [stranger.interview_id]


async def test_events_after_the_deletion_of_the_account_change_nothing(
    service: Service, interview: InterviewEvents
) -> None:
    await _deliver(service, interview.linked(), UserDeleted(user_id=interview.user_id))
    await _deliver(service, interview.started(), interview.linked(), interview.assessed())

    assert await _recording_keys(service) == []
    assert service.database is not None
    async with service.database.read_only() as tx:
        assert await tx.fetch_all(select(SESSIONS.c.id)) == []


def _repairs() -> float:
    labels = {"service": "sessions", "effect": "interview"}
    return REGISTRY.get_sample_value("coach_repairs_total", labels) or 0


@pytest.mark.parametrize("lost", ["started", "assessed", "started and assessed", "assessed again"])
async def test_repeated_event_restores_what_was_lost_and_counts_it_once(
    service: Service, client: httpx.AsyncClient, interview: InterviewEvents, lost: str
) -> None:
    before = _repairs()
    if "started" not in lost:
        await _deliver(service, interview.started())
    if lost == "assessed again":
        await _deliver(service, interview.assessed(60))
    last = interview.started() if lost == "started" else interview.assessed(72, minute=40)
    for _ in range(2):
        await _deliver(service, last.model_copy(update={"is_repeated": True}))
    shown = (await client.get(interview.path)).json()

    expected = ("not_completed", None) if lost == "started" else ("ready", 72)
    assert (shown["status"], shown["overall_score"]) == expected
    assert _repairs() == before + 1


async def test_repeated_event_changes_nothing_that_is_known(
    service: Service, client: httpx.AsyncClient, interview: InterviewEvents
) -> None:
    live = InterviewEvents(interview.user_id)
    await _deliver(service, live.started(), interview.started(), interview.assessed())
    before, shown = _repairs(), (await client.get("/sessions")).json()
    for event in (live.started(), interview.started(), interview.assessed()):
        await _deliver(service, event.model_copy(update={"is_repeated": True}))

    assert (await client.get("/sessions")).json() == shown
    assert (await client.get(live.path)).json()["updated_at"] == "2026-11-24T12:00:00Z"
    assert _repairs() == before
