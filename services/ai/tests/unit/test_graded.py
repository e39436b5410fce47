"""The graded set: answers two or more levels apart come out in the order they were written in."""

from itertools import combinations
from pathlib import Path

import yaml

from coach_ai.adapters.local_judge import LocalJudge
from coach_ai.domain import Answer

GRADED = yaml.safe_load((Path(__file__).parents[1] / "graded" / "answers.yaml").read_text())


def _score(question: str, text: str) -> int:
    """Return the overall score; what is not scored stands below everything that is."""
    score = LocalJudge().judge(Answer("T", question, text, "en")).overall_score
    return -1 if score is None else score


def test_every_answer_about_something_else_is_refused_and_none_of_the_good_ones() -> None:
    for one in GRADED["answers"]:
        scores = [_score(one["question"], one[level]) for level in (1, 4, 5)]
        assert scores[0] == -1 and -1 not in scores[1:], one["question"]


def test_nine_of_ten_pairs_two_levels_apart_are_ordered_right() -> None:
    wrong, pairs = [], 0
    for one in GRADED["answers"]:
        scores = {level: _score(one["question"], one[level]) for level in GRADED["levels"]}
        for low, high in combinations(scores, 2):
            if high - low >= 2:
                pairs += 1
                if scores[low] >= scores[high]:
                    wrong.append((one["question"], low, high, scores))

    assert len(wrong) <= pairs / 10, wrong
