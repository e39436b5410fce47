"""OpenAI itself in known directions: only where a key is set, for it costs money.

`OPENAI_API_KEY` (and `OPENAI_BASE_URL`, `OPENAI_CHAT_MODEL` where they differ); `pytest -m live`.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from coach_ai import quality
from coach_ai.adapters.openai_coach import OpenAICoach
from coach_ai.config import AiSettings
from coach_ai.domain import Answer, Message, Talk
from coach_ai.spending import Spent

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not os.environ.get("OPENAI_API_KEY"), reason="OPENAI_API_KEY is not set"),
    pytest.mark.timeout(1800),
]

GRADED = Path(__file__).parents[2] / "graded"
QUESTIONS = 3


@pytest.fixture
async def coach() -> AsyncIterator[OpenAICoach]:
    model = os.environ.get(
        "OPENAI_CHAT_MODEL", AiSettings.model_fields["openai_chat_model"].default
    )
    coach = OpenAICoach(os.environ["OPENAI_API_KEY"], os.environ.get("OPENAI_BASE_URL"), model)
    yield coach
    await coach.close()


async def _scores(coach: OpenAICoach, asked: list[tuple[str, str]]) -> dict[Any, int | None]:
    return {
        (question, text): (
            await coach.judge(Answer("Practice", question, text, "en"), Spent())
        ).overall_score
        for question, text in asked
    }


def _graded(split: str) -> list[dict[Any, Any]]:
    answers = yaml.safe_load((GRADED / "blind.yaml").read_text("utf-8"))["answers"]
    return [one for one in answers if one["split"] == split]


async def test_answers_two_levels_apart_come_out_in_order(coach: OpenAICoach) -> None:
    graded = _graded("held_out")[:QUESTIONS]
    asked = [(one["question"], one[level]) for one in graded for level in range(1, 6)]
    scores = await _scores(coach, asked)

    found = quality.count(
        lambda question, text: scores[question, text],
        graded,
        {"expects": {}, "variants": [], "not_answers": []},
    )["ordering"]["held_out"]["all"]

    assert found["count"] / found["of"] >= 0.9, found


async def test_changes_move_scores_where_they_should(coach: OpenAICoach) -> None:
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
    scores = await _scores(coach, asked)

    graded = [one for one in graded if any((one["question"], one[5]) == pair for pair in scores)]
    found = quality.count(
        lambda question, text: scores[question, text], graded, changed | {"not_answers": []}
    )["changes"]["held_out"]

    assert found["injected"]["count"] == found["injected"]["of"], found
    met, of = (sum(one[name] for one in found.values()) for name in ("count", "of"))
    assert met / of >= 0.8, found


async def test_an_order_of_unknown_wording_raises_no_score(coach: OpenAICoach) -> None:
    (answer, *_) = _graded("tuning")
    orders = yaml.safe_load((GRADED / "orders.yaml").read_text("utf-8"))["first"]
    plain, question = answer[3], answer["question"]
    scores = await _scores(
        coach, [(question, plain), *((question, f"{plain} {order}") for order in orders)]
    )

    before = scores.pop((question, plain))

    assert before is not None
    # Five points: two levels of clarity, which a stray sentence may cost or the next call give.
    assert [text for text, score in scores.items() if (score or 0) > before + 5] == []


async def test_what_is_told_of_tokens_is_what_is_held_at_most(coach: OpenAICoach) -> None:
    answer = Answer("Practice", _graded("tuning")[0]["question"], _graded("tuning")[0][4], "en")
    talk = Talk((Message("user", "How do I begin my answer?"),))
    judged, said = Spent(), Spent()

    await coach.judge(answer, judged)
    assert [piece async for piece in coach.reply(talk, said)]

    assert 0 < judged.tokens <= coach.most_tokens(answer)
    assert 0 < said.tokens <= coach.most_tokens(talk)
