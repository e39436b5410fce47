"""Correct responses in an unusual wrapping are read. Incorrect ones are not requested unchanged."""

import json
from pathlib import Path
from typing import Any

import pytest

from coach_ai.domain import Answer, ChatContext, Message
from coach_ai.openai.chat import OpenAIChat
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.openai.thinking import remove_thinking
from coach_ai.openai.transcriber import OpenAITranscriber
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable
from support.openai_server import (
    LEVELS,
    OVERALL_SCORE,
    OpenAIServer,
    completion,
    scoring_completion,
    streamed_completion,
)
from support.sounds import speech, write_recording

TEXT = "Last year I fixed a broken build. I measured every step. It took two days."
ANSWER = Answer("T", "Tell me about a hard problem.", TEXT, "en")
HELLO = ChatContext((Message("user", "Hi"),))


def _content(**changed: Any) -> str:
    content = scoring_completion(**changed)["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


def _without(*keys: str) -> str:
    body = json.loads(_content())
    return json.dumps({key: value for key, value in body.items() if key not in keys})


def _message(**message: Any) -> dict[str, Any]:
    body = completion("")
    body["choices"][0]["message"] = {"role": "assistant"} | message
    return body


@pytest.mark.parametrize(
    "answer",
    [
        completion(f"```json\n{_content()}\n```"),
        completion(f"```\n{_content()}\n```"),
        completion(f"Here is my scoring {{as JSON}}:\n{_content()}\nI hope it helps."),
        completion(f'<think>A first idea: {{"levels": 3}}.</think>\n{_content()}'),
        completion(f"It says level 4 </think>\n\n{_content()}"),
        completion(f"\ufeff{_content()}"),
        _message(content=[{"type": "text", "text": _content()}]),
        _message(content=[{"type": "output_text", "text": _content()[:20]}, _content()[20:]]),
        _message(content=None, reasoning_content=_content()),
        scoring_completion(levels={k: v and float(v) for k, v in LEVELS.items()}),
        scoring_completion(levels={k: v and str(v) for k, v in LEVELS.items()}),
        scoring_completion(levels={k: v for k, v in LEVELS.items() if v is not None}),
        scoring_completion(levels=LEVELS | {"charisma": 9}, note="An additional key."),
        completion(_without("star", "main_improvement", "cannot_judge")),
        completion(_content() + " " * 50, finish="length"),
    ],
    ids=[
        "fence", "plain fence", "prose", "think", "think without its start", "bom", "parts",
        "split parts", "reasoning", "floats", "strings", "missing level", "additional keys",
        "missing keys", "white space until the limit",
    ],
)  # fmt: skip
async def test_wrapped_scoring_is_read_at_once(
    server: OpenAIServer, scorer: OpenAIScorer, answer: dict[str, Any]
) -> None:
    server.answers = [answer]

    found = await scorer.score(ANSWER, TokenUsage())

    assert (found.overall_score, found.clarity_score) == (OVERALL_SCORE, 95)
    assert [remark.quote for remark in found.remarks] == ["It took two days."]
    assert len(server.requests) == 1


async def test_unreadable_remark_is_dropped_alone(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    good = json.loads(_content())["claims"][0]
    bad = [None, "Good.", good | {"kind": "praise"}, good | {"quote": 5}, {"text": "Good."}]
    server.answers = [scoring_completion(claims=[*bad, good])]

    assert len((await scorer.score(ANSWER, TokenUsage())).remarks) == 1


async def test_invalid_response_is_not_requested_again_before_its_delay(
    server: OpenAIServer,
) -> None:
    scorer = OpenAIScorer("key", server.url, "model")
    now = [0.0]
    scorer._invalid_responses._clock = lambda: now[0]
    server.answers = [completion("I cannot count.")]
    for _ in range(5):
        with pytest.raises(Unavailable, match="invalid response"):
            await scorer.score(ANSWER, TokenUsage())
    asked = len(server.requests)

    now[0] = 15 * 60.0
    server.answers = [scoring_completion()]
    found = await scorer.score(ANSWER, TokenUsage())
    await scorer.close()

    assert (asked, len(server.requests)) == (3, 4)
    assert found.overall_score == OVERALL_SCORE
    sent = [json.dumps(request, sort_keys=True) for request in server.requests]
    assert len(set(sent)) == 4


async def test_samples_are_different_requests(server: OpenAIServer) -> None:
    scorer = OpenAIScorer("key", server.url, "model", samples=3)
    server.answers = [scoring_completion()]

    await scorer.score(ANSWER, TokenUsage())
    await scorer.close()

    assert server.requests[0]["temperature"] == 0
    assert all(request["temperature"] > 0 for request in server.requests[1:])


async def test_next_request_after_a_truncated_response_has_a_higher_limit(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [completion("{", finish="length"), scoring_completion()]
    with pytest.raises(Unavailable, match="truncated"):
        await scorer.score(ANSWER, TokenUsage())

    assert (await scorer.score(ANSWER, TokenUsage())).overall_score == OVERALL_SCORE

    first, second = (request["max_tokens"] for request in server.requests)
    assert second == 2 * first


@pytest.mark.parametrize(
    "pieces",
    [
        ("<think>They greet me.</think>", "Hello."),
        ("<th", "ink>They ", "greet</th", "ink>\n\n", "Hel", "lo."),
        ("\n<thinking>x</thinking> ", "Hello."),
        ("Hello.",),
    ],
)
async def test_thoughts_are_not_part_of_a_reply(
    server: OpenAIServer, chat: OpenAIChat, pieces: tuple[str, ...]
) -> None:
    server.answers = [streamed_completion(*pieces)]

    assert "".join([piece async for piece in chat.reply(HELLO, TokenUsage())]) == "Hello."


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * 2_000_000, "x" * 2_000_000),
        ("<think>" * 300_000 + "</think>4", "4"),
        ("<think>" * 300_000, "<think>" * 300_000),
        ("</think>" * 300_000 + "4", "4"),
        ("a<think>b</think>c<reasoning>d</reasoning>e", "ace"),
        ("a</think>b", "b"),
        ("a<think>b", "a<think>b"),
        ("<THINK>a</Think>b", "b"),
    ],
    ids=["no tag", "beginnings", "no end", "ends", "two blocks", "end", "beginning", "case"],
)
def test_thoughts_are_removed_in_linear_time(text: str, kept: str) -> None:
    assert remove_thinking(text) == kept


async def test_angle_bracket_at_the_start_is_no_thought(
    server: OpenAIServer, chat: OpenAIChat
) -> None:
    server.answers = [streamed_completion("<", "thanks> is ", "not a tag.")]

    reply = "".join([piece async for piece in chat.reply(HELLO, TokenUsage())])

    assert reply == "<thanks> is not a tag."


async def test_words_without_valid_times_are_left_out(server: OpenAIServer, tmp_path: Path) -> None:
    transcriber = OpenAITranscriber("key", server.url, "whisper-1", None)
    file = write_recording(tmp_path / "a.m4a", speech()[: 3 * 16000], "ipod", "aac")
    server.answers = [
        {
            "text": "one two three",
            "duration": "3.0",
            "language": 5,
            "words": [
                {"word": "one", "start": 0.1, "end": 0.4},
                {"word": "two", "start": 0.5},
                {"word": "three", "start": 0.9, "end": 0.2},
                {"word": "four", "start": "0.6", "end": "0.8"},
                {"word": None, "start": 1, "end": 2},
                {"word": "five", "start": float("1"), "end": None},
                "six",
            ],
        }
    ]

    transcript = await transcriber.transcribe(file)
    await transcriber.close()

    assert [(word.text, word.start, word.end) for word in transcript.words] == [
        ("one", 0.1, 0.4),
        ("four", 0.6, 0.8),
    ]
