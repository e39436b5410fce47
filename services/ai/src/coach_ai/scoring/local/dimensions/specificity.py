"""Specificity: evidence that could be checked, such as own steps and a measured result."""

from collections.abc import Iterator, Sequence

from coach_ai.domain import QuestionType, Remark, Seniority
from coach_ai.scoring.local.analysis import Analysis
from coach_ai.scoring.local.dimensions.dimension import to_level
from coach_ai.scoring.local.evidence import PRESENT
from coach_ai.scoring.local.roles import Role

_JUNIOR_RESULT_SHARE = 0.6
_MID_RESULT_SHARE = 0.5
_SENIOR_BEST_SHARE = 0.6


class Specificity:
    """Concrete evidence. A junior needs a result, a senior a measured result and a lesson."""

    name = "specificity"

    def level(self, analysis: Analysis) -> float:
        """Return the level."""
        found = analysis.evidence
        match analysis.question_type:
            case QuestionType.STORY:
                share = (
                    0.22 * max(found.action, found.case)
                    + 0.13 * max(found.action, found.effort)
                    + 0.45 * found.action
                    + 0.20 * found.action * proof(analysis)
                )
            case QuestionType.CASE | QuestionType.KNOWLEDGE:
                share = found.proposal
            case QuestionType.MOTIVE | QuestionType.ABOUT_YOU:
                share = (
                    0.1 * found.claim
                    + 0.5 * found.case_of_claim
                    + 0.2 * found.action_of_claim
                    + 0.1 * found.outcome
                    + 0.1 * found.measured_outcome
                )
        return to_level(share * analysis.gate)

    def remarks(self, analysis: Analysis) -> Sequence[Remark]:
        """Praise a result or a lesson. Criticise general talk, empty steps and bare claims."""
        remarks: list[Remark] = []
        if analysis.question_type in (QuestionType.STORY, QuestionType.ABOUT_YOU):
            result = analysis.best_unit("result", Role.RESULT)
            if result is not None:
                is_measured = analysis.reading.has_number[result]
                text = "strength_measured_result" if is_measured else "strength_result"
                remarks.append(analysis.remark("strength", self.name, result, text))
            lesson = analysis.best_unit("lesson", Role.LESSON)
            if lesson is not None:
                remarks.append(analysis.remark("strength", self.name, lesson, "strength_lesson"))
        for role, text in _criticised_roles(analysis):
            row = analysis.surest_unit(role)
            if row is not None:
                remarks.append(analysis.remark("improvement", self.name, row, text))
        meta = analysis.surest_unit(Role.META, at_least=analysis.limits.remark_meta)
        if meta is not None:
            remarks.append(analysis.remark("improvement", self.name, meta, "improvement_meta"))
        return remarks


def _criticised_roles(analysis: Analysis) -> Iterator[tuple[Role, str]]:
    """Yield the roles to criticise. Beside concrete evidence a general sentence is no fault."""
    found = analysis.evidence
    match analysis.question_type:
        case QuestionType.STORY if analysis.lacks(Role.ACTION):
            yield Role.GENERAL, "improvement_general"
            yield Role.EFFORT, "improvement_effort"
        case QuestionType.CASE | QuestionType.KNOWLEDGE if found.proposal < PRESENT:
            yield Role.GENERAL, "improvement_general_knowledge"
        case QuestionType.MOTIVE | QuestionType.ABOUT_YOU:
            if found.case_of_claim < PRESENT:
                yield Role.GENERAL, "improvement_general_knowledge"
            yield Role.CLAIM, "improvement_claim"


def proof(analysis: Analysis) -> float:
    """Return how far a story shows that its steps worked, as the seniority asks for it."""
    found = analysis.evidence
    best, other = max(found.measured_result, found.lesson), min(found.measured_result, found.lesson)
    match analysis.seniority:
        case Seniority.JUNIOR:
            return max(best, _JUNIOR_RESULT_SHARE * found.result)
        case Seniority.SENIOR:
            return _SENIOR_BEST_SHARE * best + (1 - _SENIOR_BEST_SHARE) * other
        case Seniority.MID:
            return max(best, _MID_RESULT_SHARE * found.result)
