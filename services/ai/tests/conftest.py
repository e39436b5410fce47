"""An ai service on an empty database, with scripted providers and a store on disk."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from coach_ai.app import build
from coach_ai.config import AiSettings
from coach_ai.deps import Deps
from coach_ai.domain import (
    Answer,
    AudioAnalysis,
    AudioCoverage,
    ChatContext,
    Feedback,
    Message,
    Progress,
    Silence,
    Transcript,
    Word,
)
from coach_ai.embeddings import Embeddings, default_cache_dir, find_installed
from coach_ai.openai import request_forms
from coach_ai.ports import ProgressCallback, ignore_progress
from coach_ai.token_usage import TokenBudget, TokenUsage
from coach_common.errors import NotFound
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_common.testing.harness import client_for, migrated_service
from support.openai_server import OpenAIServer

TEXT = "Last year I fixed a broken build. I measured every step. It took two days."


@pytest.fixture(scope="session")
def embeddings() -> Embeddings:
    """The real model, from EMBEDDINGS_MODEL_DIR or its package."""
    named = os.environ.get("EMBEDDINGS_MODEL_DIR")
    folder = Path(named) if named else find_installed()
    if folder is None:
        pytest.skip("the package of the sentence embeddings is not installed: make setup")
    return Embeddings(folder, default_cache_dir())


@dataclass
class ScriptedTranscriber:
    """Returns the transcript TEXT, or raises the scripted failures."""

    failures: list[Exception] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    progress: list[AudioAnalysis | Progress] = field(default_factory=list)
    """Progress that is reported before the transcript."""
    prompts: list[str] = field(default_factory=list)
    coverage: AudioCoverage | None = None

    async def transcribe(
        self,
        recording: Path,
        on_progress: ProgressCallback = ignore_progress,
        *,
        prompt: str = "",
        budget: TokenBudget | None = None,
    ) -> Transcript:
        self.received.append(recording.read_bytes())
        self.prompts.append(prompt)
        for one in self.progress:
            await on_progress(one)
        if self.failures:
            raise self.failures.pop(0)
        words = tuple(
            Word(word, index * 0.4, index * 0.4 + 0.3) for index, word in enumerate(TEXT.split())
        )
        return Transcript(
            TEXT, "en", 6.0, "scripted", "s1", words, (Silence(2.0, 2.5),), coverage=self.coverage
        )

    async def warm_up(self) -> None:
        return None

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


@dataclass
class ScriptedCoach:
    """A Scorer and a Chat. Scores every answer alike, or raises the scripted failures."""

    failures: list[Exception] = field(default_factory=list)
    max_tokens: int = 0
    """Result of `max_tokens_needed`. `tokens` is what a request uses, of model `s1`."""
    tokens: int = 0
    scored_answers: list[Answer] = field(default_factory=list)
    contexts: list[ChatContext] = field(default_factory=list)
    pieces: list[str | Exception | asyncio.Event] = field(default_factory=list)
    """The scripted reply: text, events to wait for, failures. Empty: an echo of the message."""
    finished: int = 0
    second_score: int | None = 76
    feedbacks: list[Feedback] = field(default_factory=list)
    """Results of the next scorings. Empty: 70 points."""

    def max_tokens_needed(self, work: Answer | ChatContext) -> int:
        return self.max_tokens

    async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
        self.scored_answers.append(answer)
        usage.add("s1", self.tokens, 0)
        if self.failures:
            raise self.failures.pop(0)
        if self.feedbacks:
            return self.feedbacks.pop(0)
        return Feedback(70, 71, None, 72, (), "Good.", "scripted", "s1", "1")

    async def score_again(self, answer: Answer, usage: TokenUsage) -> Feedback:
        first = await self.score(answer, usage)
        return replace(first, overall_score=self.second_score)

    async def reply(self, context: ChatContext, usage: TokenUsage) -> AsyncGenerator[str, None]:
        self.contexts.append(context)
        usage.add("s1", self.tokens, 0)
        try:
            for piece in self.pieces or ("You said: ", context.last_user_message):
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                else:
                    yield piece
        finally:
            self.finished += 1

    async def summarise(
        self, summary: str, messages: Sequence[Message], usage: TokenUsage, *, budget: int
    ) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return f"{summary}/{len(messages)} summed up"

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


@dataclass
class DiskStore:
    """An object store in which every object exists and contains its key."""

    missing: set[str] = field(default_factory=set)
    stored: dict[str, bytes] = field(default_factory=dict)
    """Objects by key that the service has written."""
    failures: list[Exception] = field(default_factory=list)
    """Raised by the next calls that read or write objects."""

    async def put(self, key: str, body: bytes, *, content_type: str) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.stored[key] = body

    async def read_prefix(self, key: str, *, length: int) -> tuple[bytes, None]:
        if self.failures:
            raise self.failures.pop(0)
        if key not in self.stored:
            raise NotFound("Object not found in storage.")
        return self.stored[key][:length], None

    async def download(self, key: str, *, etag: str, max_bytes: int, directory: Path) -> Path:
        if key in self.missing:
            raise NotFound("Recording not found")
        file = directory / f"{new_id()}"
        file.write_bytes(key.encode())
        return file

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


@pytest.fixture
def clock() -> FakeClock:
    """A clock that starts now, because leases use database time."""
    return FakeClock(datetime.now(UTC))


@pytest.fixture
def transcriber() -> ScriptedTranscriber:
    return ScriptedTranscriber()


@pytest.fixture
def coach() -> ScriptedCoach:
    return ScriptedCoach()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenAIServer]:
    """A fake server of OpenAI's API. No request form is remembered, and the SDK retries at once."""
    monkeypatch.setattr(request_forms, "_REMEMBERED", {})
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    async with OpenAIServer.start() as server:
        yield server


@pytest.fixture
def objects() -> DiskStore:
    return DiskStore()


@pytest.fixture
def settings(database_url: str) -> AiSettings:
    return AiSettings(
        database_url=database_url,
        aws_access_key_id="a",
        aws_secret_access_key="s",
        s3_bucket_name="b",
        s3_endpoint_url="http://127.0.0.1:9",
        ai_provider="local",
    )


@pytest.fixture
async def service(
    settings: AiSettings,
    transport: FakeTransport,
    clock: FakeClock,
    issuer: TokenIssuer,
    transcriber: ScriptedTranscriber,
    coach: ScriptedCoach,
    objects: DiskStore,
) -> AsyncIterator[Service]:
    built = build(
        settings,
        transport,
        clock=clock,
        tokens=issuer.verifier,
        objects=objects,  # type: ignore[arg-type]
        transcriber=transcriber,
        scorer=coach,
        chat=coach,
    )
    async with migrated_service(built):
        yield built


@pytest.fixture
def deps(service: Service) -> Deps:
    return service.deps


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
async def client(
    service: Service, issuer: TokenIssuer, user_id: UUID
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that acts as `user_id`."""
    async with client_for(service, headers=issuer.bearer(user_id)) as client:
        yield client
