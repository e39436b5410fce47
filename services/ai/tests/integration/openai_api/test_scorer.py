"""The OpenAI scorer over real HTTP: results, invalid responses and failures."""

import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse

from coach_ai.domain import Accommodation, Answer, CannotScore, MainImprovement, Word
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable
from support.openai_server import (
    LEVELS,
    OpenAIServer,
    completion,
    error_response,
    scoring_completion,
)

TEXT = "Last year I fixed a broken build. I measured every step. It took two days."
ANSWER = Answer(
    "T", "Tell me about a hard problem.", TEXT, "en", 6.0,
    tuple(Word(word, i * 0.5, i * 0.5 + 0.4) for i, word in enumerate(TEXT.split())), (),
)  # fmt: skip


async def test_levels_become_scores_and_quotes_get_times(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [scoring_completion()]

    found = await scorer.score(ANSWER, TokenUsage())

    assert (found.overall_score, found.clarity_score, found.technical_score) == (72, 95, None)
    (claim,) = found.remarks
    assert claim.quote == "It took two days."
    assert (claim.start_seconds, claim.end_seconds) == (5.5, 7.4)
    assert (found.provider, found.model, found.rubric_version) == ("openai", "model", "4.0.0")
    (asked,) = server.requests
    assert asked["response_format"]["json_schema"]["strict"] is True
    assert TEXT not in asked["messages"][0]["content"]
    assert TEXT in asked["messages"][1]["content"]


async def test_second_scoring_sends_another_request_without_the_first_result(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [scoring_completion()]
    first = await scorer.score(ANSWER, TokenUsage())

    second = await scorer.score_again(ANSWER, TokenUsage())

    one, other = server.requests
    assert (first.overall_score, one["messages"]) == (second.overall_score, other["messages"])
    assert one["temperature"] == 0 < other["temperature"]
    assert first.detailed_feedback not in str(other)


async def test_unclear_audio_is_rejected_without_a_request(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    doubted = tuple(replace(word, probability=0.6) for word in ANSWER.words)

    found = await scorer.score(replace(ANSWER, words=doubted), TokenUsage())

    assert (found.overall_score, found.remarks, server.requests) == (None, (), [])
    assert "audio is too unclear" in found.detailed_feedback


async def test_remark_without_verified_quote_is_dropped_with_the_score(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    invented = {
        "kind": "strength",
        "dimension": "clarity",
        "text": "Good.",
        "quote": "I won a prize",
    }
    server.answers = [scoring_completion(claims=[invented])]

    found = await scorer.score(ANSWER, TokenUsage())

    assert found.remarks == ()
    assert found.overall_score is None
    assert found.detailed_feedback


async def test_median_of_three_scorings_states_the_range(
    server: OpenAIServer,
) -> None:
    scorer = OpenAIScorer("key", server.url, "model", samples=3)
    server.answers = [
        scoring_completion(levels=LEVELS | {"specificity": level}, summary=f"Level {level}.")
        for level in (5, 1, 3)
    ]

    for answer in server.answers:
        answer["usage"] = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}

    spent = TokenUsage()
    found = await scorer.score(ANSWER, spent)
    await scorer.close()

    assert (found.overall_score, spent.tokens) == (72, 300)
    assert found.detailed_feedback.startswith("Level 3. Scored 3 times, from ")


async def test_score_is_null_if_most_scorings_have_none(server: OpenAIServer) -> None:
    scorer = OpenAIScorer("key", server.url, "model", samples=3)
    server.answers = [scoring_completion(), scoring_completion(cannot_judge="Off topic.")]

    found = await scorer.score(ANSWER, TokenUsage())
    await scorer.close()

    assert (found.overall_score, found.detailed_feedback) == (None, "Off topic.")


async def test_temperature_is_omitted_after_the_model_rejects_it(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    refused = JSONResponse({"error": {"message": "no", "param": "temperature"}}, 400)
    server.answers = [refused, scoring_completion()]

    first, second = (
        await scorer.score(ANSWER, TokenUsage()),
        await scorer.score(ANSWER, TokenUsage()),
    )

    assert (first.overall_score, second.overall_score) == (72, 72)
    assert [asked.get("temperature") for asked in server.requests] == [0, None, None]


async def test_main_improvement_and_star_have_verified_quotes(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    main = {"text": "Say what came of it.", "quote": "it took two days", "drill": "End first."}
    star = {"situation": "Last year", "task": "my job was", "action": None, "result": None}
    server.answers = [scoring_completion(main_improvement=main, star=star)]

    found = await scorer.score(ANSWER, TokenUsage())

    assert found.main_improvement == MainImprovement(
        "Say what came of it.", "It took two days.", "End first."
    )
    assert found.star == {"situation": "Last year", "task": None, "action": None, "result": None}


async def test_main_improvement_without_verified_quote_is_dropped(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    main = {"text": "Say less.", "quote": "I won a prize", "drill": "Stop earlier."}
    server.answers = [scoring_completion(main_improvement=main)]

    assert (await scorer.score(ANSWER, TokenUsage())).main_improvement is None


async def test_unscorable_answer_has_null_scores_and_the_models_reason(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [scoring_completion(cannot_judge="This is no answer to the question.")]

    found = await scorer.score(ANSWER, TokenUsage())

    assert (found.overall_score, found.clarity_score) == (None, None)
    assert found.detailed_feedback == "This is no answer to the question."


@pytest.mark.parametrize(
    "nonsense",
    [
        scoring_completion(levels=LEVELS | {"clarity": 101}),
        scoring_completion(levels=LEVELS | {"clarity": -1}),
        scoring_completion(levels=LEVELS | {"clarity": "ninety"}),
        scoring_completion(levels=LEVELS | {"clarity": 4.5}),
        scoring_completion(levels={}),
        scoring_completion(claims=None),
        completion('{"cannot_judge": null, "lev'),
        completion(""),
        completion(None),
        completion("x" * 10_000_000),
        Response("<html>hello</html>", media_type="text/html"),
        {"choices": []},
    ],
    ids=[
        "above-100", "negative", "text", "fraction", "empty", "no-claims",
        "truncated", "blank", "null", "huge", "html", "no-choices",
    ],
)  # fmt: skip
async def test_invalid_response_is_retried_then_unavailable(
    server: OpenAIServer, scorer: OpenAIScorer, nonsense: Any
) -> None:
    server.answers = [nonsense]

    with pytest.raises(Unavailable):
        await scorer.score(ANSWER, TokenUsage())

    assert 1 <= len(server.requests) <= 3
    sent = [json.dumps(request, sort_keys=True) for request in server.requests]
    assert len(set(sent)) == len(sent)


async def test_single_invalid_response_is_recovered(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [completion("not json"), scoring_completion()]

    assert (await scorer.score(ANSWER, TokenUsage())).overall_score == 72


async def test_truncated_response_is_unavailable(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [completion('{"cannot', finish="length")]

    with pytest.raises(Unavailable, match="truncated"):
        await scorer.score(ANSWER, TokenUsage())


@pytest.mark.parametrize(
    "refusal",
    [
        completion(None, refusal="I can't help with that."),
        completion(None, finish="content_filter"),
        error_response(400, code="content_filter"),
    ],
    ids=["refusal", "filter", "filtered request"],
)
async def test_refusal_raises_cannot_score(
    server: OpenAIServer, scorer: OpenAIScorer, refusal: Any
) -> None:
    server.answers = [refusal]

    with pytest.raises(CannotScore):
        await scorer.score(ANSWER, TokenUsage())


async def test_busy_provider_sets_retry_after(server: OpenAIServer, scorer: OpenAIScorer) -> None:
    server.answers = [error_response(429, retry_after="300")]

    with pytest.raises(Unavailable) as refused:
        await scorer.score(ANSWER, TokenUsage())

    assert refused.value.retry_after_seconds == 300
    assert len(server.requests) == 1


async def test_transient_error_is_retried(server: OpenAIServer, scorer: OpenAIScorer) -> None:
    server.answers = [error_response(500), error_response(503), scoring_completion()]

    assert (await scorer.score(ANSWER, TokenUsage())).overall_score == 72


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_persistent_error_is_unavailable_without_secrets(
    server: OpenAIServer, scorer: OpenAIScorer, status: int
) -> None:
    server.answers = [error_response(status, "Incorrect API key provided: sk-secret")]

    with pytest.raises(Unavailable) as refused:
        await scorer.score(ANSWER, TokenUsage())

    assert "sk-secret" not in str(refused.value)


async def test_hanging_provider_times_out(server: OpenAIServer) -> None:
    scorer = OpenAIScorer("key", server.url, "model", timeout_seconds=0.3)
    server.answers = [30.0]

    with pytest.raises(Unavailable, match="does not respond"):
        await scorer.score(ANSWER, TokenUsage())
    await scorer.close()


async def test_unreachable_provider_is_unavailable() -> None:
    scorer = OpenAIScorer("key", "http://127.0.0.1:9/v1", "model")

    with pytest.raises(Unavailable, match="unavailable"):
        await scorer.score(ANSWER, TokenUsage())
    await scorer.close()


async def test_readiness_fails_without_a_key() -> None:
    scorer = OpenAIScorer("", None, "model")

    with pytest.raises(Unavailable, match="OPENAI_API_KEY"):
        await scorer.check()
    await scorer.close()


async def test_feedback_contains_no_markup_links_or_control_characters(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    evil = "<script>x</script>See ![a](http://evil/?q=1) [here](http://evil) \u202eback\x1b[31m\x00"
    server.answers = [scoring_completion(summary=evil)]

    text = (await scorer.score(ANSWER, TokenUsage())).detailed_feedback

    assert "x" in text and "here" in text
    assert not set("<>\u202e\x1b\x00") & set(text)
    assert "http" not in text


# --- transcription


async def test_scorer_ignores_what_is_switched_off(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    remark = {"kind": "improvement", "dimension": "clarity", "quote": "It took two days."}
    claims = [remark | {"text": "You pause often."}, remark | {"text": "Name the result."}]
    server.answers = [scoring_completion(claims=claims, summary="Too many fillers. Well told.")]

    found = await scorer.score(replace(ANSWER, accommodations=tuple(Accommodation)), TokenUsage())

    (asked,) = server.requests
    sent = json.loads(asked["messages"][1]["content"])
    assert sent["neither_score_nor_mention"] == ["pace", "fillers", "pauses"]
    assert not [name for name in ("delivery", "pace", "metrics") if name in sent["rubric"]]
    assert [one.text for one in found.remarks] == ["Name the result."]
    assert found.detailed_feedback == "Well told."
    assert found.overall_score == 72
