"""The graded set: answers two or more levels apart come out in the order they were written in."""

from itertools import combinations
from pathlib import Path

import yaml

from coach_ai.adapters.embeddings import Embeddings
from coach_ai.adapters.local_judge import LocalJudge
from coach_ai.domain import Answer

FOLDER = Path(__file__).parents[1] / "graded"
GRADED = yaml.safe_load((FOLDER / "answers.yaml").read_text())


def _score(question: str, text: str, embeddings: Embeddings | None = None) -> int:
    """Return the overall score; what is not scored stands below everything that is."""
    score = LocalJudge(embeddings).judge(Answer("T", question, text, "en")).overall_score
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


def test_by_meaning_a_good_answer_to_another_question_scores_lower(embeddings: Embeddings) -> None:
    """Every answer of levels 4 and 5, given to each of the other questions of its set."""

    def lower(by: Embeddings | None) -> list[bool]:
        return [
            _score(other["question"], one[level], by) < _score(one["question"], one[level], by)
            for one in GRADED["answers"]
            for level in (4, 5)
            for other in GRADED["answers"]
            if other is not one
        ]

    by_meaning, by_words = lower(embeddings), lower(None)

    assert sum(by_meaning) > sum(by_words)
    assert sum(by_meaning) / len(by_meaning) >= 0.75


def test_by_meaning_no_good_answer_is_refused_and_those_about_something_else_are(
    embeddings: Embeddings,
) -> None:
    for one in GRADED["answers"]:
        scores = [_score(one["question"], one[level], embeddings) for level in (1, 4, 5)]
        assert scores[0] == -1 and -1 not in scores[1:], one["question"]
