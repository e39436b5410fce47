"""The level of each dimension, computed from signals. A level may lie between two.

The constants are few and set by hand, each with its reason. None was fitted. Text without content
raises no level: shares grow with content and fall with vague terms.
"""

from collections.abc import Mapping

from coach_ai.domain import Answer
from coach_ai.scoring.local.dimensions import reasoning, specificity, structure
from coach_ai.scoring.local.dimensions.clarity import clarity_level
from coach_ai.scoring.local.dimensions.delivery import delivery_level
from coach_ai.scoring.local.dimensions.relevance import relevance
from coach_ai.scoring.local.level_scale import to_level
from coach_ai.scoring.local.parsed_answer import ParsedAnswer
from coach_ai.scoring.local.reasons import Reasons
from coach_ai.scoring.local.story_parts import Story

Levels = Mapping[str, float | None]


def score_levels(
    answer: Answer,
    question_type: str,
    parsed: ParsedAnswer,
    story: Story,
    reasons: Reasons,
    metrics: Mapping[str, object],
) -> Levels:
    """Return the level of each dimension, or None if it cannot be determined."""
    relevance_share = relevance(answer.question, parsed.informative_text)
    steps = story.steps + story.vague_steps / 4
    evidence = specificity.count_evidence(parsed, story)
    if question_type == "behavioural":
        structure_share = structure.story_share(story, steps)
        experience_share = min(1.0, steps / 2)
        specificity_share = specificity.evidence_share(evidence, parsed)
    elif question_type == "technical":
        structure_share = structure.explanation_share(relevance_share, reasons)
        experience_share = 1.0
        specificity_share = specificity.explanation_share(evidence, parsed)
    else:
        structure_share = structure.claim_share(relevance_share, reasons, story)
        experience_share = min(1.0, evidence / 4)
        specificity_share = specificity.evidence_share(evidence, parsed)
    return {
        "relevance": to_level(relevance_share * (1 + experience_share) / 2),
        "structure": to_level(structure_share),
        "specificity": to_level(specificity_share),
        "reasoning": to_level(reasoning.reasoning_share(reasons, parsed)),
        "clarity": clarity_level(parsed),
        "delivery": delivery_level(metrics),
        "technical": None,
    }
