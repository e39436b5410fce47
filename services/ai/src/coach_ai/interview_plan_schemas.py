"""The plan of an interview in responses, with its company style."""

from pydantic import BaseModel, Field

from coach_ai.interview.company_style import load_company_styles
from coach_ai.interview.model import CompanyStyle, Interview


class InterviewPlanItem(BaseModel):
    """A planned question."""

    number: int
    question_id: str
    question: str
    competence: str
    minutes: int
    round: str | None = Field(description="round of the company style; null without one")


class InterviewCompanyStyle(BaseModel):
    """The style of a kind of company that the interview had."""

    name: CompanyStyle
    title: str
    values: list[str]
    depth: int = Field(description="follow-ups for depth to one question, at most")

    @classmethod
    def from_domain(cls, style: CompanyStyle | None) -> "InterviewCompanyStyle | None":
        """Describe a style."""
        if style is None:
            return None
        found = load_company_styles()[style]
        return cls(name=style, title=found.title, values=list(found.values), depth=found.depth)


class InterviewPlanView(BaseModel):
    """What the interview was planned to cover."""

    competences: list[str]
    minutes: int
    questions: list[InterviewPlanItem]
    company_style: InterviewCompanyStyle | None = Field(description="null without one")

    @classmethod
    def from_interview(cls, interview: Interview) -> "InterviewPlanView":
        """Convert the plan of an interview."""
        plan = interview.plan
        return cls(
            competences=list(plan.competences),
            minutes=plan.minutes,
            questions=[
                InterviewPlanItem(
                    number=number,
                    question_id=one.question.id,
                    question=one.question.text,
                    competence=one.competence,
                    minutes=one.minutes,
                    round=one.round,
                )
                for number, one in enumerate(plan.questions, 1)
            ],
            company_style=InterviewCompanyStyle.from_domain(interview.setup.style),
        )
