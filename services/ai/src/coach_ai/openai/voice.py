"""Text to speech by OpenAI's API, or a compatible server."""

from coach_ai.domain import estimate_tokens
from coach_ai.openai.client import (
    RefusedByProvider,
    check_key,
    map_openai_errors,
    open_client,
    to_unavailable,
)
from coach_ai.openai.provider_calls import InvalidResponse, ProviderCalls
from coach_ai.token_usage import TokenUsage
from coach_ai.voice.speech import SAMPLE_BYTES, Speech, VoiceName

SAMPLE_RATE = 24_000
"""Rate of `response_format` pcm. Source: developers.openai.com, text to speech guide."""

_VOICES = {VoiceName.LOW: "onyx", VoiceName.MEDIUM: "alloy", VoiceName.HIGH: "nova"}
_MAX_BYTES = 300 * SAMPLE_RATE * SAMPLE_BYTES
_TOKENS_PER_TEXT_TOKEN = 10
"""The API reports no usage. A token of text is about 0.3 s of speech, so this is an upper bound."""


class OpenAIVoice:
    """A Voice over OpenAI's API, or a compatible server."""

    def __init__(
        self, api_key: str, base_url: str | None, model: str, *, timeout_seconds: float
    ) -> None:
        self._api_key, self._base_url, self._model = api_key, base_url, model
        self._client = open_client(api_key, base_url, timeout_seconds)
        self._calls = ProviderCalls("voice", timeout_seconds)

    async def get_model(self) -> str:
        """Return the name of the model."""
        return self._model

    def max_tokens_needed(self, text: str) -> int:
        """Return an upper estimate of the tokens of the text and its speech."""
        return estimate_tokens(text) * _TOKENS_PER_TEXT_TOKEN

    async def speak(self, text: str, voice: VoiceName, speed: float, usage: TokenUsage) -> Speech:
        """Return the spoken text. Raises Unavailable if the provider does not speak it."""
        async with self._calls.call():
            try:
                with map_openai_errors():
                    response = await self._client.audio.speech.create(
                        model=self._model,
                        voice=_VOICES[voice],
                        input=text,
                        speed=speed,
                        response_format="pcm",
                    )
                    samples = response.content
            except RefusedByProvider as error:
                raise to_unavailable(error) from error
            if not samples or len(samples) > _MAX_BYTES or len(samples) % SAMPLE_BYTES:
                raise InvalidResponse("The AI provider returned no speech.")
        tokens_in = estimate_tokens(text)
        usage.add(self._model, tokens_in, self.max_tokens_needed(text) - tokens_in)
        return Speech(samples, SAMPLE_RATE)

    async def warm_up(self) -> None:
        """Do nothing: the model is elsewhere."""

    async def check(self) -> None:
        """Raise Unavailable without a key, or if the last call failed. Sends no request."""
        check_key(self._api_key, self._base_url)
        self._calls.check()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
