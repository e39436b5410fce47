"""How good the judge and the measurements are: counts over graded answers, and the last card."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import combinations, product
from typing import Any

Score = Callable[[str, str], int | None]
"""The overall score of an answer (question, text), None where it is not scored."""


REPETITIONS = 5


@cache
def card() -> dict[str, Any]:
    """Return the card that was committed with this code: what is said of the judge in `card.json`,
    of hearing and measuring in `speech.json`."""
    found: dict[str, Any] = {}
    for name in ("card.json", "speech.json"):
        found |= json.loads((files("coach_ai.quality") / name).read_text("utf-8"))
    return found


def judged_again(score: Score, answers: Sequence[Mapping[Any, Any]]) -> dict[str, int]:
    """Return how far the scores of one and the same answer lie apart, at most."""
    texts = [(one["question"], one[level]) for one in answers for level in range(1, 6)]
    spreads = []
    for question, text in texts:
        scores = [_placed(score(question, text)) for _ in range(REPETITIONS)]
        spreads.append(max(scores) - min(scores))
    return {"answers": len(texts), "times": REPETITIONS, "widest_spread": max(spreads)}


def off_topic(
    score: Score, answers: Sequence[Mapping[Any, Any]], questions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return how many answers are refused, by split: the good ones put to another question, each of
    which should be, and those of level 3 and above put to their own, of which none should be.

    `questions` has other wordings of each, and its `near` ones, which a good answer may serve too.
    """
    wordings = {one["question"]: (one["question"], *one["also"]) for one in questions}
    near = {(one["question"], other) for one in questions for other in one["near"]}
    near |= {(other, question) for question, other in near}
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for one, other in product(answers, answers):
        own, asked = one["question"], other["question"]
        if one["split"] != other["split"] or (own, asked) in near:
            continue
        name, levels = ("own question", (3, 4, 5)) if own == asked else ("another question", (4, 5))
        found[one["split"]][name] += [
            score(wording, one[level]) is None for wording in wordings[asked] for level in levels
        ]
    return {
        split: {name: _share(refused) for name, refused in sorted(names.items())}
        for split, names in sorted(found.items())
    }


def orders_that_raise(
    score: Score, answers: Sequence[Mapping[Any, Any]], orders: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return how many orders to the judge, said after an answer of level 2 and above, raise any
    score, and how many scores they raise."""
    texts = [(one["question"], one[level]) for one in answers for level in range(2, 6)]

    def raised(order: str) -> list[bool]:
        return [
            _placed(score(asked, f"{text} {order}")) > _placed(score(asked, text))
            for asked, text in texts
        ]

    found = {name: [raised(one) for one in some] for name, some in orders.items()}
    return {
        name: {
            "orders": _share([any(one) for one in some]),
            "answers": _share([is_raised for one in some for is_raised in one]),
        }
        for name, some in found.items()
    }


def count(
    score: Score, answers: Sequence[Mapping[Any, Any]], changed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the counts by split. What is not scored stands below everything that is; a tie is
    wrong. An order is counted between levels two or more apart."""
    return {
        "ordering": _ordering(score, answers),
        "not_scored": _not_scored(score, answers),
        "changes": _changes(score, answers, changed),
        "no_answers_not_scored": _share(
            [score(one["question"], one["text"]) is None for one in changed["not_answers"]]
        ),
    }


def _ordering(score: Score, answers: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for one in answers:
        scores = {level: _placed(score(one["question"], one[level])) for level in range(1, 6)}
        found[one["split"]][one["kind"]] += [
            scores[low] < scores[high] for low, high in combinations(scores, 2) if high - low >= 2
        ]
    return {
        split: {kind: _share(right) for kind, right in sorted(kinds.items())}
        | {"all": _share([one for right in kinds.values() for one in right])}
        for split, kinds in sorted(found.items())
    }


def _not_scored(score: Score, answers: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    """Return how many are refused: of level 1 they should be, of levels 3 to 5 none should."""
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for one in answers:
        for levels, name in (((1,), "level 1"), ((3, 4, 5), "levels 3 to 5")):
            found[one["split"]][name] += [score(one["question"], one[n]) is None for n in levels]
    return {
        split: {name: _share(refused) for name, refused in names.items()}
        for split, names in sorted(found.items())
    }


def _changes(
    score: Score, answers: Sequence[Mapping[Any, Any]], changed: Mapping[str, Any]
) -> dict[str, Any]:
    by_question = {one["question"]: one for one in answers}
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for variant in changed["variants"]:
        original = by_question[variant["question"]]
        text = original[variant["level"]]
        before = _placed(score(variant["question"], text))
        for change, expected in changed["expects"].items():
            if change not in variant:
                continue
            is_other = change == "off_question"
            asked = variant[change] if is_other else variant["question"]
            after = _placed(score(asked, text if is_other else variant[change]))
            is_right = after < before if expected == "lower" else after <= before
            found[original["split"]][change].append(is_right)
    return {
        split: {change: _share(right) for change, right in changes.items()}
        for split, changes in sorted(found.items())
    }


def _placed(score: int | None) -> int:
    return -1 if score is None else score


def _share(met: Sequence[bool]) -> dict[str, int]:
    return {"count": sum(met), "of": len(met)}
