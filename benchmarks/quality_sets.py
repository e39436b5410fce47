"""Evaluation of a scorer on graded sets: counts by class, never single answers.

The format of the sets is in `quality_set_files`.
"""

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from quality_set_files import (
    LEVELS,
    LanguageText,
    Pair,
    RatedRemark,
    check_files,
    load_fragments,
    load_languages,
    load_levels,
    load_pairs,
    load_relevant,
    load_remarks,
    load_technical,
)

from coach_ai.domain import Answer, Feedback, QuestionType
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.answer_validation import NOT_ENGLISH
from coach_ai.scoring.points import PointMatcher
from coach_ai.scoring.points.evaluation import evaluate_points, read_question

ScoreAnswer = Callable[[Answer], Feedback]
Counts = dict[str, Any]

MAX_SAME_DIFFERENCE = 5
"""Points within which two scores are the same, and beyond which one is lower."""
ADDITIONS = 1200
DEFAULT_DISTANCE = 15.0
"""Points between two levels if a folder has no answers by level."""


def shown_score(feedback: Feedback) -> int | None:
    """Return the overall score, or the communication score if no points were checked."""
    if feedback.overall_score is None:
        return feedback.communication_score
    return feedback.overall_score


def measure_levels(score: ScoreAnswer, levels: Sequence[Mapping[Any, Any]]) -> Counts:
    """Return the order of answers two or more levels apart, and the mean score of each level.

    A tie counts as wrong. Questions whose answers get no overall score are counted apart.
    """
    order: dict[str, list[bool]] = defaultdict(list)
    by_level: dict[int, list[int]] = defaultdict(list)
    points: list[dict[str, float | None]] = []
    unchecked = 0
    for entry in levels:
        given = {level: score(_answer(entry["question"], entry[level], entry)) for level in LEVELS}
        kind = given[5].question_type or QuestionType.ABOUT_YOU
        if kind is QuestionType.KNOWLEDGE and all(
            one.overall_score is None for one in given.values()
        ):
            unchecked += 1
            continue
        scores = {level: _rank(one.overall_score) for level, one in given.items()}
        for level, one in given.items():
            by_level[level].append(max(0, scores[level]))
            if one.overall_score is not None:
                points.append(
                    {"level": level, "score": one.overall_score, "spread": one.score_spread}
                )
        order[kind] += [
            scores[low] < scores[high] for low, high in combinations(LEVELS, 2) if high - low > 1
        ]
    means = {str(level): round(statistics.fmean(found), 1) for level, found in by_level.items()}
    return {
        "ordering": {kind: _ratio(found) for kind, found in sorted(order.items())}
        | {"all": _ratio([one for found in order.values() for one in found])},
        "level_means": means,
        "level_distance": _distance(means),
        "unchecked_questions": unchecked,
        "scores": points,
    }


def _distance(means: Mapping[str, float]) -> float:
    """Return the mean distance between neighbouring levels from 2 to 5, in points."""
    scored = [means[level] for level in "2345" if level in means]
    return round(statistics.fmean(b - a for a, b in pairwise(scored)), 1) if scored else 0.0


def measure_pairs(score: ScoreAnswer, pairs: Sequence[Pair], distance: float) -> Counts:
    """Return how many pairs hold, by expectation and class, and the noise of `same` pairs.

    Noise is the root mean square difference, as a share of the distance between two levels.
    """
    results: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    differences: list[int] = []
    within_spread: list[bool] = []
    for one in pairs:
        base = score(_answer(one.question, one.base))
        changed = score(_answer(one.changed_question, one.changed))
        before, after = (_rank(shown_score(feedback)) for feedback in (base, changed))
        difference = abs(before - after)
        holds = {
            "same": difference <= MAX_SAME_DIFFERENCE,
            "lower": after < before - MAX_SAME_DIFFERENCE,
            "not_higher": after <= before,
            "higher": after > before,
            "no_score": shown_score(changed) is None,
            "scored": shown_score(changed) is not None,
        }
        results[one.expect][one.name].append(holds[one.expect])
        if one.expect == "same" and -1 not in (before, after):
            differences.append(difference)
            spread = max(base.score_spread or 0, MAX_SAME_DIFFERENCE)
            within_spread.append(difference <= spread)
    noise = math.sqrt(statistics.fmean(d * d for d in differences)) if differences else 0.0
    return {
        "pairs": {
            expect: {name: _ratio(found) for name, found in sorted(classes.items())}
            | {"all": _ratio([one for found in classes.values() for one in found])}
            for expect, classes in sorted(results.items())
        },
        "noise_points": round(noise, 1),
        "noise": round(noise / distance, 2) if distance > 0 else None,
        "same_within_spread": _ratio(within_spread),
    }


def measure_additions(
    score: ScoreAnswer,
    answers: Sequence[tuple[str, str]],
    fragments: Mapping[str, Sequence[str]],
) -> Counts:
    """Return, by list, how many pieces raise the score of an answer they are added to.

    Pieces, places (before or after) and answers are drawn at random with a fixed seed. Answers
    that are rejected for their length are left out.
    """
    chance = random.Random(7)
    scored = [one for one in answers if shown_score(score(_answer(*one))) is not None]
    draws = [
        (question, text, name, piece)
        for question, text in scored
        for name, pieces in fragments.items()
        for piece in pieces
    ]
    raised: dict[str, list[bool]] = defaultdict(list)
    for question, text, name, piece in chance.sample(draws, min(ADDITIONS, len(draws))):
        before = _rank(shown_score(score(_answer(question, text))))
        longer = chance.choice((f"{text} {piece}", f"{piece} {text}"))
        raised[name].append(_rank(shown_score(score(_answer(question, longer)))) > before)
    return {name: _ratio(found) for name, found in sorted(raised.items())} | {
        "all": _ratio([one for found in raised.values() for one in found])
    }


def measure_technical(score: ScoreAnswer, entries: Sequence[Mapping[str, Any]]) -> Counts:
    """Return the order of right, partly right, wrong and nonsensical technical answers.

    A score that was not given, because nothing checks the points, is counted as `not_scored`.
    """
    results: dict[str, list[bool]] = defaultdict(list)
    for entry in entries:
        given = {
            kind: score(_answer(entry["question"], one["text"], entry)).technical_score
            for kind, one in entry["answers"].items()
        }
        results["not_scored"].append(all(value is None for value in given.values()))
        if results["not_scored"][-1]:
            continue
        rank = {name: _rank(value) for name, value in given.items()}
        for name in ("partly", "wrong", "nonsense"):
            if name in rank and "right" in rank:
                results[f"right_above_{name}"].append(rank["right"] > rank[name])
        for name in ("wrong", "nonsense"):
            if name in rank:
                results[f"{name}_at_most_40"].append(rank[name] <= 40)
    return {name: _ratio(found) for name, found in results.items()}


def measure_languages(score: ScoreAnswer, texts: Sequence[LanguageText]) -> Counts:
    """Return how many texts get no score because of their language, by whether they should."""
    rejected: dict[str, list[bool]] = defaultdict(list)
    for one in texts:
        feedback = score(Answer("Practice", one.question, one.text))
        is_rejected = shown_score(feedback) is None and NOT_ENGLISH in feedback.detailed_feedback
        rejected[one.verdict].append(is_rejected)
    return {verdict: _ratio(found) for verdict, found in sorted(rejected.items())}


def measure_relevant(score: ScoreAnswer, answers: Sequence[tuple[str, str]]) -> Counts:
    """Return how many relevant but vague answers are rejected. None should be."""
    return _ratio([shown_score(score(_answer(*one))) is None for one in answers])


def measure_rejected(score: ScoreAnswer, levels: Sequence[Mapping[Any, Any]]) -> dict[str, int]:
    """Return how many answers of levels 2 to 5 are rejected. None should be."""
    answers = [_answer(one["question"], one[level], one) for one in levels for level in LEVELS[1:]]
    return _ratio([shown_score(score(one)) is None for one in answers])


def measure_remarks(
    score: ScoreAnswer,
    levels: Sequence[Mapping[Any, Any]],
    rated: Sequence[RatedRemark],
) -> dict[str, int]:
    """Return how many of the rated remarks that the scorer still makes are true.

    `rated` counts all of them. If many are no longer made, the rest does not represent the scorer.
    """
    answers = {(one["question"], level): one for one in levels for level in LEVELS}
    made = []
    for remark in rated:
        entry = answers[remark.question, remark.level]
        feedback = score(_answer(remark.question, entry[remark.level], entry))
        if any((one.text, one.quote) == (remark.text, remark.quote) for one in feedback.remarks):
            made.append(remark.is_true)
    return {**_ratio(made), "rated": len(rated)}


def measure_folder(score: ScoreAnswer, matcher: PointMatcher, folder: Path) -> Counts:
    """Return all measures that a folder has files for.

    Raises:
        InvalidSet: If a file does not have the format of `quality_set_files`.
    """
    check_files(folder)
    # Several measures score the same answers.
    score = cache(score)
    report: Counts = {}
    levels, pairs, fragments = load_levels(folder), load_pairs(folder), load_fragments(folder)
    if levels:
        report |= measure_levels(score, levels)
        report["answers_rejected"] = measure_rejected(score, levels)
        if rated := load_remarks(folder):
            report["remarks"] = measure_remarks(score, levels, rated)
    if pairs:
        report |= measure_pairs(score, pairs, report.get("level_distance", DEFAULT_DISTANCE))
    if fragments:
        answers = [(one["question"], one[level]) for one in levels for level in range(2, 6)]
        answers += [(one.question, one.base) for one in pairs]
        report["additions"] = measure_additions(score, answers, fragments)
    if technical := load_technical(folder):
        report["technical"] = measure_technical(score, technical)
        known = [one for one in technical if one.get("points") or _is_in_bank(one["question"])]
        report["points"] = evaluate_points(known, matcher)
    if languages := load_languages(folder):
        report["languages"] = measure_languages(score, languages)
    if relevant := load_relevant(folder):
        report["relevant_rejected"] = measure_relevant(score, relevant)
    return report


def _answer(question: str, text: str, entry: Mapping[Any, Any] | None = None) -> Answer:
    """Return an answer, with the question's points if its entry has any or names a question of
    the bank."""
    if not _is_in_bank(question) and not (entry or {}).get("points"):
        return Answer("Practice", question, text, "en")
    reference = read_question({**(entry or {}), "question": question})
    return Answer("Practice", reference.text, text, "en", reference=reference)


def _is_in_bank(question: str) -> bool:
    return question in load_question_bank()


def _rank(score: int | None) -> int:
    return -1 if score is None else score


def _ratio(results: Sequence[bool]) -> dict[str, int]:
    return {"count": sum(results), "total": len(results)}
