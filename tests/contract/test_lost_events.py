"""The repair sweeps restore the effect of each event that a consumer lost, on both transports."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select
from transports import TransportHarness

import coach_ai.app
import coach_ai.config
import coach_auth.app
import coach_auth.config
import coach_media.app
import coach_media.config
import coach_sessions.app
import coach_sessions.config
from coach_ai.domain import Answer, CannotTranscribe, Feedback, Transcript
from coach_ai.ports import ProgressCallback, ignore_progress
from coach_ai.token_usage import TokenBudget, TokenUsage
from coach_common import repair
from coach_common.config import Settings
from coach_common.db.transaction import MessageContext
from coach_common.ids import new_id
from coach_common.messaging.subscriptions import Subscription, Transport
from coach_common.service import Service, listen, running, upgrade
from coach_common.testing.fakes import FakeTransport, TokenIssuer
from coach_common.testing.harness import client_for, http_client, wait_until
from coach_embedded.store import StoreKey, create_store_app

pytestmark = pytest.mark.slow

TEXT = "I fixed the build."
SHORT_SETTLING_TIME = timedelta(seconds=0.3)
REASON = "We found no speech in this recording."
STORE = {
    "aws_access_key_id": "ACCESS",
    "aws_secret_access_key": "secret",
    "s3_bucket_name": "coach",
}


class ScriptedAi:
    """A transcriber and scorer that returns TEXT and 70, or fails for good with REASON."""

    has_failure = False

    async def transcribe(
        self,
        recording: Path,
        on_progress: ProgressCallback = ignore_progress,
        *,
        prompt: str = "",
        budget: TokenBudget | None = None,
    ) -> Transcript:
        if self.has_failure:
            raise CannotTranscribe(REASON)
        return Transcript(TEXT, "en", 3.0, "scripted", "s1")

    def max_tokens_needed(self, work: object) -> int:
        return 0

    async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
        return Feedback(70, 71, None, 72, (), "Good.", "scripted", "s1", "1")

    async def score_again(self, answer: Answer, usage: TokenUsage) -> Feedback:
        return await self.score(answer, usage)

    async def warm_up(self) -> None:
        return None

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


class OwnerOfAll:
    """SessionOwnership and UploadedRecordings without a service behind them."""

    async def require_owner(self, session_id: UUID, *, bearer: str) -> None:
        return None

    async def find_key(self, session_id: UUID, *, bearer: str) -> str | None:
        return None

    async def close(self) -> None:
        return None


class NoQuestions:
    """Questions that no session names."""

    async def close(self) -> None:
        return None


@dataclass
class System:
    """Auth, sessions, media and ai on one transport, and the messages that they lose."""

    auth: httpx.AsyncClient
    sessions: httpx.AsyncClient
    media: httpx.AsyncClient
    ai: ScriptedAi
    services: dict[str, Service[Any]]
    lost: set[str] = field(default_factory=set)
    """Queues whose next message is lost."""

    def wrap(self, subscription: Subscription) -> Subscription:
        """Return the subscription with a handler that acknowledges and drops what is lost."""

        async def handle(event: Any, message: MessageContext) -> None:
            if subscription.queue in self.lost:
                self.lost.remove(subscription.queue)
                return
            await subscription.handle(event, message)

        return replace(subscription, handle=handle)

    async def count_rows(self, service: str, user_id: UUID) -> int:
        """Return how many rows about the user a service has, without events and deletions."""
        database, count = self.services[service].database, 0
        assert database is not None
        assert database.outbox is not None
        async with database.read_only() as tx:
            for table in database.outbox.metadata.sorted_tables:
                if "user_id" in table.c and table.name not in ("outbox", "deletions"):
                    rows = select(func.count()).select_from(table)
                    count += await tx.scalar(rows.where(table.c.user_id == user_id))
        return count

    async def feedback(self, session_id: str) -> dict[str, Any]:
        return (await self.sessions.get(f"/sessions/{session_id}/feedback")).json()  # type: ignore[no-any-return]

    async def upload(self, **body: object) -> str:
        presigned = (
            await self.media.post(
                "/upload/s3-presign", json={"content_type": "audio/m4a", "extension": "m4a", **body}
            )
        ).json()
        async with http_client() as store:
            await store.put(
                presigned["url"],
                content=b"\0\0\0\x20ftypM4A " + bytes(100),
                headers=presigned["headers"],
            )
        return str(presigned["key"])


@pytest.fixture
async def system(
    bus: TransportHarness,
    database_urls: list[str],
    tmp_path: Path,
    issuer: TokenIssuer,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[System]:
    monkeypatch.setattr(repair, "SETTLING_TIME", SHORT_SETTLING_TIME)
    async with AsyncExitStack() as stack:
        listener = listen("127.0.0.1", 0)
        store = create_store_app(
            tmp_path / "objects",
            keys=[StoreKey("ACCESS", "secret")],
            bucket="coach",
            cors_origins=[],
        )
        await stack.enter_async_context(
            running(Service("store", store, Settings(), FakeTransport(), deps=None), listener)
        )
        endpoint = {"s3_endpoint_url": f"http://127.0.0.1:{listener.getsockname()[1]}", **STORE}
        ai, owner = ScriptedAi(), OwnerOfAll()
        services: list[Service[Any]] = [
            coach_auth.app.build(
                coach_auth.config.AuthSettings(
                    database_url=database_urls[3],
                    secret_key=secrets.token_urlsafe(32),
                    service_token=secrets.token_urlsafe(32),
                    bcrypt_cost=4,
                    repair_seconds=0.5,
                ),
                _transport(bus),
            ),
            coach_sessions.app.build(
                coach_sessions.config.SessionsSettings(
                    database_url=database_urls[0], repair_seconds=0.5
                ),
                _transport(bus),
                tokens=issuer.verifier,
                uploaded_recordings=owner,
                questions=NoQuestions(),
            ),
            coach_media.app.build(
                coach_media.config.MediaSettings(
                    database_url=database_urls[1], repair_seconds=0.5, **endpoint
                ),
                _transport(bus),
                tokens=issuer.verifier,
                sessions=owner,
            ),
            coach_ai.app.build(
                coach_ai.config.AiSettings(
                    database_url=database_urls[2],
                    ai_provider="local",
                    local_embeddings=False,
                    repair_seconds=0.5,
                    temp_dir=tmp_path / "downloads",
                    live_dir=tmp_path / "live",
                    **endpoint,
                ),
                _transport(bus),
                tokens=issuer.verifier,
                transcriber=ai,
                scorer=ai,
            ),
        ]
        caller = issuer.bearer(new_id())
        system = System(
            await stack.enter_async_context(client_for(services[0])),
            await stack.enter_async_context(client_for(services[1], headers=caller)),
            await stack.enter_async_context(client_for(services[2], headers=caller)),
            ai,
            {service.name: service for service in services},
        )
        for service in services:
            await upgrade(service)
            lossy = replace(service, subscriptions=[*map(system.wrap, service.subscriptions)])
            await stack.enter_async_context(running(lossy, listen("127.0.0.1", 0)))
        yield system


@pytest.fixture
def database_urls(
    request: pytest.FixtureRequest, bus: TransportHarness, tmp_path: Path
) -> Iterator[list[str]]:
    """One empty database per service: MariaDB beside RabbitMQ, SQLite otherwise."""
    if request.node.callspec.params["bus"] == "in process":
        yield [f"sqlite:///{tmp_path}/{name}.db" for name in ("sessions", "media", "ai", "auth")]
        return
    server = request.getfixturevalue("mariadb")
    with ExitStack() as stack:
        yield [stack.enter_context(server.database()) for _ in range(4)]


def _transport(bus: TransportHarness) -> Transport:
    return bus.open_transport()


def _repairs() -> dict[str, float]:
    return {
        f"{sample.labels['service']} {sample.labels['effect']}": sample.value
        for metric in REGISTRY.collect()
        if metric.name == "coach_repairs"
        for sample in metric.samples
        if sample.name == "coach_repairs_total"
    }


async def _wait_for(system: System, session_id: str, status: str) -> dict[str, Any]:
    async def reached() -> dict[str, Any] | None:
        feedback = await system.feedback(session_id)
        return feedback if feedback["status"] == status else None

    return await wait_until(reached, description=f"the status {status}", interval_seconds=0.1)


async def _wait_for_transcript(system: System, upload_id: str) -> None:
    async def is_transcribed() -> bool:
        upload = (await system.media.get(f"/upload/{upload_id}")).json()
        return upload["status"] == "transcribed" and upload["transcript"] == TEXT

    await wait_until(is_transcribed, description="the transcript in media")


async def _answer(system: System) -> tuple[str, str]:
    """Create a session, upload and confirm its recording, and complete it."""
    created = await system.sessions.post("/sessions", json={"title": "T", "question": "Q?"})
    session_id = created.json()["id"]
    key = await system.upload(session_id=session_id)
    loses_confirm = "sessions.upload.confirmed" in system.lost
    confirmed = await system.media.post("/upload/confirm", json={"key": key})

    async def is_linked() -> bool:
        session = (await system.sessions.get(f"/sessions/{session_id}")).json()
        return loses_confirm or session["audio_s3_key"] == key

    await wait_until(is_linked, description="the link")
    await system.sessions.post(f"/sessions/{session_id}/complete")
    return session_id, confirmed.json()["upload_id"]


@pytest.mark.parametrize(
    "queue",
    [
        "ai.upload.confirmed",
        "sessions.upload.confirmed",
        "media.transcription.completed",
        "ai.session.completed",
        "sessions.feedback.generated",
    ],
)
async def test_lost_event_is_repaired_and_counted(system: System, queue: str) -> None:
    before = _repairs()
    system.lost.add(queue)

    session_id, upload_id = await _answer(system)
    feedback = await _wait_for(system, session_id, "ready")

    await _wait_for_transcript(system, upload_id)
    assert not system.lost
    assert feedback["transcript"] == TEXT
    assert feedback["overall_score"] == 70
    assert _repairs() != before


@pytest.mark.parametrize(
    "queue", ["sessions.transcription.completed", "sessions.delivery.measured"]
)
async def test_feedback_carries_transcript_and_delivery_that_were_lost(
    system: System, queue: str
) -> None:
    system.lost.add(queue)

    session_id, _ = await _answer(system)
    feedback = await _wait_for(system, session_id, "ready")

    assert not system.lost
    assert feedback["transcript"] == TEXT
    assert feedback["delivery"]


@pytest.mark.parametrize("queue", ["sessions.transcription.failed", "media.transcription.failed"])
async def test_lost_failure_is_repaired_with_its_reason(system: System, queue: str) -> None:
    system.ai.has_failure = True
    system.lost.add(queue)

    session_id, upload_id = await _answer(system)
    feedback = await _wait_for(system, session_id, "failed")

    async def upload_has_failed() -> bool:
        upload = (await system.media.get(f"/upload/{upload_id}")).json()
        return upload["status"] == "failed" and upload["reason"] == REASON

    await wait_until(upload_has_failed, description="the reason in media")
    assert not system.lost
    assert feedback["detailed_feedback"] == REASON


@pytest.mark.parametrize("queue", ["sessions.upload.linked", "ai.upload.linked"])
async def test_lost_link_is_repaired(system: System, queue: str) -> None:
    created = await system.sessions.post("/sessions", json={"title": "T", "question": "Q?"})
    session_id = created.json()["id"]
    key = await system.upload()
    await system.media.post("/upload/confirm", json={"key": key})
    system.lost.add(queue)

    await system.media.post("/upload/confirm", json={"key": key, "session_id": session_id})
    await system.sessions.post(f"/sessions/{session_id}/complete")

    assert (await _wait_for(system, session_id, "ready"))["transcript"] == TEXT


async def test_nothing_is_repaired_while_events_are_on_their_way(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "SETTLING_TIME", timedelta(hours=1))
    before = _repairs()

    session_id, upload_id = await _answer(system)
    await _wait_for(system, session_id, "ready")
    await _wait_for_transcript(system, upload_id)

    assert _repairs() == before


async def test_lost_deletions_are_repeated_until_no_service_has_the_data(
    system: System, issuer: TokenIssuer
) -> None:
    account = {"email": "alice@example.com", "password": "correct horse battery"}
    registered = (await system.auth.post("/auth/register", json=account)).json()
    user_id = UUID(registered["user"]["id"])
    caller = issuer.bearer(user_id)
    system.sessions.headers.update(caller)
    system.media.headers.update(caller)
    session_id, upload_id = await _answer(system)
    await _wait_for(system, session_id, "ready")
    before = _repairs()

    async def is_erased(*services: str) -> bool:
        return not any([await system.count_rows(service, user_id) for service in services])

    async def wait_until_erased(*services: str) -> None:
        await wait_until(
            lambda: is_erased(*services),
            description=f"the deletion in {services}",
            timeout_seconds=60,
            interval_seconds=0.1,
        )

    async def has_no_upload() -> bool:
        return (await system.media.get(f"/upload/{upload_id}")).status_code == 404

    system.lost |= {"media.session.deleted", "ai.session.deleted"}
    deleted = await system.sessions.delete(f"/sessions/{session_id}")
    assert deleted.status_code == 204
    await wait_until_erased("ai")
    await wait_until(has_no_upload, description="the deletion in media", interval_seconds=0.1)
    assert not system.lost

    session_id, _ = await _answer(system)
    await _wait_for(system, session_id, "ready")
    system.lost |= {"sessions.user.deleted", "media.user.deleted", "ai.user.deleted"}
    deleted = await system.auth.request(
        "DELETE",
        "/auth/me",
        json={"password": account["password"]},
        headers={"authorization": f"Bearer {registered['token']}"},
    )
    assert deleted.status_code == 204, deleted.text
    await wait_until_erased("auth", "sessions", "media", "ai")

    assert not system.lost
    repaired = {effect for effect, value in _repairs().items() if value > before.get(effect, 0)}
    assert repaired >= {
        "media session_deletion",
        "ai session_deletion",
        "sessions user_deletion",
        "media user_deletion",
        "ai user_deletion",
    }


@pytest.mark.parametrize("path", ["/sessions", "/ai-interview/sessions"])
async def test_lost_deletion_of_an_interview_is_repeated_until_its_recording_is_deleted(
    system: System, path: str
) -> None:
    body = {"title": "Mock", "interview_type": "case"}
    headers = {"authorization": system.sessions.headers["authorization"]}
    before = _repairs()

    async with client_for(system.services["ai"], headers=headers) as ai:
        interview_id = (await ai.post("/ai-interview/sessions", json=body)).json()["session_id"]
        message_path = f"/ai-interview/sessions/{interview_id}/message"
        key = await system.upload()
        upload_id = (await system.media.post("/upload/confirm", json={"key": key})).json()[
            "upload_id"
        ]
        system.lost |= {f"{name}.interview.recording_linked" for name in ("sessions", "media")}

        async def is_answered() -> bool:
            return (await ai.post(message_path, json={"audio_s3_key": key})).status_code == 200

        async def is_listed() -> bool:
            listed = await system.sessions.get(f"/sessions/{interview_id}")
            return listed.status_code == 200 and not system.lost

        async def is_erased() -> bool:
            left = [
                await system.sessions.get(f"/sessions/{interview_id}"),
                await system.media.get(f"/upload/{upload_id}"),
                # Media confirms when the upload URL has expired.
                receipt := await system.auth.get(deleted.headers["location"]),
            ]
            is_deleted = [one.status_code for one in left] == [404, 404, 200] and not system.lost
            return is_deleted and receipt.json()["outstanding"] == ["media"]

        for reached in (is_answered, is_listed):
            await wait_until(reached, description=reached.__name__)
        system.lost |= {f"{name}.interview.deleted" for name in ("sessions", "media", "auth")}
        deleted = await (ai if path.startswith("/ai") else system.sessions).delete(
            f"{path}/{interview_id}"
        )
        await wait_until(is_erased, description="the deletion")

    async def is_counted() -> bool:
        # The repair is counted after its transaction, whose effect is visible before.
        effect = "media interview_deletion"
        return _repairs().get(effect, 0) > before.get(effect, 0)

    await wait_until(is_counted, description="the count of the repair")


@pytest.mark.parametrize(
    "lost",
    [
        {"sessions.interview.assessed"},
        {"sessions.interview.started", "sessions.interview.assessed"},
    ],
)
async def test_lost_assessment_of_an_interview_reaches_the_history(
    system: System, lost: set[str]
) -> None:
    body = {"title": "Mock", "interview_type": "case"}
    headers = {"authorization": system.sessions.headers["authorization"]}
    before = _repairs()
    system.lost |= lost

    async with client_for(system.services["ai"], headers=headers) as ai:
        live = (await ai.post("/ai-interview/sessions", json=body)).json()["session_id"]
        interview = (await ai.post("/ai-interview/sessions", json=body)).json()["session_id"]
        await ai.post(f"/ai-interview/sessions/{interview}/message", json={"message": TEXT})
        await ai.post(f"/ai-interview/sessions/{interview}/complete")

    async def statuses() -> dict[str, str]:
        listed = (await system.sessions.get("/sessions")).json()["sessions"]
        return {one["id"]: one["status"] for one in listed}

    async def is_repaired() -> bool:
        return await statuses() == {live: "not_completed", interview: "ready"}

    await wait_until(is_repaired, description="the assessment")

    async def is_counted() -> bool:
        effect = "sessions interview"
        return _repairs().get(effect, 0) > before.get(effect, 0)

    await wait_until(is_counted, description="the count of the repair")
    assert not system.lost
    session = (await system.sessions.get(f"/sessions/{interview}")).json()
    assert session["overall_score"] == 70
