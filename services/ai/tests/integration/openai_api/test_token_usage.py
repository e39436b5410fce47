"""Token usage of the OpenAI adapters over real HTTP, for every outcome of a request."""

import asyncio
from typing import Any

import pytest
from fastapi.responses import Response

from coach_ai.domain import Answer, CannotScore, ChatContext, Message
from coach_ai.openai.chat import OpenAIChat
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable
from support.openai_server import (
    OpenAIServer,
    completion,
    error_response,
    scoring_completion,
    streamed_completion,
    with_usage,
)

ANSWER = Answer(
    "T", "Tell me about a hard problem.",
    "Last year I fixed a broken build. I measured every step. It took two days.", "en",
)  # fmt: skip
HELLO = ChatContext((Message("user", "Hi"),))


@pytest.mark.parametrize(
    ("answer", "kind", "times"),
    [
        (completion("{", finish="length"), Unavailable, 1),
        (completion(None, finish="content_filter"), CannotScore, 1),
        (completion(None, refusal="No."), CannotScore, 1),
        (completion("not json"), Unavailable, 3),
        (scoring_completion(claims=None), Unavailable, 3),
        ({"choices": []}, Unavailable, 3),
    ],
    ids=["cut off", "filtered", "refused", "no json", "off schema", "no choice"],
)
async def test_unusable_response_counts_its_tokens(
    server: OpenAIServer, scorer: OpenAIScorer, answer: dict[str, Any], kind: type, times: int
) -> None:
    server.answers = [with_usage(answer, 90, 10)]
    spent = TokenUsage()

    with pytest.raises(kind):
        await scorer.score(ANSWER, spent)

    assert (spent.model, spent.tokens_in, spent.tokens_out) == ("model", 90 * times, 10 * times)


@pytest.mark.parametrize(
    "answer", [error_response(500), error_response(429, retry_after="300"), error_response(401)]
)
async def test_rejected_request_counts_no_tokens(
    server: OpenAIServer, scorer: OpenAIScorer, answer: Response
) -> None:
    server.answers = [answer]
    spent = TokenUsage()

    with pytest.raises(Unavailable):
        await scorer.score(ANSWER, spent)

    assert spent == TokenUsage()


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": "many"}, [1], {"prompt_tokens": None}]
)
async def test_missing_usage_is_estimated_too_high(
    server: OpenAIServer, scorer: OpenAIScorer, usage: Any
) -> None:
    answer = scoring_completion() if usage is None else scoring_completion() | {"usage": usage}
    server.answers = [answer]
    spent = TokenUsage()

    try:
        await scorer.score(ANSWER, spent)
    except Unavailable:
        assert usage is not None

    sent = sum(len(message["content"]) for message in server.requests[0]["messages"])
    assert spent.tokens_in >= sent / 4 * len(server.requests)
    assert spent.tokens_out > 0


@pytest.mark.parametrize("scorings", [1, 3])
async def test_max_tokens_needed_exceeds_usage_of_all_samples(
    server: OpenAIServer, scorings: int
) -> None:
    scorer = OpenAIScorer("key", server.url, "model", samples=scorings)
    server.answers = [scoring_completion()]
    spent = TokenUsage()

    await scorer.score(ANSWER, spent)
    await scorer.close()

    limit = sum(asked["max_tokens"] for asked in server.requests)
    assert len(server.requests) == scorings
    assert scorer.max_tokens_needed(ANSWER) >= spent.tokens_in + limit


async def test_reply_counts_tokens_reported_at_stream_end(
    server: OpenAIServer, chat: OpenAIChat
) -> None:
    server.answers = [streamed_completion("Breathe ", "out.", usage=(70, 5))]
    spent = TokenUsage()

    reply = "".join([piece async for piece in chat.reply(HELLO, spent)])

    assert reply == "Breathe out."
    assert (spent.tokens_in, spent.tokens_out) == (70, 5)
    assert server.requests[0]["stream_options"] == {"include_usage": True}
    assert spent.tokens <= chat.max_tokens_needed(HELLO)


async def test_abandoned_reply_counts_estimated_tokens(
    server: OpenAIServer, chat: OpenAIChat
) -> None:
    server.answers = [
        streamed_completion("Breathe out now. ", "And ", asyncio.Event(), usage=(70, 5))
    ]
    spent = TokenUsage()
    pieces = chat.reply(HELLO, spent)
    await anext(pieces)

    await pieces.aclose()

    sent = sum(len(message["content"]) for message in server.requests[0]["messages"])
    assert spent.tokens_in >= sent / 4
    assert spent.tokens_out >= len("Breathe out now.") / 4


async def test_summary_counts_its_tokens(server: OpenAIServer, chat: OpenAIChat) -> None:
    server.answers = [with_usage(completion("They asked about nerves."), 40, 6)]
    spent = TokenUsage()

    await chat.summarise("", [Message("user", "Nerves?")], spent, budget=60)

    assert (spent.model, spent.tokens) == ("model", 46)


@pytest.mark.parametrize(
    ("levels", "middle"), [((5, 1, 3, 2, 4), 3), ((1, 5), 1), ((4, 4, 2), 4), ((3, 3, 3), 3)]
)
async def test_median_scoring_counts_and_is_the_lower_of_two(
    server: OpenAIServer, scorer: OpenAIScorer, levels: tuple[int, ...], middle: int
) -> None:
    def reply(level: int) -> Any:
        known = {"relevance": 4, "structure": 4, "clarity": 5, "specificity": level}
        return lambda asked: scoring_completion(levels=dict.fromkeys(_dimensions(asked)) | known)

    alone = {}
    for level in levels:
        server.answers = [reply(level)]
        alone[level] = (await scorer.score(ANSWER, TokenUsage())).overall_score
    often = OpenAIScorer("key", server.url, "model", samples=len(levels))
    server.answers = [reply(level) for level in levels]

    found = await often.score(ANSWER, TokenUsage())
    await often.close()

    assert found.overall_score == alone[middle]
    assert (
        f"from {alone[min(levels)]} to {alone[max(levels)]}. The median counts."
        in found.detailed_feedback
    )


async def test_busy_provider_is_retried_after_its_retry_after(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [
        error_response(429, retry_after="0.01"),
        error_response(429, retry_after="0.01"),
        scoring_completion(),
    ]

    found = await scorer.score(ANSWER, TokenUsage())

    assert found.overall_score is not None
    assert len(server.requests) == 3


def _dimensions(asked: dict[str, Any]) -> list[str]:
    schema = asked["response_format"]["json_schema"]["schema"]
    return list(schema["properties"]["levels"]["properties"])
