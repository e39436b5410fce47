"""No request reaches the OpenAI server for a user who has not agreed to an outside provider."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from coach_ai import app
from coach_ai.config import AiSettings
from coach_ai.interview.wording import load_phrases
from coach_ai.store.consents import find_consent
from coach_common.db.database import Database
from coach_common.events.base import Event
from coach_common.events.catalog import (
    FeedbackFailed,
    FeedbackGenerated,
    TranscriptionFailed,
    UserDeleted,
)
from coach_common.events.consents import ConsentChanged
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_common.testing.harness import deliver_event, emitted_events, migrated_service
from support.ai_jobs import Case, run_jobs
from support.openai_server import OpenAIServer, scoring_completion, streamed_completion

ANSWER = "Last year I fixed a broken build. I measured every step. It took two days."
MESSAGE = {"message": "How do I structure an answer?"}
NEEDS_CONSENT = "provider outside of this service"


@pytest.fixture(params=["opt_in", "opt_out"])
def rule(request: pytest.FixtureRequest) -> str:
    """What counts for a user who has not decided."""
    return str(request.param)


@pytest.fixture(params=["without local", "with local"])
def has_local(request: pytest.FixtureRequest) -> bool:
    """Whether the image has the local providers."""
    return bool(request.param == "with local")


@pytest.fixture
async def service(
    settings: AiSettings,
    server: OpenAIServer,
    transport: FakeTransport,
    clock: FakeClock,
    issuer: TokenIssuer,
    objects: object,
    rule: str,
    has_local: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Service]:
    """A service with OpenAI's adapters."""
    monkeypatch.setattr(app, "has_local_providers", lambda: has_local)
    settings = settings.model_copy(
        update={
            "ai_provider": "openai",
            "openai_api_key": "key",
            "openai_base_url": server.url,
            "outside_provider_consent": rule,
            "local_embeddings": False,
        }
    )
    built = app.build(
        settings,
        transport,
        clock=clock,
        tokens=issuer.verifier,
        objects=objects,  # type: ignore[arg-type]
    )
    async with migrated_service(built):
        yield built


async def _decide(
    service: Service, user_id: UUID, clock: FakeClock, *, is_given: bool, age_seconds: int = 0
) -> None:
    decision = ConsentChanged(
        user_id=user_id,
        purpose="outside_provider",
        is_given=is_given,
        version="2026-11",
        changed_at=clock() - timedelta(seconds=age_seconds),
    )
    await deliver_event(service, decision)


async def _reasons(database: Database | None, kind: type[Event]) -> list[str]:
    return [getattr(event, "reason", "") for event in await emitted_events(database, kind)]


@pytest.mark.parametrize("has_local", [False], ids=["without local"], indirect=False)
async def test_nothing_is_sent_without_consent_and_waits_for_it(
    service: Service,
    client: httpx.AsyncClient,
    server: OpenAIServer,
    user_id: UUID,
    clock: FakeClock,
    rule: str,
) -> None:
    if rule == "opt_out":
        await _decide(service, user_id, clock, is_given=False, age_seconds=60)
        # An older decision arrives late, and changes nothing.
        await _decide(service, user_id, clock, is_given=True, age_seconds=120)
    spoken, written = Case(user_id), Case(user_id)
    for event in (
        spoken.confirmed(), spoken.completed(), written.completed(key=False, transcript=ANSWER),
    ):  # fmt: skip
        await deliver_event(service, event)
    await run_jobs(service.deps)
    chat = await client.post("/ai/chat", json=MESSAGE)

    assert (server.requests, server.uploads) == ([], [])
    assert (chat.status_code, chat.json()["code"]) == (403, "consent_required")
    for kind in (TranscriptionFailed, FeedbackFailed):
        (reason,) = await _reasons(service.database, kind)
        assert NEEDS_CONSENT in reason
        (failed,) = await emitted_events(service.database, kind)
        assert failed.retryable  # type: ignore[attr-defined]

    server.answers = [{"text": ANSWER}, scoring_completion()]
    await _decide(service, user_id, clock, is_given=True)
    await run_jobs(service.deps)
    assert len(server.requests) >= 2
    assert len(await emitted_events(service.database, FeedbackGenerated)) >= 1


@pytest.mark.parametrize("has_local", [True], ids=["with local"], indirect=False)
async def test_local_provider_serves_users_without_consent(
    service: Service,
    client: httpx.AsyncClient,
    server: OpenAIServer,
    user_id: UUID,
    clock: FakeClock,
) -> None:
    await _decide(service, user_id, clock, is_given=False)
    case = Case(user_id)
    await deliver_event(service, case.completed(key=False, transcript=ANSWER))
    await run_jobs(service.deps)
    chat = (await client.post("/ai/chat", json=MESSAGE)).json()
    rewrite = (await client.post(f"/sessions/{case.session_id}/rewrite")).json()
    body = {"title": "Mock", "interview_type": "behavioral"}
    started = (await client.post("/ai-interview/sessions", json=body)).json()
    path = f"/ai-interview/sessions/{started['session_id']}/message"
    turn = (await client.post(path, json={"message": ANSWER})).json()

    assert load_phrases().notices["rules"] in started["response"]
    assert turn["analysis"]["method"] == "rules"
    (feedback,) = await emitted_events(service.database, FeedbackGenerated)
    assert [one["provider"] for one in (chat, rewrite)] == ["local", "local"]
    assert feedback.provider == "local"
    assert server.requests == []

    server.answers = [streamed_completion("Use STAR.")]
    await _decide(service, user_id, clock, is_given=True, age_seconds=-1)
    again = await client.post("/ai/chat", json=MESSAGE)
    assert again.json().get("provider") == "openai", again.text
    await deliver_event(service, UserDeleted(user_id=user_id))
    await _decide(service, user_id, clock, is_given=True, age_seconds=-2)
    async with service.deps.db.read_only() as tx:
        assert await find_consent(tx, user_id) is None
