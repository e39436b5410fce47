"""Structure: the share of the expected parts that an answer has. Which parts depends on the
question type.
"""

from coach_ai.scoring.local.level_scale import saturating_ratio
from coach_ai.scoring.local.reasons import Reasons
from coach_ai.scoring.local.story_parts import Story


def story_share(story: Story, steps: float) -> float:
    """Return the share of situation, task, steps and result.

    A result counts half if only its position after the last step marks it as one.
    """
    return _mean(
        float(bool(story.parts["situation"])),
        float(bool(story.parts["task"])),
        saturating_ratio(steps, 1),
        (0.5 + story.has_explicit_result / 2) if story.parts["result"] else 0.0,
    )


def explanation_share(relevance: float, reasons: Reasons) -> float:
    """Return the share of a claim, two causes, two contrasts or costs, and an example."""
    return _mean(
        float(relevance > 0),
        min(1.0, reasons.causes / 2),
        min(1.0, (reasons.contrasts + reasons.costs) / 2),
        float(reasons.examples > 0),
    )


def claim_share(relevance: float, reasons: Reasons, story: Story) -> float:
    """Return the share of a claim about oneself, its cause, two steps, and a result."""
    return _mean(
        float(relevance > 0),
        float(reasons.causes > 0),
        min(1.0, story.steps / 2),
        float(bool(story.parts["result"])),
    )


def _mean(*parts: float) -> float:
    return sum(parts) / len(parts)
