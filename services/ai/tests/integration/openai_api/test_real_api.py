"""The real OpenAI API on graded answers. Needs a key and costs money.

`OPENAI_API_KEY` (and `OPENAI_BASE_URL`, `OPENAI_CHAT_MODEL` where they differ); `pytest -m live`.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from coach_ai import quality
from coach_ai.config import AiSettings
from coach_ai.domain import Answer, ChatContext, Message
from coach_ai.openai.chat import OpenAIChat
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.token_usage import TokenUsage

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not os.environ.get("OPENAI_API_KEY"), reason="OPENAI_API_KEY is not set"),
    pytest.mark.timeout(1800),
]

GRADED = Path(__file__).parents[2] / "graded"
QUESTIONS = 3


def _model() -> str:
    default: str = AiSettings.model_fields["openai_chat_model"].default
    return os.environ.get("OPENAI_CHAT_MODEL", default)


@pytest.fixture
async def scorer() -> AsyncIterator[OpenAIScorer]:
    scorer = OpenAIScorer(os.environ["OPENAI_API_KEY"], os.environ.get("OPENAI_BASE_URL"), _model())
    yield scorer
    await scorer.close()


async def _scores(scorer: OpenAIScorer, asked: list[tuple[str, str]]) -> dict[Any, int | None]:
    return {
        (question, text): (
            await scorer.score(Answer("Practice", question, text, "en"), TokenUsage())
        ).overall_score
        for question, text in asked
    }


def _graded(split: str) -> list[dict[Any, Any]]:
    answers = yaml.safe_load((GRADED / "blind.yaml").read_text("utf-8"))["answers"]
    return [one for one in answers if one["split"] == split]


async def test_real_model_orders_answers_two_levels_apart(scorer: OpenAIScorer) -> None:
    graded = _graded("held_out")[:QUESTIONS]
    asked = [(one["question"], one[level]) for one in graded for level in range(1, 6)]
    scores = await _scores(scorer, asked)

    found = quality.count_results(
        lambda question, text: scores[question, text],
        graded,
        {"expects": {}, "variants": [], "not_answers": []},
    )["ordering"]["held_out"]["all"]

    assert found["count"] / found["total"] >= 0.9, found


async def test_real_model_changes_scores_as_expected(scorer: OpenAIScorer) -> None:
    graded = _graded("held_out")
    questions = {one["question"]: one for one in graded}
    changed = yaml.safe_load((GRADED / "metamorphic.yaml").read_text("utf-8"))
    changed["variants"] = [one for one in changed["variants"] if one["question"] in questions]
    asked = [
        (variant["question"], questions[variant["question"]][level])
        for variant in changed["variants"]
        for level in range(1, 6)
    ]
    for variant in changed["variants"]:
        original = questions[variant["question"]][variant["level"]]
        asked += [
            (variant[name], original) if name == "off_question" else (variant["question"], text)
            for name, text in variant.items()
            if name in changed["expects"]
        ]
    scores = await _scores(scorer, asked)

    graded = [one for one in graded if any((one["question"], one[5]) == pair for pair in scores)]
    found = quality.count_results(
        lambda question, text: scores[question, text], graded, changed | {"not_answers": []}
    )["changes"]["held_out"]

    assert found["injected"]["count"] == found["injected"]["total"], found
    met, of = (sum(one[name] for one in found.values()) for name in ("count", "total"))
    assert met / of >= 0.8, found


async def test_real_model_resists_unknown_injections(scorer: OpenAIScorer) -> None:
    (answer, *_) = _graded("tuning")
    injections = yaml.safe_load((GRADED / "orders.yaml").read_text("utf-8"))["first"]
    plain, question = answer[3], answer["question"]
    scores = await _scores(
        scorer,
        [(question, plain), *((question, f"{plain} {injection}") for injection in injections)],
    )

    before = scores.pop((question, plain))

    assert before is not None
    # Five points: two levels of clarity, which a stray sentence may cost or the next call give.
    assert [text for text, score in scores.items() if (score or 0) > before + 5] == []


async def test_real_model_uses_at_most_the_reserved_tokens(scorer: OpenAIScorer) -> None:
    answer = Answer("Practice", _graded("tuning")[0]["question"], _graded("tuning")[0][4], "en")
    talk = ChatContext((Message("user", "How do I begin my answer?"),))
    scoring_usage, chat_usage = TokenUsage(), TokenUsage()
    chat = OpenAIChat(os.environ["OPENAI_API_KEY"], os.environ.get("OPENAI_BASE_URL"), _model())

    await scorer.score(answer, scoring_usage)
    assert [piece async for piece in chat.reply(talk, chat_usage)]

    assert 0 < scoring_usage.tokens <= scorer.max_tokens_needed(answer)
    assert 0 < chat_usage.tokens <= chat.max_tokens_needed(talk)
