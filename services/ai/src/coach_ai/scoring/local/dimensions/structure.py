"""Structure: the parts that an answer should have, by question type."""

from collections.abc import Sequence

from coach_ai.domain import QuestionType, Remark
from coach_ai.scoring.local.analysis import Analysis
from coach_ai.scoring.local.dimensions.dimension import to_level
from coach_ai.scoring.local.roles import Role


class Structure:
    """Shares of the parts. Without a concrete step the other parts of a story count little."""

    name = "structure"

    def level(self, analysis: Analysis) -> float:
        """Return the level."""
        found = analysis.evidence
        match analysis.question_type:
            case QuestionType.STORY:
                share = (
                    0.25 * max(found.action, found.case)
                    + 0.25 * found.action
                    + found.action * (0.42 * found.result + 0.08 * found.scene)
                )
            case QuestionType.CASE | QuestionType.KNOWLEDGE:
                share = 0.8 * found.proposal + 0.2 * found.reason
            case QuestionType.MOTIVE | QuestionType.ABOUT_YOU:
                share = (
                    0.3 * max(found.claim, found.case_of_claim)
                    + 0.4 * found.case_of_claim
                    + 0.15 * found.action_of_claim
                    + 0.15 * found.outcome
                )
        return to_level(share * analysis.gate)

    def remarks(self, analysis: Analysis) -> Sequence[Remark]:
        """Praise the scene, a step and a result. Criticise an ending without content."""
        remarks: list[Remark] = []
        if analysis.question_type is QuestionType.KNOWLEDGE:
            return remarks
        step = analysis.best_unit("action", Role.ACTION)
        if step is not None and analysis.question_type is not QuestionType.CASE:
            remarks.append(analysis.remark("strength", self.name, step, "strength_action"))
        proposal = analysis.best_unit("proposal", Role.PROPOSAL)
        if proposal is not None:
            remarks.append(analysis.remark("strength", self.name, proposal, "strength_proposal"))
        if analysis.question_type is not QuestionType.STORY:
            return remarks
        scene = analysis.best_unit("scene", Role.SCENE)
        if scene is not None and scene < len(analysis.reading.units) / 2:
            remarks.append(analysis.remark("strength", self.name, scene, "strength_scene"))
        ending = analysis.surest_unit(Role.ENDING)
        if ending is not None and analysis.lacks(Role.RESULT):
            remarks.append(analysis.remark("improvement", self.name, ending, "improvement_ending"))
        return remarks
