"""Text to speech by a fake OpenAI server."""

from collections.abc import AsyncIterator

import pytest
from fastapi import Response

from coach_ai.consent import ConsentRequired, set_outside_provider_allowed
from coach_ai.consenting_providers import ConsentingVoice
from coach_ai.openai.voice import SAMPLE_RATE, OpenAIVoice
from coach_ai.token_usage import TokenUsage
from coach_ai.voice.speech import Speech, VoiceName
from coach_common.errors import Unavailable
from support.openai_server import OpenAIServer, error_response

TEXT = "Tell me about a change."


@pytest.fixture
async def voice(server: OpenAIServer) -> AsyncIterator[OpenAIVoice]:
    voice = OpenAIVoice("key", server.url, "speaker-1", timeout_seconds=5.0)
    yield voice
    await voice.close()


async def test_samples_are_returned_and_counted(server: OpenAIServer, voice: OpenAIVoice) -> None:
    server.answers = [Response(b"\x01\x02" * 100, media_type="audio/pcm")]
    usage = TokenUsage()
    speech = await voice.speak(TEXT, VoiceName.HIGH, 1.5, usage)

    assert speech == Speech(b"\x01\x02" * 100, SAMPLE_RATE)
    assert server.requests == [
        {
            "model": "speaker-1", "voice": "nova", "input": TEXT,
            "speed": 1.5, "response_format": "pcm",
        }
    ]  # fmt: skip
    assert (usage.model, usage.tokens) == ("speaker-1", voice.max_tokens_needed(TEXT))


@pytest.mark.parametrize(
    "answer",
    [
        Response(b"", media_type="audio/pcm"),
        Response(b"\x01", media_type="audio/pcm"),
        error_response(400),
        error_response(404),
        error_response(500),
    ],
    ids=["empty", "half a sample", "400", "404", "500"],
)
async def test_other_answers_are_unavailable(
    server: OpenAIServer, voice: OpenAIVoice, answer: Response
) -> None:
    server.answers = [answer]

    with pytest.raises(Unavailable):
        await voice.speak(TEXT, VoiceName.LOW, 1.0, TokenUsage())
    with pytest.raises(Unavailable):
        await voice.check()


async def test_without_consent_no_request_is_sent(server: OpenAIServer, voice: OpenAIVoice) -> None:
    set_outside_provider_allowed(False)
    try:
        with pytest.raises(ConsentRequired):
            await ConsentingVoice(voice, None).speak(TEXT, VoiceName.LOW, 1.0, TokenUsage())
        with pytest.raises(ConsentRequired):
            await voice.speak(TEXT, VoiceName.LOW, 1.0, TokenUsage())
    finally:
        set_outside_provider_allowed(True)

    assert server.requests == []
