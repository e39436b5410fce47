"""Expected points: coverage, quotes, the formula of the technical score, and its figures."""

import time
from pathlib import Path

import pytest
import yaml

from coach_ai.domain import Answer, Importance, PointCoverage, PointStatus
from coach_ai.embeddings import Embeddings, find_installed
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.points import PointMatcher, compute_overall_score, compute_technical_score
from coach_ai.scoring.points.evaluation import evaluate_points

GRADED = Path(__file__).parents[2] / "graded"
DEV = yaml.safe_load((GRADED / "technical_dev.yaml").read_text("utf-8"))
MODEL = find_installed()
needs_model = pytest.mark.skipif(MODEL is None, reason="the embedding model is not installed")
MAX_PROCESSOR_SECONDS = 5.0


@pytest.fixture(scope="module")
def matcher() -> PointMatcher:
    assert MODEL is not None
    return PointMatcher(Embeddings(MODEL))


def _point(status: PointStatus, importance: Importance = Importance.MUST) -> PointCoverage:
    return PointCoverage("p", "A point.", importance, status)


def test_technical_score_is_100_if_all_musts_and_one_bonus_are_covered() -> None:
    covered = PointStatus.COVERED
    bonus = [_point(covered, Importance.BONUS), _point(PointStatus.MISSING, Importance.BONUS)]

    assert compute_technical_score([_point(covered), _point(covered), *bonus]) == 100


@pytest.mark.parametrize("importance", list(Importance))
def test_technical_score_falls_with_the_status_of_a_point(importance: Importance) -> None:
    others = [_point(PointStatus.COVERED), _point(PointStatus.PARTLY)]
    statuses = (
        PointStatus.COVERED,
        PointStatus.PARTLY,
        PointStatus.MISSING,
        PointStatus.CONTRADICTED,
    )

    scores = [compute_technical_score([*others, _point(one, importance)]) for one in statuses]

    assert scores == sorted(scores, reverse=True) and len(set(scores)) == len(scores)


def test_misconception_lowers_the_technical_score() -> None:
    points = [_point(PointStatus.COVERED), _point(PointStatus.MISSING)]

    assert compute_technical_score(points, 1) < compute_technical_score(points)


def test_communication_never_raises_the_overall_score() -> None:
    scores = [compute_overall_score(60, one) for one in (0, 50, 100, None)]

    assert scores == [54, 57, 60, 60]


@needs_model
def test_points_keep_their_order_and_quotes_occur_in_the_transcript(matcher: PointMatcher) -> None:
    question = load_question_bank()[DEV[0]["question"]]

    for labelled in DEV[0]["answers"].values():
        text = labelled["text"]
        matched = matcher.match(Answer("T", question.text, text), question)
        assert [one.id for one in matched.points] == [one.id for one in question.points]
        for one in matched.points:
            assert (one.quote is None) == (one.status is PointStatus.MISSING)
            assert one.quote is None or one.quote in text
        assert all(one.quote in text for one in matched.misconceptions)


@needs_model
def test_text_without_words_covers_nothing(matcher: PointMatcher) -> None:
    question = load_question_bank()[DEV[0]["question"]]

    matched = matcher.match(Answer("T", question.text, "..."), question)

    assert {one.status for one in matched.points} == {PointStatus.MISSING}


@needs_model
@pytest.mark.slow
def test_long_text_is_matched_in_bounded_time(matcher: PointMatcher) -> None:
    question = load_question_bank()[DEV[0]["question"]]
    text = " ".join(DEV[0]["answers"]["right"]["text"] for _ in range(200))[:100_000]
    matcher.match(Answer("T", question.text, "One two three four."), question)

    started_at = time.process_time()
    matcher.match(Answer("T", question.text, text), question)

    assert time.process_time() - started_at < MAX_PROCESSOR_SECONDS


@needs_model
@pytest.mark.slow
def test_development_answers_are_ordered_by_what_is_right(matcher: PointMatcher) -> None:
    figures = evaluate_points(DEV, matcher)

    assert figures["right_above_wrong"] == 1.0
    assert figures["right_above_nonsense"] == 1.0
    assert figures["nonsense_under_30"] == 1.0
    assert figures["wrong_at_most_40"] >= 0.93
    assert figures["misconceptions"]["recall"] >= 0.8
    assert figures["misconceptions"]["precision"] >= 0.8
    assert figures["covered"]["precision"] >= 0.8
    assert figures["covered"]["recall"] >= 0.7
