"""The levels of the rubric's dimensions, from signals."""

from coach_ai.adapters.local_judge.reading import Reading
from coach_ai.adapters.local_judge.relevance import relevance
from coach_ai.domain import Answer


def levels_of(
    answer: Answer, reading: Reading, measured: dict[str, object]
) -> dict[str, int | None]:
    """Return each dimension's level, None where it cannot be judged."""
    return {
        "relevance": _relevance(answer, reading),
        "structure": _structure(reading),
        "specificity": _specificity(reading),
        "clarity": _clarity(reading),
        "delivery": _delivery(measured),
        "technical": None,
    }


def _relevance(answer: Answer, reading: Reading) -> int:
    about = relevance(answer.question, reading.text)
    has_case = bool(reading.parts["action"]) and bool(
        reading.parts["situation"] or reading.parts["task"]
    )
    if not has_case:
        return 3 if about >= 0.3 and reading.parts["action"] else 2 if about >= 0.3 else 1
    return 5 if about >= 0.5 else 4 if about > 0 else 3


def _structure(reading: Reading) -> int:
    return min(5, 1 + sum(bool(found) for found in reading.parts.values()))


def _specificity(reading: Reading) -> int:
    steps = len(reading.parts["action"])
    level = 1 + (steps >= 1) + (steps >= 3) + (reading.figures >= 1) + bool(reading.measured)
    return min(5, level)


def _clarity(reading: Reading) -> int:
    """Sentence length: 15 to 20 words on average is easy to follow (Plain English Campaign)."""
    lengths = [len(sentence.tokens) for sentence in reading.sentences]
    mean = sum(lengths) / len(lengths)
    over = sum(length > 35 for length in lengths) / len(lengths)
    broken = sum(length < 4 for length in lengths) / len(lengths)
    return max(1, 5 - (mean > 20) - (mean > 27) - (over > 0.2) - (broken > 0.3))


def _delivery(measured: dict[str, object]) -> int | None:
    if "status" in measured:
        return None
    outside = sum(
        isinstance(one, dict) and one["verdict"] in ("below", "above") for one in measured.values()
    )
    return max(1, 5 - outside)
