"""Reasoning: causes, contrasts, conditions and costs, against vague terms."""

from coach_ai.scoring.local.level_scale import saturating_ratio
from coach_ai.scoring.local.parsed_answer import ParsedAnswer
from coach_ai.scoring.local.reasons import Reasons


def reasoning_share(reasons: Reasons, parsed: ParsedAnswer) -> float:
    """Return the reasoning of an answer, 0 to 1."""
    return saturating_ratio(reasons.weight, parsed.vague_terms / 2 + 3)
