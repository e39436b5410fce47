"""The levels of the rubric's dimensions, from signals. A level may lie between two.

The constants are few, set by hand, each with its reason; none was fitted. What an answer adds
without telling anything raises no level: shares grow with what is told and fall with vague words.
"""

from collections.abc import Mapping

from coach_ai.adapters.local_judge.reading import Reading
from coach_ai.adapters.local_judge.reasons import Reasons
from coach_ai.adapters.local_judge.relevance import relevance
from coach_ai.adapters.local_judge.star import Story
from coach_ai.adapters.local_judge.words import figures, names
from coach_ai.domain import Answer

Levels = Mapping[str, float | None]

_PLAIN_WORDS, _DENSE_WORDS = 0.18, 0.38
"""The share of words that name something, in talk about anything and in a dense explanation."""
_EASY, _HARD = 25, 45
"""Words of a sentence that is easy to follow by ear, and of one that nobody follows. Plain English
Campaign has 15 to 20 on average, for print; what people say is joined by commas and “and”."""


def levels_of(
    answer: Answer,
    kind: str,
    reading: Reading,
    story: Story,
    reasons: Reasons,
    measured: Mapping[str, object],
) -> Levels:
    """Return each dimension's level, None where it cannot be judged."""
    about = relevance(answer.question, reading.telling)
    steps = story.steps + story.vague_steps / 4
    evidence = _figures(reading) + story.steps + 2 * bool(story.measured)
    own = 1.0
    if kind == "behavioural":
        parts, own = _parts_of_story(story, steps), min(1.0, steps / 2)
        specificity = _share(evidence, reading.vague + 4)
    elif kind == "technical":
        parts = _parts_of_explanation(about, reasons)
        specificity = _density(reading) + _share(evidence, 8)
    else:
        parts, own = _parts_of_claim(about, reasons, story), min(1.0, evidence / 4)
        specificity = _share(evidence, reading.vague + 4)
    return {
        "relevance": _level(about * (1 + own) / 2),
        "structure": _level(sum(parts) / len(parts)),
        "specificity": _level(specificity),
        "reasoning": _level(_share(reasons.weight, reading.vague / 2 + 3)),
        "clarity": _clarity(reading),
        "delivery": _delivery(measured),
        "technical": None,
    }


def _level(share: float) -> float:
    return 1 + 4 * min(1.0, max(0.0, share))


def _share(told: float, against: float) -> float:
    """Return what is told against what is not: each further thing counts, and less."""
    return told / (told + against)


def _parts_of_story(story: Story, steps: float) -> tuple[float, ...]:
    """Situation, task, steps and result; a result counts half where only its place shows it."""
    return (
        float(bool(story.parts["situation"])),
        float(bool(story.parts["task"])),
        _share(steps, 1),
        (0.5 + story.is_told / 2) if story.parts["result"] else 0.0,
    )


def _parts_of_explanation(about: float, reasons: Reasons) -> tuple[float, ...]:
    """A claim, two reasons, two sides of it, an example."""
    return (
        float(about > 0),
        min(1.0, reasons.causes / 2),
        min(1.0, (reasons.contrasts + reasons.costs) / 2),
        float(reasons.examples > 0),
    )


def _parts_of_claim(about: float, reasons: Reasons, story: Story) -> tuple[float, ...]:
    """A claim about oneself, its reason, a case of two steps, and what shows that it is true."""
    return (
        float(about > 0),
        float(reasons.causes > 0),
        min(1.0, story.steps / 2),
        float(bool(story.parts["result"])),
    )


def _figures(reading: Reading) -> int:
    return len(set().union(*(figures(one.clauses) for one in reading.said)))


def _density(reading: Reading) -> float:
    """How much of what is said names something (lexical density, Ure 1971)."""
    named = names(reading.tokens)
    share = sum(token in named for token in reading.tokens) / max(1, len(reading.tokens))
    return (share - _PLAIN_WORDS) / (_DENSE_WORDS - _PLAIN_WORDS)


def _clarity(reading: Reading) -> float:
    """By the words that the three longest sentences have too many, down to 2: their length alone
    does not show that nothing can be understood. What is added cannot raise it."""
    over = sum(min(_HARD, words) - _EASY for words in reading.longest[:3] if words > _EASY)
    return 5 - 3 * over / (3 * (_HARD - _EASY))


def _delivery(measured: Mapping[str, object]) -> int | None:
    if "status" in measured:
        return None
    outside = sum(
        isinstance(one, dict) and one["verdict"] in ("below", "above") for one in measured.values()
    )
    return max(1, 5 - outside)
