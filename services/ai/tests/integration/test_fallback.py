"""The fallback transcriber: when it uses its secondary provider."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coach_ai.domain import CannotTranscribe
from coach_ai.openai.transcriber import OpenAITranscriber
from coach_ai.speech.fallback_transcriber import FallbackTranscriber
from coach_ai.speech.local_transcriber import LocalTranscriber
from coach_common.errors import Unavailable
from support.openai_server import OpenAIServer, error_response
from support.sounds import RECORDINGS, WORDS

RECORDING = RECORDINGS / next(iter(WORDS))


@pytest.fixture
async def openai(server: OpenAIServer) -> OpenAITranscriber:
    return OpenAITranscriber("key", server.url, "gpt-transcribe", None)


@pytest.fixture
async def speech(openai: OpenAITranscriber) -> AsyncIterator[FallbackTranscriber]:
    speech = FallbackTranscriber(openai, LocalTranscriber(None))
    yield speech
    await speech.close()


@pytest.mark.speech
async def test_secondary_is_used_until_the_primary_retry_delay_has_passed(
    server: OpenAIServer, openai: OpenAITranscriber, speech: FallbackTranscriber
) -> None:
    server.answers = [error_response(503, retry_after="3600")]
    first = await speech.transcribe(RECORDING)
    asked = len(server.uploads)
    second = await speech.transcribe(RECORDING)
    speech._primary_blocked_until = openai._calls._blocked_until = 0.0
    server.answers = [{"text": "Heard by the first."}]
    third = await speech.transcribe(RECORDING)

    assert (first.provider, first.model) == ("local", "whisper-base")
    assert "dashwood" in first.text.lower()
    assert second.provider == "local"
    assert len(server.uploads) == asked + 1
    assert (third.provider, third.model) == ("openai", "gpt-transcribe")


async def test_primary_rejection_is_final(
    server: OpenAIServer, speech: FallbackTranscriber
) -> None:
    server.answers = [error_response(400, code="content_filter")]

    with pytest.raises(CannotTranscribe):
        await speech.transcribe(RECORDING)


async def test_fallback_is_ready_if_one_provider_is(tmp_path: Path, server: OpenAIServer) -> None:
    with_key = OpenAITranscriber("key", server.url, "m", None)
    without_key = OpenAITranscriber("", None, "m", None)
    without_model = LocalTranscriber(tmp_path)

    await FallbackTranscriber(without_model, with_key).check()
    with pytest.raises(Unavailable, match="no speech model"):
        await FallbackTranscriber(without_key, without_model).check()
