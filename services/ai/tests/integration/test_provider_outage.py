"""While a provider hangs or fails, jobs publish the reason and transcriptions stay in budget."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.responses import JSONResponse
from sqlalchemy import select

from coach_ai.app import build
from coach_ai.config import AiSettings
from coach_ai.deps import Deps
from coach_ai.domain import Answer, JobKind
from coach_ai.openai.provider_calls import NO_RESPONSE_MESSAGE
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.openai.transcriber import OpenAITranscriber, estimate_audio_tokens
from coach_ai.speech.fallback_transcriber import FallbackTranscriber
from coach_ai.tables import BUDGETS
from coach_ai.token_usage import TokenUsage
from coach_ai.use_cases import jobs, provider_outage
from coach_ai.use_cases.feedback import fail_feedback, score_session
from coach_ai.use_cases.transcription import fail_transcription, transcribe_recording
from coach_common.errors import Unavailable
from coach_common.events.catalog import (
    FeedbackFailed,
    FeedbackGenerated,
    SessionCompleted,
    TranscriptionCompleted,
    TranscriptionFailed,
    UploadConfirmed,
)
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_common.testing.harness import (
    client_for,
    deliver_event,
    emitted_events,
    migrated_service,
    wait_until,
)
from support.openai_server import OpenAIServer, scoring_completion
from support.sounds import speech, write_recording

TEXT = "Last year I fixed a broken build. I measured every step. It took two days."


@pytest.fixture
def recorded(tmp_path: Path, objects: Any) -> bytes:
    """Three seconds of speech, which the store has for every key."""
    file = write_recording(tmp_path / "a.m4a", speech()[: 3 * 16000], "ipod", "aac")
    content = file.read_bytes()

    async def download(key: str, *, etag: str, max_bytes: int, directory: Path) -> Path:
        target = directory / f"{new_id()}"
        target.write_bytes(content)
        return target

    objects.download = download
    return content


async def _confirm(service: Service, user_id: UUID) -> None:
    upload_id = new_id()
    await deliver_event(
        service,
        UploadConfirmed(
            upload_id=upload_id, user_id=user_id, key=f"uploads/{user_id}/{upload_id}.m4a",
            content_type="audio/m4a", size=9, etag="e", session_id=None,
        ),
    )  # fmt: skip


async def _run(deps: Deps, kind: JobKind) -> None:
    work = {
        JobKind.TRANSCRIPTION: (transcribe_recording, fail_transcription),
        JobKind.FEEDBACK: (score_session, fail_feedback),
    }
    job = await jobs.FairScheduler("test").claim(deps, kind)
    assert job is not None
    await jobs.run_job(deps, job, *work[kind])


async def test_hanging_scoring_publishes_its_reason_while_it_runs(
    service: Service, deps: Deps, user_id: UUID, server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(provider_outage, "CHECK_INTERVAL_SECONDS", 0.02)
    release = asyncio.Event()
    scorer = OpenAIScorer("key", server.url, "m")
    scorer._calls._slow_seconds = 0.05

    async def answer_later() -> Any:
        await release.wait()
        return scoring_completion()

    server.answers = [answer_later]
    await deliver_event(
        service,
        SessionCompleted(
            session_id=new_id(), user_id=user_id, title="T", question="A hard problem?",
            duration_seconds=6, audio_s3_key=None, transcript=TEXT,
        ),
    )  # fmt: skip
    running = asyncio.create_task(_run(replace(deps, scorer=scorer), JobKind.FEEDBACK))

    async def is_published() -> bool:
        return bool(await emitted_events(service.database, FeedbackFailed))

    await wait_until(is_published, description="the reason of the delay")
    (failed,) = await emitted_events(service.database, FeedbackFailed)
    release.set()
    await running
    await scorer.close()

    assert (failed.reason, failed.retryable) == (NO_RESPONSE_MESSAGE, True)
    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1
    assert len(await emitted_events(service.database, FeedbackFailed)) == 1


async def test_transcription_uses_the_daily_budget(
    service: Service, deps: Deps, user_id: UUID, server: OpenAIServer, recorded: bytes
) -> None:
    transcriber = OpenAITranscriber("key", server.url, "m", None)
    server.answers = [
        {"text": "Hello.", "usage": {"type": "tokens", "input_tokens": 31, "output_tokens": 4}}
    ]
    needed = estimate_audio_tokens(3.0) + 5
    deps = replace(deps, transcriber=transcriber, daily_tokens=needed)
    await _confirm(service, user_id)
    await _confirm(service, user_id)

    await _run(deps, JobKind.TRANSCRIPTION)
    await _run(deps, JobKind.TRANSCRIPTION)
    await transcriber.close()

    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1
    (failed,) = await emitted_events(service.database, TranscriptionFailed)
    assert failed.retryable and "transcription budget" in failed.reason
    assert len(server.uploads) == 1
    async with deps.db.read_only() as tx:
        assert await tx.scalar(select(BUDGETS.c.tokens)) == 35


async def test_fallback_transcribes_over_budget_without_blocking_the_primary(
    service: Service, deps: Deps, user_id: UUID, server: OpenAIServer, recorded: bytes,
    transcriber: Any,
) -> None:  # fmt: skip
    server.answers = [{"text": "Hello."}]
    both = FallbackTranscriber(OpenAITranscriber("key", server.url, "m", None), transcriber)
    deps = replace(deps, transcriber=both)
    await _confirm(service, user_id)
    await _run(replace(deps, daily_tokens=1), JobKind.TRANSCRIPTION)
    await _confirm(service, user_id)
    await _run(deps, JobKind.TRANSCRIPTION)
    await both.close()

    completed = await emitted_events(service.database, TranscriptionCompleted)
    assert [one.provider for one in completed] == ["scripted", "openai"]


async def test_readiness_names_the_failing_provider_until_it_recovers(
    settings: AiSettings, transport: FakeTransport, clock: FakeClock, issuer: TokenIssuer,
    objects: Any, server: OpenAIServer,
) -> None:  # fmt: skip
    settings = settings.model_copy(
        update={"ai_provider": "openai", "openai_base_url": server.url, "openai_api_key": "key"}
    )
    service = build(settings, transport, clock=clock, tokens=issuer.verifier, objects=objects)
    refused = JSONResponse({"error": {"message": "no", "code": "invalid_api_key"}}, 401)
    server.answers = [refused, scoring_completion()]
    answer = Answer("T", "Tell me about a hard problem.", TEXT, "en")
    scorer = service.deps.scorer
    async with migrated_service(service), client_for(service) as client:
        with pytest.raises(Unavailable):
            await scorer.score(answer, TokenUsage())
        failing = await client.get("/health/ready")
        scorer.outside._calls._blocked_until = 0.0
        await scorer.score(answer, TokenUsage())
        recovered = await client.get("/health/ready")

    assert (failing.status_code, recovered.status_code) == (503, 200)
    assert failing.json()["missing"] == {"scorer": "The AI provider rejected our credentials."}
