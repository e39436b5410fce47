"""The expected points of a question: in the request, and in the model's verified output."""

from typing import Any

from coach_ai.domain import Answer, PointCoverage, PointStatus, Question
from coach_ai.openai.scoring_output import ScoringOutput
from coach_ai.scoring.answer_validation import strip_injections
from coach_ai.scoring.points.matcher import FoundMisconception, MatchedPoints, find_misconception
from coach_ai.scoring.quotes import find_quote, quote_times


def describe_points(reference: Question) -> dict[str, Any]:
    """Return the points and misconceptions as data for the request.

    Users write the points of their own questions, so sentences that instruct the evaluator are
    removed.
    """
    described: dict[str, Any] = {
        "expected_points": {
            point.id: {
                "text": strip_injections(point.text),
                "covered_by": [strip_injections(wording) for wording in point.accepted],
                "contradicted_by": [strip_injections(wording) for wording in point.not_],
            }
            for point in reference.points
        }
    }
    if reference.misconceptions:
        described["misconceptions"] = {
            one.id: strip_injections(one.text) for one in reference.misconceptions
        }
    return described


def verify_points(answer: Answer, reference: Question, output: ScoringOutput) -> MatchedPoints:
    """Return the coverage of every point of the question, in its order.

    A point counts as missing, and a misconception as not stated, if its quote is not in the
    transcript.
    """
    misconceptions = tuple(
        FoundMisconception(one, quote)
        for one in reference.misconceptions
        if (quote := find_quote(answer.text, output.misconceptions.get(one.id, ""))) is not None
    )
    points = []
    for point in reference.points:
        found = output.points.get(point.id)
        quote = None if found is None else find_quote(answer.text, found.quote or "")
        if found is None or quote is None or found.status is PointStatus.MISSING:
            points.append(PointCoverage.from_point(point, PointStatus.MISSING))
            continue
        is_wrong = found.status is PointStatus.CONTRADICTED
        misconception = find_misconception(misconceptions, quote) if is_wrong else None
        times = quote_times(answer, quote)
        points.append(PointCoverage.from_point(point, found.status, quote, *times, misconception))
    return MatchedPoints(tuple(points), misconceptions)
