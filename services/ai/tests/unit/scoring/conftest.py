"""The local scorer with the embeddings that ship."""

from collections.abc import Callable

import pytest

from coach_ai.domain import Answer
from coach_ai.embeddings import Embeddings
from coach_ai.scoring.local.scorer import LocalScorer

OverallScore = Callable[[str, str], int]


@pytest.fixture(scope="session")
def local_scorer(embeddings: Embeddings) -> LocalScorer:
    return LocalScorer(embeddings)


@pytest.fixture(scope="session")
def overall_score(local_scorer: LocalScorer) -> OverallScore:
    """Returns the overall score of a question and an answer, or -1 if it is not scored."""

    def score(question: str, text: str) -> int:
        found = local_scorer.score_answer(Answer("T", question, text, "en")).overall_score
        return -1 if found is None else found

    return score
