"""The graded sets: order of pairs two or more levels apart, and scores of changed answers.

The scorer was developed with these sets. `held_out` is not here: it is counted only.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from coach_ai.domain import Answer, QuestionType
from coach_ai.scoring.local.scorer import LocalScorer
from coach_ai.scoring.rubric import load_rubric

FOLDER = Path(__file__).parents[2] / "graded"
FIRST, BLIND, SECOND, CHANGED, UNUSUAL = (
    yaml.safe_load((FOLDER / name).read_text("utf-8"))
    for name in ("answers.yaml", "blind.yaml", "second.yaml", "metamorphic.yaml", "unusual.yaml")
)
TUNING = {one["question"]: one for one in BLIND["answers"] if one["split"] == "tuning"}
SCORED = [
    one
    for one in (*FIRST["answers"], *SECOND["answers"], *TUNING.values())
    if load_rubric().classify_question(one["question"]) is not QuestionType.KNOWLEDGE
]
VARIANTS = [one for one in CHANGED["variants"] if one["question"] in TUNING]
MORE = [change for change, expected in CHANGED["expects"].items() if expected == "not higher"]

OverallScore = Callable[[str, str], int]


def _original(variant: Mapping[str, Any]) -> str:
    text = TUNING[variant["question"]][variant["level"]]
    assert isinstance(text, str)
    return text


def test_nine_of_ten_pairs_two_levels_apart_are_ordered(overall_score: OverallScore) -> None:
    wrong, pairs = [], 0
    for one in SCORED:
        scores = {level: overall_score(one["question"], one[level]) for level in range(1, 6)}
        for low, high in combinations(scores, 2):
            if high - low >= 2:
                pairs += 1
                if scores[low] >= scores[high]:
                    wrong.append((one["question"], low, high, scores))

    assert pairs > 100 and len(wrong) <= pairs / 10, wrong


def test_good_answers_are_never_rejected(local_scorer: LocalScorer) -> None:
    good = [(one["question"], one["answer"]) for one in UNUSUAL]
    good += [(one["question"], one[level]) for one in SCORED for level in (3, 4, 5)]

    rejected = [
        question
        for question, text in good
        if local_scorer.score_answer(Answer("T", question, text)).communication_score is None
    ]
    assert not rejected


@pytest.mark.parametrize("change", MORE)
def test_padding_raises_no_score(overall_score: OverallScore, change: str) -> None:
    changed = [one for one in VARIANTS if change in one]
    assert changed
    for one in changed:
        before = overall_score(one["question"], _original(one))
        assert overall_score(one["question"], one[change]) <= before, one["question"]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: one["question"][:40])
def test_missing_result_or_steps_lower_the_score(
    overall_score: OverallScore, variant: Mapping[str, Any]
) -> None:
    before = overall_score(variant["question"], _original(variant))
    for change in ("cut_result", "cut_action"):
        assert overall_score(variant["question"], variant[change]) < before, change
