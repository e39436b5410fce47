"""The graded sets, judged by words and by meaning: what embeddings add."""

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


def test_by_meaning_a_good_answer_to_another_question_scores_lower(embeddings: Embeddings) -> None:
    """Every answer of levels 4 and 5, given to each of the other questions of its set."""

    def lower(by: Embeddings | None) -> list[bool]:
        found = []
        for one in GRADED["answers"]:
            for level in (4, 5):
                own = _score(one["question"], one[level], by)
                found += [
                    _score(other["question"], one[level], by) < own
                    for other in GRADED["answers"]
                    if other is not one
                ]
        return found

    by_meaning, by_words = lower(embeddings), lower(None)

    assert sum(by_meaning) > sum(by_words)
    assert sum(by_meaning) / len(by_meaning) >= 0.75


def test_by_meaning_no_good_answer_is_refused_and_those_about_something_else_are(
    embeddings: Embeddings,
) -> None:
    for one in GRADED["answers"]:
        scores = [_score(one["question"], one[level], embeddings) for level in (1, 4, 5)]
        assert scores[0] == -1 and -1 not in scores[1:], one["question"]
