"""What asking OpenAI takes, over real HTTP: held before, and counted whatever comes of it."""

import asyncio
from typing import Any

import pytest
from fastapi.responses import Response
from openai_server import OpenAIServer, error, judged, said, streamed, taken

from coach_ai.adapters.openai_coach import OpenAICoach
from coach_ai.domain import Answer, CannotJudge, Message, Talk
from coach_ai.spending import Spent
from coach_common.errors import Unavailable

ANSWER = Answer(
    "T", "Tell me about a hard problem.",
    "Last year I fixed a broken build. I measured every step. It took two days.", "en",
)  # fmt: skip
HELLO = Talk((Message("user", "Hi"),))


@pytest.mark.parametrize(
    ("answer", "kind", "times"),
    [
        (said("{", finish="length"), Unavailable, 1),
        (said(None, finish="content_filter"), CannotJudge, 1),
        (said(None, refusal="No."), CannotJudge, 1),
        (said("not json"), Unavailable, 3),
        (judged(extra="key"), Unavailable, 3),
        ({"choices": []}, Unavailable, 3),
    ],
    ids=["cut off", "filtered", "refused", "no json", "off schema", "no choice"],
)
async def test_an_answer_that_is_of_no_use_is_paid_for_all_the_same(
    server: OpenAIServer, coach: OpenAICoach, answer: dict[str, Any], kind: type, times: int
) -> None:
    server.answers = [taken(answer, 90, 10)]
    spent = Spent()

    with pytest.raises(kind):
        await coach.judge(ANSWER, spent)

    assert (spent.model, spent.tokens_in, spent.tokens_out) == ("model", 90 * times, 10 * times)


@pytest.mark.parametrize("answer", [error(500), error(429, retry_after="300"), error(401)])
async def test_a_request_that_was_turned_away_took_nothing(
    server: OpenAIServer, coach: OpenAICoach, answer: Response
) -> None:
    server.answers = [answer]
    spent = Spent()

    with pytest.raises(Unavailable):
        await coach.judge(ANSWER, spent)

    assert spent == Spent()


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": "many"}, [1], {"prompt_tokens": None}]
)
async def test_a_server_that_does_not_count_is_counted_rather_too_high(
    server: OpenAIServer, coach: OpenAICoach, usage: Any
) -> None:
    answer = judged() if usage is None else judged() | {"usage": usage}
    server.answers = [answer]
    spent = Spent()

    try:
        await coach.judge(ANSWER, spent)
    except Unavailable:
        assert usage is not None

    sent = sum(len(message["content"]) for message in server.asked[0]["messages"])
    assert spent.tokens_in >= sent / 4 * len(server.asked)
    assert spent.tokens_out > 0


@pytest.mark.parametrize("scorings", [1, 3])
async def test_more_is_held_than_all_scorings_take(server: OpenAIServer, scorings: int) -> None:
    coach = OpenAICoach("key", server.url, "model", scorings=scorings)
    server.answers = [judged()]
    spent = Spent()

    await coach.judge(ANSWER, spent)
    await coach.close()

    limit = sum(asked["max_completion_tokens"] for asked in server.asked)
    assert len(server.asked) == scorings
    assert coach.most_tokens(ANSWER) >= spent.tokens_in + limit


async def test_a_reply_takes_what_the_stream_says_at_its_end(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    server.answers = [streamed("Breathe ", "out.", usage=(70, 5))]
    spent = Spent()

    reply = "".join([piece async for piece in coach.reply(HELLO, spent)])

    assert reply == "Breathe out."
    assert (spent.tokens_in, spent.tokens_out) == (70, 5)
    assert server.asked[0]["stream_options"] == {"include_usage": True}
    assert spent.tokens <= coach.most_tokens(HELLO)


async def test_a_reply_that_nobody_stays_for_is_counted_by_what_was_said(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    server.answers = [streamed("Breathe out now. ", "And ", asyncio.Event(), usage=(70, 5))]
    spent = Spent()
    pieces = coach.reply(HELLO, spent)
    await anext(pieces)

    await pieces.aclose()

    sent = sum(len(message["content"]) for message in server.asked[0]["messages"])
    assert spent.tokens_in >= sent / 4
    assert spent.tokens_out >= len("Breathe out now.") / 4


async def test_a_summary_is_counted(server: OpenAIServer, coach: OpenAICoach) -> None:
    server.answers = [taken(said("They asked about nerves."), 40, 6)]
    spent = Spent()

    await coach.summarise("", [Message("user", "Nerves?")], spent, budget=60)

    assert (spent.model, spent.tokens) == ("model", 46)


@pytest.mark.parametrize(
    ("levels", "middle"), [((5, 1, 3, 2, 4), 3), ((1, 5), 1), ((4, 4, 2), 4), ((3, 3, 3), 3)]
)
async def test_the_scoring_in_the_middle_counts_the_lower_one_of_an_even_number(
    server: OpenAIServer, coach: OpenAICoach, levels: tuple[int, ...], middle: int
) -> None:
    def reply(level: int) -> Any:
        known = {"relevance": 4, "structure": 4, "clarity": 5, "specificity": level}
        return lambda asked: judged(levels=dict.fromkeys(_dimensions(asked)) | known)

    alone = {}
    for level in levels:
        server.answers = [reply(level)]
        alone[level] = (await coach.judge(ANSWER, Spent())).overall_score
    often = OpenAICoach("key", server.url, "model", scorings=len(levels))
    server.answers = [reply(level) for level in levels]

    found = await often.judge(ANSWER, Spent())
    await often.close()

    assert found.overall_score == alone[middle]
    assert f"from {alone[min(levels)]} to {alone[max(levels)]};" in found.detailed_feedback


async def test_a_busy_provider_is_asked_again_when_it_said(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    server.answers = [error(429, retry_after="0.01"), error(429, retry_after="0.01"), judged()]

    found = await coach.judge(ANSWER, Spent())

    assert found.overall_score is not None
    assert len(server.asked) == 3


def _dimensions(asked: dict[str, Any]) -> list[str]:
    schema = asked["response_format"]["json_schema"]["schema"]
    return list(schema["$defs"]["_Levels"]["properties"])
