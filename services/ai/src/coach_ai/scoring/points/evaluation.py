"""Figures of the point matcher on labelled answers. Returns aggregates only."""

from collections.abc import Mapping, Sequence
from typing import Any

from coach_ai.domain import (
    Answer,
    ExpectedPoint,
    Importance,
    Misconception,
    PointStatus,
    Question,
    QuestionType,
)
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.points.matcher import PointMatcher
from coach_ai.scoring.points.score import compute_technical_score

KINDS = ("right", "partly", "wrong", "nonsense")
MAX_WRONG_SCORE = 40
MAX_NONSENSE_SCORE = 29


def evaluate_points(entries: Sequence[Mapping[str, Any]], matcher: PointMatcher) -> dict[str, Any]:
    """Return the figures of a set of labelled answers.

    An entry has `question` (an id of the bank, or a text with `points` and `misconceptions` beside
    it) and `answers`: per kind a `text` and the labels `covers`, `partly`, `contradicts` and
    `misconceptions`. A share is None if nothing was counted. A point that is labelled as partly
    covered is not counted for or against the coverage.
    """
    scores: list[dict[str, int]] = []
    points, contradictions, misconceptions = _Counts(), _Counts(), _Counts()
    for entry in entries:
        question = read_question(entry)
        by_kind: dict[str, int] = {}
        for kind, labelled in entry["answers"].items():
            answer = Answer(question.text, question.text, labelled["text"], reference=question)
            matched = matcher.match(answer, question)
            by_kind[kind] = compute_technical_score(matched.points, len(matched.misconceptions))
            partly = set(labelled.get("partly", ()))
            found = {one.id: one.status for one in matched.points if one.id not in partly}
            points.add(
                {one for one, status in found.items() if status is PointStatus.COVERED},
                set(labelled.get("covers", ())),
            )
            contradictions.add(
                {one for one, status in found.items() if status is PointStatus.CONTRADICTED},
                set(labelled.get("contradicts", ())),
            )
            misconceptions.add(
                {one.misconception.id for one in matched.misconceptions},
                set(labelled.get("misconceptions", ())),
            )
        scores.append(by_kind)
    return {
        "questions": len(scores),
        "mean_score": {kind: _mean([one[kind] for one in scores if kind in one]) for kind in KINDS},
        "right_above_partly": _order(scores, "right", "partly"),
        "right_above_wrong": _order(scores, "right", "wrong"),
        "right_above_nonsense": _order(scores, "right", "nonsense"),
        "partly_above_wrong": _order(scores, "partly", "wrong"),
        "wrong_at_most_40": _mean([one["wrong"] <= MAX_WRONG_SCORE for one in scores]),
        "nonsense_under_30": _mean([one["nonsense"] <= MAX_NONSENSE_SCORE for one in scores]),
        "covered": points.rates(),
        "contradicted": contradictions.rates(),
        "misconceptions": misconceptions.rates(),
    }


def read_question(entry: Mapping[str, Any]) -> Question:
    """Return the question of an entry: of the bank by its id, or as given in the entry."""
    if "points" not in entry:
        return load_question_bank()[entry["question"]]
    return Question(
        id=str(entry.get("id", "question")),
        text=entry["question"],
        type=QuestionType.KNOWLEDGE,
        points=tuple(
            ExpectedPoint(
                one["id"],
                one["text"],
                Importance(one.get("importance", "must")),
                tuple(one.get("accepted", ())),
                tuple(one.get("not", ())),
            )
            for one in entry["points"]
        ),
        misconceptions=tuple(
            Misconception(one["id"], one["text"], tuple(one.get("wordings", ())))
            for one in entry.get("misconceptions", ())
        ),
    )


class _Counts:
    def __init__(self) -> None:
        self._right = self._found = self._labelled = 0

    def add(self, found: set[str], labelled: set[str]) -> None:
        self._right += len(found & labelled)
        self._found += len(found)
        self._labelled += len(labelled)

    def rates(self) -> dict[str, float | int | None]:
        return {
            "precision": round(self._right / self._found, 3) if self._found else None,
            "recall": round(self._right / self._labelled, 3) if self._labelled else None,
            "labels": self._labelled,
        }


def _order(scores: Sequence[Mapping[str, int]], above: str, below: str) -> float | None:
    return _mean([one[above] > one[below] for one in scores])


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None
