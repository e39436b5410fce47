"""The graded sets: order of pairs two or more levels apart, and scores of changed answers.

`held_out` is not here: nothing may be tuned on what it says, and the quality card counts it.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from coach_ai.domain import Answer
from coach_ai.embeddings import Embeddings
from coach_ai.scoring.local import reasons, story_parts
from coach_ai.scoring.local.levels import Levels, score_levels
from coach_ai.scoring.local.parsed_answer import parse
from coach_ai.scoring.local.scorer import LocalScorer
from coach_ai.scoring.rubric import load_rubric

FOLDER = Path(__file__).parents[2] / "graded"
FIRST, BLIND, CHANGED, QUESTIONS, UNUSUAL = (
    yaml.safe_load((FOLDER / name).read_text("utf-8"))
    for name in (
        "answers.yaml",
        "blind.yaml",
        "metamorphic.yaml",
        "questions.yaml",
        "unusual.yaml",
    )
)
TUNING = {one["question"]: one for one in BLIND["answers"] if one["split"] == "tuning"}
VARIANTS = [one for one in CHANGED["variants"] if one["question"] in TUNING]
MORE = [change for change, expected in CHANGED["expects"].items() if expected == "not higher"]


def _score(question: str, text: str) -> int:
    """Return the overall score, or -1 if the answer is not scored."""
    score = LocalScorer().score_answer(Answer("T", question, text, "en")).overall_score
    return -1 if score is None else score


def _levels(question: str, text: str) -> Levels:
    answer = Answer("T", question, text, "en")
    reading = parse(answer)
    given, story = (
        reasons.find_reasons(reading, question),
        story_parts.extract_story(reading.sentences),
    )
    kind = load_rubric().classify_question(question)
    return score_levels(answer, kind, reading, story, given, {"status": "not_measurable"})


def _wrong(answers: Iterable[Mapping[Any, Any]]) -> tuple[list[object], int]:
    """Return the wrongly ordered pairs two or more levels apart, and the number of pairs."""
    wrong: list[object] = []
    pairs = 0
    for one in answers:
        scores = {level: _score(one["question"], one[level]) for level in range(1, 6)}
        for low, high in combinations(scores, 2):
            if high - low >= 2:
                pairs += 1
                if scores[low] >= scores[high]:
                    wrong.append((one["question"], low, high, scores))
    return wrong, pairs


def _original(variant: Mapping[str, Any]) -> str:
    text = TUNING[variant["question"]][variant["level"]]
    assert isinstance(text, str)
    return text


def test_level_1_answers_are_rejected_and_good_ones_are_not() -> None:
    for one in FIRST["answers"]:
        scores = [_score(one["question"], one[level]) for level in (1, 4, 5)]
        assert scores[0] == -1 and -1 not in scores[1:], one["question"]


@pytest.mark.slow
def test_good_answer_is_not_rejected_for_other_wordings(
    embeddings: Embeddings,
) -> None:
    local_scorer = LocalScorer(embeddings)
    wordings = {one["question"]: one["also"] for one in QUESTIONS}
    put = [(one["question"], one["answer"]) for one in UNUSUAL] + [
        (wording, one[level])
        for one in (*TUNING.values(), *FIRST["answers"])
        for wording in (one["question"], *wordings[one["question"]])
        for level in (4, 5)
    ]
    refused = [
        (question, text)
        for question, text in put
        if local_scorer.score_answer(Answer("T", question, text, "en")).overall_score is None
    ]

    assert not refused


@pytest.mark.parametrize("answers", [FIRST["answers"], TUNING.values()], ids=["first", "tuning"])
def test_nine_of_ten_pairs_two_levels_apart_are_ordered(
    answers: Iterable[Mapping[Any, Any]],
) -> None:
    wrong, pairs = _wrong(answers)

    assert pairs and len(wrong) <= pairs / 10, wrong


@pytest.mark.parametrize("change", MORE)
def test_padding_raises_no_score(change: str) -> None:
    changed = [one for one in VARIANTS if change in one]
    assert changed
    for one in changed:
        before = _score(one["question"], _original(one))
        assert _score(one["question"], one[change]) <= before, one["question"]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: one["question"][:40])
def test_missing_result_or_steps_lowers_structure_only(
    variant: Mapping[str, Any],
) -> None:
    before = _levels(variant["question"], _original(variant))
    for change in ("cut_result", "cut_action"):
        after = _levels(variant["question"], variant[change])

        assert (after["structure"] or 0) < (before["structure"] or 0), change
        assert (after["clarity"] or 0) >= (before["clarity"] or 0), change

    assert (after["specificity"] or 0) < (before["specificity"] or 0)


def test_answer_to_another_question_has_lower_relevance_only() -> None:
    nearer = []
    for variant in VARIANTS:
        text = _original(variant)
        before, after = (_levels(variant[name], text) for name in ("question", "off_question"))
        for dimension in ("structure", "specificity", "clarity"):
            assert after[dimension] == before[dimension], (variant["question"], dimension)
        if (after["relevance"] or 0) >= (before["relevance"] or 0):
            nearer.append(variant["question"])

    # Words alone do not show it for an answer with hardly a word of the question.
    assert len(nearer) <= 1, nearer
