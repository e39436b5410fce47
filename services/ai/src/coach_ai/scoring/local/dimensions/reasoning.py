"""Reasoning: causes, conditions and costs."""

from collections.abc import Sequence

from coach_ai.domain import QuestionType, Remark
from coach_ai.scoring.local.analysis import Analysis
from coach_ai.scoring.local.dimensions.dimension import to_level
from coach_ai.scoring.local.roles import Role


class Reasoning:
    """The reasons of an answer. Their form only: a reason for something wrong does not help."""

    name = "reasoning"

    def level(self, analysis: Analysis) -> float:
        """Return the level. It is never above that of what is right, if that was checked."""
        level = to_level(analysis.evidence.reason * analysis.gate)
        if analysis.technical_level is None:
            return level
        return min(level, analysis.technical_level)

    def remarks(self, analysis: Analysis) -> Sequence[Remark]:
        """Praise a reason where reasons are asked for."""
        if analysis.question_type not in (QuestionType.CASE, QuestionType.KNOWLEDGE):
            return []
        row = analysis.best_unit("reason", Role.REASON)
        if row is None:
            return []
        return [analysis.remark("strength", self.name, row, "strength_reason")]
