"""Evaluation of a scorer on a folder of graded sets: counts by class, never single answers.

A folder may hold `levels.yaml` (five answers per question), `pairs.yaml` or `probes.yaml` (an
answer and its change), `fragments.yaml` (lists of pieces that say nothing), `technical.yaml`
(questions with points and four answers) and `languages.yaml` (texts in several languages).
"""

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import yaml

from coach_ai.domain import (
    Answer,
    ExpectedPoint,
    Feedback,
    Importance,
    Misconception,
    Question,
    QuestionType,
)

ScoreAnswer = Callable[[Answer], Feedback]
Counts = dict[str, Any]

MAX_SAME_DIFFERENCE = 5
"""Points within which two scores are the same, and beyond which one is lower."""
MIN_ADDITIONS = 1200
_LEVELS = range(1, 6)


@dataclass(frozen=True, slots=True)
class Pair:
    """An answer and its change."""

    name: str
    question: str
    base: str
    changed_question: str
    changed: str
    expect: str


def load_levels(folder: Path) -> list[dict[Any, Any]]:
    """Return the questions of `levels.yaml` with an answer per level."""
    data = _load(folder / "levels.yaml")
    entries = data.get("answers", data.get("levels", [])) if isinstance(data, dict) else data or []
    return [_flatten(one) for one in entries]


def _flatten(entry: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return an entry whose answers are keys 1 to 5, whatever form they were given in."""
    found = dict(entry)
    answers = entry.get("answers", entry.get("levels", {}))
    if isinstance(answers, Mapping):
        found |= {int(level): text for level, text in answers.items()}
    elif answers:
        for number, one in enumerate(answers, start=1):
            is_text = isinstance(one, str)
            found[number if is_text else int(one["level"])] = one if is_text else one["text"]
    return {
        key: value["text"] if key in _LEVELS and isinstance(value, Mapping) else value
        for key, value in found.items()
    }


def load_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of `pairs.yaml` and `probes.yaml`."""
    pairs = _load(folder / "pairs.yaml")
    entries = list(pairs.get("pairs", []) if isinstance(pairs, dict) else pairs or [])
    entries += (_load(folder / "probes.yaml") or {}).get("metamorphic", [])
    return [_parse_pair(one) for one in entries]


def _parse_pair(entry: Mapping[str, Any]) -> Pair:
    changed = _first(entry, "changed", "variant") or entry["base"]
    question = _first(
        entry, "changed_question", "variant_question", "other_question", "question_changed"
    )
    return Pair(
        str(_first(entry, "class", "kind")),
        entry["question"],
        entry["base"],
        question or entry["question"],
        changed,
        entry["expect"].replace(" ", "_"),
    )


def _first(entry: Mapping[str, Any], *names: str) -> Any:
    return next((entry[name] for name in names if entry.get(name) is not None), None)


def _load(file: Path) -> Any:
    return yaml.safe_load(file.read_text("utf-8")) if file.is_file() else None


def shown_score(feedback: Feedback) -> int | None:
    """Return the overall score, or how it was said if nobody checked what is right."""
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
        given = {level: score(_answer(entry["question"], entry[level], entry)) for level in _LEVELS}
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
            scores[low] < scores[high] for low, high in combinations(_LEVELS, 2) if high - low > 1
        ]
    means = {level: round(statistics.fmean(found), 1) for level, found in by_level.items()}
    return {
        "ordering": {kind: _ratio(found) for kind, found in sorted(order.items())}
        | {"all": _ratio([one for found in order.values() for one in found])},
        "level_means": means,
        "level_distance": _distance(means),
        "unchecked_questions": unchecked,
        "scores": points,
    }


def _distance(means: Mapping[int, float]) -> float:
    """Return the mean distance between neighbouring levels from 2 to 5, in points."""
    scored = [means[level] for level in range(2, 6) if level in means]
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
    rounds = math.ceil(MIN_ADDITIONS / max(1, len(scored) * len(fragments)))
    raised: dict[str, list[bool]] = defaultdict(list)
    for question, text in scored:
        before = _rank(shown_score(score(_answer(question, text))))
        for name, pieces in fragments.items():
            for piece in chance.sample(list(pieces), min(rounds, len(pieces))):
                longer = chance.choice((f"{text} {piece}", f"{piece} {text}"))
                raised[name].append(_rank(shown_score(score(_answer(question, longer)))) > before)
    return {name: _ratio(found) for name, found in raised.items()} | {
        "all": _ratio([one for found in raised.values() for one in found])
    }


def load_fragments(folder: Path) -> dict[str, list[str]]:
    """Return the lists of `fragments.yaml`."""
    data = _load(folder / "fragments.yaml") or {}
    lists = data.get("fragments", data)
    return {
        name: [one if isinstance(one, str) else one["text"] for one in found]
        for name, found in lists.items()
        if isinstance(found, list)
    }


def measure_technical(score: ScoreAnswer, entries: Sequence[Mapping[str, Any]]) -> Counts:
    """Return the order of right, partly right, wrong and nonsensical technical answers.

    A score that was not given, because nothing checks the points, is counted as `not_scored`.
    """
    results: dict[str, list[bool]] = defaultdict(list)
    for entry in entries:
        answers = entry.get("answers", entry)
        given = {
            name: score(_answer(entry["question"], _text(answers[name]), entry)).technical_score
            for name in ("right", "partly", "wrong", "nonsense")
            if name in answers
        }
        results["not_scored"].append(all(value is None for value in given.values()))
        if results["not_scored"][-1]:
            continue
        rank = {name: _rank(value) for name, value in given.items()}
        for name in ("partly", "wrong", "nonsense"):
            if name in rank:
                results[f"right_above_{name}"].append(rank["right"] > rank[name])
        for name in ("wrong", "nonsense"):
            if name in rank:
                results[f"{name}_at_most_40"].append(rank[name] <= 40)
    return {name: _ratio(found) for name, found in results.items()}


def _text(value: Any) -> str:
    found = value if isinstance(value, str) else value["text"]
    assert isinstance(found, str)
    return found


def measure_languages(score: ScoreAnswer, entries: Iterable[Mapping[str, Any]]) -> Counts:
    """Return how many texts are rejected, by whether they may be."""
    results: dict[str, list[bool]] = defaultdict(list)
    for entry in entries:
        expected = _first(entry, "refuse", "refused", "may_refuse", "may_be_refused", "expect")
        is_allowed = expected in (True, "yes", "no_score", "refuse", "refused")
        question = entry.get("question", "Tell me about a time you solved a problem.")
        is_rejected = shown_score(score(_answer(question, _text(entry)))) is None
        results["may be rejected" if is_allowed else "must be scored"].append(is_rejected)
    return {name: _ratio(found) for name, found in results.items()}


def measure_relevant(score: ScoreAnswer, entries: Iterable[Mapping[str, Any]]) -> Counts:
    """Return how many relevant but vague answers are rejected. None should be."""
    return _ratio(
        [shown_score(score(_answer(one["question"], one["text"]))) is None for one in entries]
    )


def measure_folder(score: ScoreAnswer, folder: Path) -> Counts:
    """Return all measures that a folder has files for."""
    report: Counts = {}
    levels = load_levels(folder)
    distance = 15.0
    if levels:
        report |= measure_levels(score, levels)
        distance = report["level_distance"]
    pairs = load_pairs(folder)
    if pairs:
        report |= measure_pairs(score, pairs, distance)
    fragments = load_fragments(folder)
    if fragments:
        answers = [(one["question"], one[level]) for one in levels for level in range(2, 6)]
        answers += [(one.question, one.base) for one in pairs]
        report["additions"] = measure_additions(score, answers, fragments)
    technical = _load(folder / "technical.yaml") or (_load(folder / "probes.yaml") or {}).get(
        "technical"
    )
    if technical:
        entries = technical.get("questions", []) if isinstance(technical, dict) else technical
        report["technical"] = measure_technical(score, entries)
    languages = _load(folder / "languages.yaml")
    if languages:
        entries = languages.get("texts", []) if isinstance(languages, dict) else languages
        report["languages"] = measure_languages(score, entries)
    relevant = (_load(folder / "probes.yaml") or {}).get("relevant", [])
    if relevant:
        report["relevant_rejected"] = measure_relevant(score, relevant)
    return report


def _answer(question: str, text: str, entry: Mapping[Any, Any] | None = None) -> Answer:
    """Return an answer, with the question's points if its entry has any."""
    points = (entry or {}).get("points", [])
    reference = None
    if points:
        reference = Question(
            str((entry or {}).get("id", "evaluated")),
            question,
            QuestionType.KNOWLEDGE,
            points=tuple(_parse_point(number, one) for number, one in enumerate(points)),
            misconceptions=tuple(
                Misconception(str(number), _point_text(one), tuple(_wordings(one)))
                for number, one in enumerate((entry or {}).get("misconceptions", []))
            ),
        )
    return Answer("Practice", question, text, "en", reference=reference)


def _parse_point(number: int, point: Any) -> ExpectedPoint:
    given = point if isinstance(point, Mapping) else {}
    return ExpectedPoint(
        str(given.get("id", number)),
        _point_text(point),
        Importance(given.get("importance", "must")),
        tuple(given.get("accepted", ())),
        tuple(given.get("not", ())),
    )


def _point_text(point: Any) -> str:
    return str(point["text"] if isinstance(point, Mapping) else point)


def _wordings(misconception: Any) -> Sequence[str]:
    return misconception.get("wordings", ()) if isinstance(misconception, Mapping) else ()


def _rank(score: int | None) -> int:
    return -1 if score is None else score


def _ratio(results: Sequence[bool]) -> dict[str, int]:
    return {"count": sum(results), "total": len(results)}
