"""Calls to a provider end, and a failing provider is named and does not delay other work."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from coach_ai.domain import Answer, ChatContext, Message
from coach_ai.openai.chat import OpenAIChat
from coach_ai.openai.provider_calls import NO_RESPONSE_MESSAGE, ProviderCalls, ProviderDown
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable
from coach_common.testing.harness import wait_until
from support.decoded_transcriber import DecodedTranscriber
from support.openai_server import (
    OVERALL_SCORE,
    DrippingResponse,
    OpenAIServer,
    error_response,
    scoring_completion,
    streamed_completion,
)

TEXT = "Last year I fixed a broken build. I measured every step. It took two days."
ANSWER = Answer("T", "Tell me about a hard problem.", TEXT, "en")
HELLO = ChatContext((Message("user", "Hi"),))
TIMEOUT_SECONDS = 0.3


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:  # type: ignore[override]
    return Clock()


@pytest.fixture
def calls(clock: Clock) -> ProviderCalls:
    return ProviderCalls("score", 60.0, clock=clock)


@pytest.mark.parametrize("hanging", [30.0, "drip"])
async def test_every_call_ends_at_its_deadline(
    server: OpenAIServer, tmp_path: Path, hanging: Any
) -> None:
    file = tmp_path / "recording"
    scorer = OpenAIScorer("key", server.url, "m", timeout_seconds=TIMEOUT_SECONDS)
    chat = OpenAIChat("key", server.url, "m", timeout_seconds=TIMEOUT_SECONDS)
    transcriber = DecodedTranscriber("key", server.url, "m", None, timeout_seconds=TIMEOUT_SECONDS)
    server.answers = [lambda request: DrippingResponse() if hanging == "drip" else hanging]

    async def reply() -> None:
        _ = [piece async for piece in chat.reply(HELLO, TokenUsage())]

    for adapter, call in (
        (scorer, lambda: scorer.score(ANSWER, TokenUsage())),
        (chat, reply),
        (transcriber, lambda: transcriber.transcribe(file)),
    ):
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable, match="does not respond"):
                await call()
        with pytest.raises(Unavailable, match="does not respond"):
            await adapter.check()
        await adapter.close()


async def test_reply_that_stops_in_the_middle_ends_at_the_deadline(server: OpenAIServer) -> None:
    chat = OpenAIChat("key", server.url, "m", timeout_seconds=TIMEOUT_SECONDS)
    server.answers = [streamed_completion("Breathe ", "out. ", asyncio.Event())]

    with pytest.raises(Unavailable, match="does not respond"):
        _ = [piece async for piece in chat.reply(HELLO, TokenUsage())]
    await chat.close()


async def test_failing_provider_is_not_called_until_its_retry_delay_has_passed(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    clock = Clock()
    scorer._calls._clock = clock
    server.answers = [error_response(429, retry_after="300")]
    for _ in range(3):
        with pytest.raises(Unavailable, match="busy") as refused:
            await scorer.score(ANSWER, TokenUsage())
        assert refused.value.retry_after_seconds == 300
    asked = len(server.requests)

    clock.seconds = 300.0
    server.answers = [scoring_completion()]
    found = await scorer.score(ANSWER, TokenUsage())

    assert (asked, found.overall_score) == (1, OVERALL_SCORE)
    await scorer.check()


async def test_recovered_provider_serves_all_calls(calls: ProviderCalls, clock: Clock) -> None:
    with pytest.raises(ProviderDown):
        async with calls.call():
            raise ProviderDown("The AI provider is busy.", "busy", retry_after_seconds=5)
    clock.seconds = 6.0

    async with calls.call():
        with pytest.raises(ProviderDown, match="busy"):
            async with calls.call():
                raise AssertionError("a second call was sent")

    async with calls.call(), calls.call():
        calls.check()


async def test_hanging_calls_are_reported_and_further_calls_fail_at_once(
    calls: ProviderCalls, clock: Clock
) -> None:
    async with calls.call():
        clock.seconds = 19.0
        calls.check()
        clock.seconds = 21.0
        with pytest.raises(Unavailable, match=NO_RESPONSE_MESSAGE):
            calls.check()
        async with calls.call():
            clock.seconds = 42.0
            with pytest.raises(ProviderDown, match=NO_RESPONSE_MESSAGE):
                async with calls.call():
                    raise AssertionError("a further call was sent")


async def test_one_hanging_call_does_not_block_others(calls: ProviderCalls, clock: Clock) -> None:
    async with calls.call():
        clock.seconds = 50.0
        async with calls.call():
            pass
        calls.check()
        async with calls.call():
            pass


async def test_usual_duration_is_not_reported(calls: ProviderCalls, clock: Clock) -> None:
    async with calls.call():
        clock.seconds = 40.0
    async with calls.call():
        clock.seconds = 40.0 + 75.0
        calls.check()
        clock.seconds = 40.0 + 85.0
        with pytest.raises(Unavailable):
            calls.check()


async def test_old_problem_is_no_longer_named(calls: ProviderCalls, clock: Clock) -> None:
    with pytest.raises(ProviderDown):
        async with calls.call():
            raise ProviderDown("The AI provider is busy.", "busy")
    clock.seconds = 19 * 60.0
    with pytest.raises(Unavailable):
        calls.check()
    clock.seconds = 21 * 60.0

    calls.check()


async def test_calls_are_counted_by_outcome(server: OpenAIServer, scorer: OpenAIScorer) -> None:
    def count(outcome: str) -> float:
        labels = {"provider": "openai", "operation": "score", "outcome": outcome}
        return REGISTRY.get_sample_value("coach_ai_provider_calls_total", labels) or 0.0

    before = {outcome: count(outcome) for outcome in ("ok", "credentials", "not_sent")}
    server.answers = [scoring_completion(), error_response(401)]
    await scorer.score(ANSWER, TokenUsage())
    for _ in range(2):
        with pytest.raises(Unavailable, match="credentials"):
            await scorer.score(ANSWER, TokenUsage())

    assert {outcome: count(outcome) - was for outcome, was in before.items()} == {
        "ok": 1,
        "credentials": 1,
        "not_sent": 1,
    }


async def test_compatible_server_needs_no_key(server: OpenAIServer) -> None:
    scorer = OpenAIScorer("", server.url, "m")
    server.answers = [scoring_completion()]

    await scorer.check()
    found = await scorer.score(ANSWER, TokenUsage())
    await scorer.close()

    assert found.overall_score == OVERALL_SCORE


async def test_hanging_server_does_not_delay_a_second_recording(
    server: OpenAIServer, tmp_path: Path
) -> None:
    file = tmp_path / "recording"
    transcriber = DecodedTranscriber("key", server.url, "m", None)
    is_released = asyncio.Event()

    async def answer_later() -> Any:
        await is_released.wait()
        return {"text": "Late."}

    async def is_sent() -> bool:
        return bool(server.requests)

    server.answers = [answer_later, {"text": "Hello there."}]
    first = asyncio.create_task(transcriber.transcribe(file))
    await wait_until(is_sent, description="the first request")

    second = await transcriber.transcribe(file)
    is_first_done = first.done()
    is_released.set()
    late = await first
    await transcriber.close()

    assert (second.text, is_first_done, late.text) == ("Hello there.", False, "Late.")
