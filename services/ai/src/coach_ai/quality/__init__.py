"""Quality measures of a scorer over graded answers, and the committed quality report."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import combinations, product
from typing import Any

ScoreFunction = Callable[[str, str], int | None]
"""Returns the overall score of (question, text), or None if the answer is not scored."""

REPETITIONS = 5


@cache
def load_report() -> dict[str, Any]:
    """Return the committed report: `scoring.json`, `held_out.json` and `speech.json` in one."""
    report: dict[str, Any] = {}
    for name in ("scoring.json", "held_out.json", "speech.json"):
        report |= json.loads((files("coach_ai.quality") / name).read_text("utf-8"))
    return report


def repeatability(score: ScoreFunction, answers: Sequence[Mapping[Any, Any]]) -> dict[str, int]:
    """Score each answer several times and return the largest difference between its scores."""
    texts = [(answer["question"], answer[level]) for answer in answers for level in range(1, 6)]
    spreads = []
    for question, text in texts:
        scores = [_rank_value(score(question, text)) for _ in range(REPETITIONS)]
        spreads.append(max(scores) - min(scores))
    return {"answers": len(texts), "repetitions": REPETITIONS, "max_spread": max(spreads)}


def off_topic(
    score: ScoreFunction,
    answers: Sequence[Mapping[Any, Any]],
    questions: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return how many answers are rejected, by split.

    Good answers (levels 4 and 5) to another question should all be rejected. Answers of levels 3
    to 5 to their own question should not. `questions` has other wordings of each question, and its
    `near` questions, which a good answer may serve too and which are not counted.
    """
    wordings = {one["question"]: (one["question"], *one["also"]) for one in questions}
    near = {(one["question"], other) for one in questions for other in one["near"]}
    near |= {(other, question) for question, other in near}
    rejected: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for one, other in product(answers, answers):
        own, asked = one["question"], other["question"]
        if one["split"] != other["split"] or (own, asked) in near:
            continue
        name, levels = ("own question", (3, 4, 5)) if own == asked else ("another question", (4, 5))
        rejected[one["split"]][name] += [
            score(wording, one[level]) is None for wording in wordings[asked] for level in levels
        ]
    return {
        split: {name: _ratio(results) for name, results in sorted(names.items())}
        for split, names in sorted(rejected.items())
    }


def injections_that_raise(
    score: ScoreFunction,
    answers: Sequence[Mapping[Any, Any]],
    injections: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Append each injection to the answers of level 2 and above, and compare the scores.

    Return, per list, how many injections raise any score and how many scores are raised.
    """
    texts = [(answer["question"], answer[level]) for answer in answers for level in range(2, 6)]

    def is_raised(injection: str) -> list[bool]:
        return [
            _rank_value(score(question, f"{text} {injection}")) > _rank_value(score(question, text))
            for question, text in texts
        ]

    raised = {name: [is_raised(one) for one in some] for name, some in injections.items()}
    return {
        name: {
            "injections": _ratio([any(one) for one in some]),
            "answers": _ratio([result for one in some for result in one]),
        }
        for name, some in raised.items()
    }


def count_results(
    score: ScoreFunction, answers: Sequence[Mapping[Any, Any]], changed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the counts of ordering, rejections and changes, by split.

    An answer without a score ranks below all scored ones. A tie counts as wrong. Ordering compares
    levels that are two or more apart.
    """
    return {
        "ordering": _ordering(score, answers),
        "not_scored": _not_scored(score, answers),
        "changes": _changes(score, answers, changed),
        "non_answers_rejected": _ratio(
            [score(one["question"], one["text"]) is None for one in changed["not_answers"]]
        ),
    }


def _ordering(score: ScoreFunction, answers: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    results: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        scores = {
            level: _rank_value(score(answer["question"], answer[level])) for level in range(1, 6)
        }
        results[answer["split"]][answer["kind"]] += [
            scores[low] < scores[high] for low, high in combinations(scores, 2) if high - low >= 2
        ]
    return {
        split: {kind: _ratio(right) for kind, right in sorted(kinds.items())}
        | {"all": _ratio([one for right in kinds.values() for one in right])}
        for split, kinds in sorted(results.items())
    }


def _not_scored(score: ScoreFunction, answers: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    """Return how many answers of level 1 (goal: all) and 3 to 5 (goal: none) are rejected."""
    results: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        for levels, name in (((1,), "level 1"), ((3, 4, 5), "levels 3 to 5")):
            results[answer["split"]][name] += [
                score(answer["question"], answer[level]) is None for level in levels
            ]
    return {
        split: {name: _ratio(rejected) for name, rejected in names.items()}
        for split, names in sorted(results.items())
    }


def _changes(
    score: ScoreFunction, answers: Sequence[Mapping[Any, Any]], changed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return how many changed answers score lower, or not higher, as expected of the change."""
    by_question = {answer["question"]: answer for answer in answers}
    results: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for variant in changed["variants"]:
        original = by_question[variant["question"]]
        text = original[variant["level"]]
        before = _rank_value(score(variant["question"], text))
        for change, expected in changed["expects"].items():
            if change not in variant:
                continue
            is_other_question = change == "off_question"
            question = variant[change] if is_other_question else variant["question"]
            after = _rank_value(score(question, text if is_other_question else variant[change]))
            is_right = after < before if expected == "lower" else after <= before
            results[original["split"]][change].append(is_right)
    return {
        split: {change: _ratio(right) for change, right in changes.items()}
        for split, changes in sorted(results.items())
    }


def _rank_value(score: int | None) -> int:
    return -1 if score is None else score


def _ratio(results: Sequence[bool]) -> dict[str, int]:
    return {"count": sum(results), "total": len(results)}
