"""The levels of the rubric's dimensions, from signals. A level may lie between two."""

from collections.abc import Mapping

from coach_ai.adapters.local_judge.reading import Reading
from coach_ai.adapters.local_judge.reasons import Reasons
from coach_ai.adapters.local_judge.relevance import relevance
from coach_ai.adapters.local_judge.star import Story
from coach_ai.adapters.local_judge.words import NUMBER, names
from coach_ai.domain import Answer

Levels = Mapping[str, float | None]


def levels_of(
    answer: Answer,
    kind: str,
    reading: Reading,
    story: Story,
    reasons: Reasons,
    measured: Mapping[str, object],
) -> Levels:
    """Return each dimension's level, None where it cannot be judged."""
    figures = len(set(NUMBER.findall(" ".join(reading.tokens))))
    is_story = kind == "behavioural"
    about = relevance(answer.question, reading.telling)
    density = len(names(reading.tokens)) / max(1, len(reading.tokens))
    steps = story.steps + story.vague_steps / 4
    evidence = figures + story.steps + 2 * bool(story.measured)
    weighty = reasons.causes + reasons.contrasts + reasons.costs + reasons.conditions / 2
    if is_story:
        parts = [
            _some(bool(story.parts["situation"])),
            _some(bool(story.parts["task"])),
            steps / (steps + 1),
            (0.5 + story.is_told / 2) if story.parts["result"] else 0.0,
        ]
        own = min(1.0, steps / 2)
        specificity = _level(evidence / (evidence + reading.vague + 4))
    elif kind == "technical":
        parts = [
            _some(about > 0),
            min(1.0, reasons.causes / 2),
            min(1.0, (reasons.contrasts + reasons.costs) / 2),
            _some(reasons.examples),
        ]
        own = 1.0
        specificity = _level((density - 0.12) / 0.2)
    else:
        parts = [
            _some(about > 0),
            min(1.0, reasons.causes),
            min(1.0, story.steps / 2),
            _some(story.measured or story.parts["result"]),
        ]
        own = min(1.0, evidence / 4)
        specificity = _level(evidence / (evidence + reading.vague + 4))
    return {
        "relevance": _level(about * (1 + own) / 2),
        "structure": 1 + sum(parts),
        "specificity": specificity,
        "reasoning": _level(weighty / (weighty + reading.vague + 3)),
        "clarity": _clarity(reading),
        "delivery": _delivery(measured),
        "technical": None,
    }


def _level(share: float) -> float:
    return 1 + 4 * min(1.0, max(0.0, share))


def _some(found: object) -> float:
    return 1.0 if found else 0.0


def _clarity(reading: Reading) -> float:
    """By what the three longest sentences have over 20 words, each up to 40.

    15 to 20 words on average are easy to follow (Plain English Campaign). What is added cannot
    raise it."""
    over = sum(min(20, max(0, words - 20)) for words in reading.longest[:3])
    return 5 - 3 * over / 60


def _delivery(measured: Mapping[str, object]) -> int | None:
    if "status" in measured:
        return None
    outside = sum(
        isinstance(one, dict) and one["verdict"] in ("below", "above") for one in measured.values()
    )
    return max(1, 5 - outside)
