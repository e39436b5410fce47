"""Relevance: whether an answer is meant for its question, and answers it with something own."""

from collections.abc import Sequence

from coach_ai.domain import QuestionType, Remark
from coach_ai.scoring.local.analysis import Analysis
from coach_ai.scoring.local.dimensions.dimension import to_level
from coach_ai.scoring.local.thresholds import ramp

_TOPIC_SHARE = 0.4
"""Share of relevance that the topic alone gives: general talk about it is level 2 to 3."""
_MAX_CASE = 0.2


class Relevance:
    """The probability of relevance, and what the question asks for: a case, steps or a claim."""

    name = "relevance"

    def level(self, analysis: Analysis) -> float:
        """Return the level."""
        found = analysis.evidence
        own = {
            QuestionType.STORY: found.case,
            QuestionType.CASE: found.proposal,
            QuestionType.KNOWLEDGE: 1.0,
        }.get(analysis.question_type, max(found.claim, found.case_of_claim))
        share = ramp(analysis.relevance, analysis.limits.relevance)
        return to_level(share * (_TOPIC_SHARE + (1 - _TOPIC_SHARE) * own))

    def remarks(self, analysis: Analysis) -> Sequence[Remark]:
        """Say that an answer misses its question, or that it is relevant but no case."""
        if analysis.relevance < analysis.limits.off_topic:
            return [analysis.remark("improvement", self.name, 0, "improvement_off_topic")]
        is_story = analysis.question_type is QuestionType.STORY
        if is_story and analysis.evidence.case < _MAX_CASE:
            return [analysis.remark("improvement", self.name, 0, "improvement_vague_relevant")]
        return []
