"""Facts in every order, with repetitions, end in the same place: rows, answers and events."""

import itertools
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from coach_common.db.migrate import differences
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
from coach_common.ids import new_id
from coach_common.messaging.dispatch import Outcome
from coach_common.service import Service
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import client_for, deliver, published
from coach_sessions.tables import METADATA, RECORDINGS

WHOLE = {"pace": {"value": 150.0}}
EARLY = {"pace": {"value": None}}


class Facts:
    """The facts about one session and one recording, each as the event that tells it."""

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

    def heard(self) -> DeliveryMeasured:
        return DeliveryMeasured(**self._of_upload, delivery=EARLY, is_complete=False)

    def measured(self, pace: float = 150.0) -> DeliveryMeasured:
        return DeliveryMeasured(**self._of_upload, delivery={"pace": {"value": pace}})

    def not_transcribed(self, *, retryable: bool) -> TranscriptionFailed:
        return TranscriptionFailed(**self._of_upload, reason="No speech.", retryable=retryable)

    def judged(self, score: int | None = 71) -> FeedbackGenerated:
        return FeedbackGenerated(
            session_id=self.session_id,
            user_id=self.user_id,
            overall_score=score,
            communication_score=score,
            technical_score=None,
            clarity_score=score,
            strengths=["Clear result."],
            improvements=["Say what you did first."],
            detailed_feedback="Good.",
            evidence=[{"quote": "I fixed the build."}],
            delivery={"pace": {"value": 150.0}},
            provider="local",
            model="rubric",
            rubric_version="1",
        )

    def not_judged(self, *, retryable: bool) -> FeedbackFailed:
        return FeedbackFailed(
            session_id=self.session_id,
            user_id=self.user_id,
            reason="The coach is away.",
            retryable=retryable,
        )


async def _open(client: httpx.AsyncClient) -> UUID:
    answer = await client.post("/sessions", json={"title": "One", "question": "Why?"})
    return UUID(answer.json()["id"])


async def _complete(client: httpx.AsyncClient, session_id: UUID, **body: object) -> httpx.Response:
    return await client.post(f"/sessions/{session_id}/complete", json=body)


async def test_the_migrations_make_the_tables_the_code_declares(service: Service) -> None:
    assert service.database is not None
    assert await differences(service.database, "coach_sessions", METADATA) == []


@pytest.mark.parametrize("link", ["with the confirm", "later"])
async def test_every_order_of_the_facts_ends_in_the_same_place(
    service: Service, client: httpx.AsyncClient, user_id: UUID, link: str
) -> None:
    ends = set()
    seen: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    for order in itertools.permutations(
        ("linked", "transcribed", "measured", "completed", "judged")
    ):
        session_id = await _open(client)
        facts = Facts(user_id, session_id)
        facts.key = f"uploads/{user_id}/{session_id}.m4a"
        told: dict[str, list[Event]] = {
            "linked": [facts.confirmed()]
            if link == "with the confirm"
            else [facts.confirmed(is_linked=False), facts.linked()],
            "transcribed": [facts.transcribed()],
            "measured": [facts.measured()],
            "judged": [facts.judged()],
        }
        for name in order:
            if name == "completed":
                assert (await _complete(client, session_id)).status_code == 200
            for event in told.get(name, []):
                event_id = new_id()
                for _ in range(2):
                    verdict = await deliver(service, event, event_id=event_id)
                    assert verdict.outcome is Outcome.DONE

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
        str(one.session_id) for one in await published(service.database, SessionTranscribed)
    ]
    early = await published(service.database, SessionMeasured)
    judged = await published(service.database, SessionJudged)
    for order, shown in seen:
        session = shown["session_id"]
        assert transcribed.count(session) == 1, order
        told = [one.feedback["status"] for one in early if str(one.session_id) == session]
        until_the_words = order[: min(order.index("transcribed"), order.index("judged"))]
        is_early = {"linked", "measured", "completed"} <= {*until_the_words}
        assert told == ["transcribing"] * is_early + ["scoring"] * (order[-1] == "judged"), order
        (last,) = [one.feedback for one in judged if str(one.session_id) == session]
        assert last == {**shown, "generated_at": last["generated_at"]}


async def test_delivery_is_shown_and_told_once_while_the_answer_is_judged(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)
    for event in (facts.confirmed(), facts.transcribed(), facts.measured()):
        await deliver(service, event)
    await _complete(client, session_id)
    await deliver(service, facts.not_judged(retryable=True))
    await _complete(client, session_id)

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert shown["status"] == "scoring"
    assert shown["delivery"] == {"pace": {"value": 150.0}}
    assert shown["overall_score"] is None
    (told,) = await published(service.database, SessionMeasured)
    assert told.feedback["delivery"] == shown["delivery"]


async def test_what_the_sound_tells_is_pushed_before_the_words_and_the_rest_with_them(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)
    await deliver(service, facts.confirmed())
    await _complete(client, session_id)
    for event in (facts.heard(), facts.transcribed(), facts.measured()):
        await deliver(service, event)

    told = [one.feedback for one in await published(service.database, SessionMeasured)]

    assert [(one["status"], one["delivery"], one["transcript"]) for one in told] == [
        ("transcribing", EARLY, None),
        ("scoring", WHOLE, "I fixed the build."),
    ]


async def test_what_the_sound_told_never_stands_in_the_place_of_the_whole(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    for order in itertools.permutations(("completed", "heard", "transcribed", "measured")):
        session_id = await _open(client)
        facts = Facts(user_id, session_id)
        facts.key = f"uploads/{user_id}/{session_id}.m4a"
        await deliver(service, facts.confirmed())
        for name in order:
            if name == "completed":
                await _complete(client, session_id)
            else:
                await deliver(service, getattr(facts, name)())

        shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

        assert (shown["status"], shown["delivery"]) == ("scoring", WHOLE), order
        told = await published(service.database, SessionMeasured)
        *_, last = [one.feedback for one in told if one.session_id == session_id]
        assert (last["status"], last["delivery"]) == ("scoring", WHOLE), order


@pytest.mark.parametrize("order", [("heard", "failed"), ("failed", "heard")])
async def test_nothing_is_shown_of_a_recording_that_will_never_have_words(
    service: Service, client: httpx.AsyncClient, user_id: UUID, order: tuple[str, str]
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)
    await deliver(service, facts.confirmed())
    await _complete(client, session_id)
    events = {"heard": facts.heard(), "failed": facts.not_transcribed(retryable=False)}

    for name in order:
        await deliver(service, events[name])

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()
    assert (shown["status"], shown["delivery"]) == ("failed", {})


async def test_a_delivery_after_the_judgement_changes_nothing(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)
    for event in (facts.confirmed(), facts.transcribed(), facts.judged()):
        await deliver(service, event)
    await _complete(client, session_id)
    before = (await client.get(f"/sessions/{session_id}/feedback")).json()

    await deliver(service, facts.measured(pace=99.0))

    assert (await client.get(f"/sessions/{session_id}/feedback")).json() == before
    assert await published(service.database, SessionMeasured) == []
    assert len(await published(service.database, SessionJudged)) == 1


async def test_an_answer_that_cannot_be_judged_still_shows_how_it_was_spoken(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)
    for event in (facts.confirmed(), facts.transcribed(), facts.measured()):
        await deliver(service, event)
    await _complete(client, session_id)
    await deliver(service, facts.not_judged(retryable=False))

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert (shown["status"], shown["delivery"]) == ("failed", {"pace": {"value": 150.0}})


async def test_the_delivery_of_a_later_recording_is_not_shown(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    first, second = Facts(user_id, session_id, "1"), Facts(user_id, session_id, "2")
    for event in (first.confirmed(), second.confirmed(), second.measured(99.0), first.measured()):
        await deliver(service, event)

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert shown["delivery"] == {"pace": {"value": 150.0}}


async def test_completing_before_the_recording_waits_and_then_tells_ai_again(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)

    completed = await _complete(client, session_id, duration_seconds=65)
    waiting = await client.get(f"/sessions/{session_id}/feedback")
    await deliver(service, facts.confirmed())

    assert completed.status_code == 200
    assert waiting.json()["status"] == "waiting_for_recording"
    assert waiting.json()["overall_score"] is None
    assert waiting.headers["retry-after"]
    told = await published(service.database, SessionCompleted)
    assert [event.audio_s3_key for event in told] == [None, facts.key]


async def test_completing_twice_changes_nothing_and_tells_nobody(
    service: Service, client: httpx.AsyncClient
) -> None:
    session_id = await _open(client)

    first = await _complete(client, session_id, duration_seconds=65)
    second = await _complete(client, session_id, duration_seconds=99)

    assert first.json() == second.json()
    assert second.json()["duration_seconds"] == 65
    assert len(await published(service.database, SessionCompleted)) == 1


async def test_completing_again_starts_a_failure_that_may_be_retried(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)
    await _complete(client, session_id, transcript="I did it.")
    await deliver(service, facts.not_judged(retryable=True))

    scoring = (await client.get(f"/sessions/{session_id}/feedback")).json()
    await _complete(client, session_id)

    assert scoring["status"] == "scoring"
    assert "The coach is away." in scoring["detailed_feedback"]
    assert len(await published(service.database, SessionCompleted)) == 2


async def test_a_recording_that_cannot_be_transcribed_fails_with_its_reason(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)
    await deliver(service, facts.confirmed())
    await deliver(service, facts.not_transcribed(retryable=False))
    await deliver(service, facts.not_transcribed(retryable=True))
    await _complete(client, session_id)

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert (shown["status"], shown["detailed_feedback"]) == ("failed", "No speech.")
    assert shown["overall_score"] is None
    (told,) = await published(service.database, SessionJudged)
    assert told.feedback["status"] == "failed"


async def test_a_later_recording_changes_no_score(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    first, second = Facts(user_id, session_id, "1"), Facts(user_id, session_id, "2")
    for event in (
        first.confirmed(),
        second.confirmed(),
        second.transcribed("Later."),
        first.transcribed("First."),
    ):
        await deliver(service, event)
    await _complete(client, session_id)
    await deliver(service, first.judged(80))
    await deliver(service, second.judged(10))

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert (shown["overall_score"], shown["transcript"]) == (80, "First.")
    assert len(await published(service.database, SessionTranscribed)) == 1


async def test_a_key_named_at_completion_links_the_recording(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)

    await _complete(client, session_id, audio_s3_key=facts.key)
    await deliver(service, facts.confirmed(is_linked=False))
    await deliver(service, facts.transcribed())

    session = (await client.get(f"/sessions/{session_id}")).json()
    assert (session["status"], session["audio_s3_key"]) == ("scoring", facts.key)


async def test_a_deleted_session_stays_gone_whatever_arrives_late(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)
    await deliver(service, facts.confirmed())

    gone = await client.delete(f"/sessions/{session_id}")
    for late in (facts.transcribed(), facts.measured(), facts.judged(), facts.linked()):
        assert (await deliver(service, late)).outcome is Outcome.DONE

    assert gone.status_code == 204
    assert (await client.get(f"/sessions/{session_id}")).status_code == 404
    assert await published(service.database, SessionTranscribed) == []
    assert service.database is not None
    async with service.database.read() as tx:
        kept = await tx.rows(select(RECORDINGS.c.text, RECORDINGS.c.delivery))
    assert [(row["text"], row["delivery"]) for row in kept] == [(None, None)]
    (told,) = await published(service.database, SessionDeleted)
    assert told.keys == [facts.key]


async def test_a_deleted_person_leaves_nothing_behind(
    service: Service, client: httpx.AsyncClient, user_id: UUID, issuer: TokenIssuer
) -> None:
    session_id = await _open(client)
    facts = Facts(user_id, session_id)
    await deliver(service, facts.confirmed())
    await _complete(client, session_id)

    await deliver(service, UserDeleted(user_id=user_id))
    await deliver(service, facts.transcribed())
    again = await client.post("/sessions", json={"title": "More"})

    assert (await client.get("/sessions")).json()["sessions"] == []
    assert again.status_code == 401
    assert await published(service.database, SessionCompleted) == []
    async with client_for(service, headers=issuer.bearer(new_id())) as other:
        assert (await other.post("/sessions", json={"title": "Mine"})).status_code == 201
