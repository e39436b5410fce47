"""OpenAI scores the expected points of a question with the formula of the local scorer."""

import json
from dataclasses import replace
from typing import Any

import pytest

from coach_ai.domain import (
    Answer,
    DimensionLevel,
    ExpectedPoint,
    Importance,
    Misconception,
    PointStatus,
    Question,
    QuestionType,
    Seniority,
    Word,
)
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.scoring.points import compute_overall_score, compute_technical_score
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable
from support.openai_server import LEVELS, OpenAIServer, scoring_completion

TEXT = (
    "An index finds rows without a scan of the table. It makes every write faster. "
    "I used one on the orders table last year."
)
QUESTION = Question(
    id="database-index",
    text="What does a database index do?",
    type=QuestionType.KNOWLEDGE,
    points=(
        ExpectedPoint("reads", "It speeds up reads.", Importance.MUST, ("no full scan",)),
        ExpectedPoint("writes", "It slows down writes.", Importance.MUST, (), ("faster writes",)),
        ExpectedPoint("space", "It takes space.", Importance.MUST),
        ExpectedPoint("order", "Columns have an order.", Importance.BONUS),
    ),
    misconceptions=(
        Misconception("fast-writes", "An index speeds up writes."),
        Misconception("free", "An index costs nothing."),
    ),
)
ANSWER = Answer(
    "T", QUESTION.text, TEXT, "en", 12.0,
    tuple(Word(word, i * 0.5, i * 0.5 + 0.4) for i, word in enumerate(TEXT.split())), (),
    reference=QUESTION, seniority=Seniority.SENIOR,
)  # fmt: skip
CLAIM = {
    "kind": "strength", "dimension": "technical", "text": "Right on reads.",
    "quote": "an index finds rows without a scan",
}  # fmt: skip
POINTS = {
    "reads": {"status": "covered", "quote": "an index finds rows without a scan of the table"},
    "writes": {"status": "contradicted", "quote": "It makes every write faster"},
    "space": {"status": "covered", "quote": "It takes space on the disk"},
    "order": {"status": "missing", "quote": None},
}
MISCONCEPTIONS = {"fast-writes": "makes every write faster", "free": "it costs nothing"}


def _completion(**changed: Any) -> dict[str, Any]:
    changed = {"claims": [CLAIM], "points": POINTS, "misconceptions": MISCONCEPTIONS} | changed
    return scoring_completion(**changed)


async def test_points_are_verified_and_scored_by_the_formula(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [_completion()]

    found = await scorer.score(ANSWER, TokenUsage())

    reads, writes, space, order = found.points
    assert [point.status for point in found.points] == [
        PointStatus.COVERED, PointStatus.CONTRADICTED, PointStatus.MISSING, PointStatus.MISSING
    ]  # fmt: skip
    assert reads.quote == "An index finds rows without a scan of the table."
    assert (reads.start_seconds, reads.end_seconds) == (0.0, 4.9)
    assert writes.misconception == "An index speeds up writes."
    assert (space.quote, order.quote) == (None, None)
    assert found.technical_score == compute_technical_score(found.points, 1) == 7
    assert found.communication_score is not None
    assert found.overall_score == compute_overall_score(7, found.communication_score)
    assert (found.question_type, found.seniority) == (QuestionType.KNOWLEDGE, Seniority.SENIOR)
    assert DimensionLevel("technical", 1.28, 0.7) in found.dimensions
    assert found.score_spread is None


async def test_request_has_the_points_and_the_expectations_of_the_level(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [_completion(), scoring_completion()]

    with_points = await scorer.score(ANSWER, TokenUsage())
    without = await scorer.score(replace(ANSWER, reference=None), TokenUsage())

    asked, plain = server.requests
    properties = asked["response_format"]["json_schema"]["schema"]["properties"]
    assert list(properties["points"]["properties"]) == ["reads", "writes", "space", "order"]
    assert properties["points"]["required"] == ["reads", "writes", "space", "order"]
    assert properties["misconceptions"]["required"] == ["fast-writes", "free"]
    assert not {"points", "misconceptions"} & set(
        plain["response_format"]["json_schema"]["schema"]["properties"]
    )
    data = json.loads(asked["messages"][1]["content"])
    assert data["expected_points"]["reads"]["covered_by"] == ["no full scan"]
    assert "trade-offs" in data["rubric"]["technical"]["expectation"]
    assert "expected_points" not in json.loads(plain["messages"][1]["content"])
    assert with_points.prompt_version != without.prompt_version
    assert without.points == ()


async def test_spread_is_that_of_the_samples(server: OpenAIServer) -> None:
    scorer = OpenAIScorer("key", server.url, "model", samples=3)
    nothing = {id_: {"status": "missing", "quote": None} for id_ in POINTS}
    server.answers = [
        _completion(misconceptions={}),
        _completion(points=nothing),
        _completion(),
    ]

    found = await scorer.score(ANSWER, TokenUsage())
    await scorer.close()

    assert found.technical_score == 7
    assert found.score_spread is not None
    assert found.score_spread > 0


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"points": {}}, "`points` has no point"),
        ({"points": {"reads": {"status": "perhaps", "quote": None}}}, "`points.reads.status`"),
    ],
    ids=["no point", "unknown status"],
)
async def test_output_without_readable_points_is_requested_again(
    server: OpenAIServer, scorer: OpenAIScorer, changed: dict[str, Any], problem: str
) -> None:
    server.answers = [_completion(**changed)]

    with pytest.raises(Unavailable):
        await scorer.score(ANSWER, TokenUsage())

    assert len(server.requests) == 3
    assert problem in server.requests[1]["messages"][-1]["content"]


async def test_points_with_quotes_are_evidence_without_claims(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [_completion(claims=[], levels=LEVELS | {"technical": None})]

    found = await scorer.score(ANSWER, TokenUsage())

    assert (found.remarks, found.technical_score) == ((), 7)
