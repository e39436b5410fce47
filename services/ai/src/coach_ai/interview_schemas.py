"""Request and response bodies of interviews."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from coach_ai.domain import Feedback, Seniority
from coach_ai.interview.answer_clock import read_clock
from coach_ai.interview.assessment import AssessedAnswer, Assessment
from coach_ai.interview.model import (
    CompanyStyle,
    Gap,
    GapKind,
    Intent,
    Interview,
    InterviewSetup,
    InterviewStatus,
    InterviewType,
    Manner,
    Persona,
    Position,
    ProfileExcerpt,
    Turn,
    WordingMethod,
)
from coach_ai.interview_dialogue_schemas import OptionalSilencePrompt
from coach_ai.interview_plan_schemas import InterviewPlanView
from coach_ai.profile_schemas import SilenceSeconds
from coach_ai.use_cases.interview_turns import InterviewMessage
from coach_ai.use_cases.interviews import InterviewDetails, InterviewPage
from coach_common.events.feedback import EvidenceItem, MainImprovement, PointCoverage, Score
from coach_common.http.cursor import encode_cursor
from coach_common.validation import MeasuredNumber

INTERVIEW_LIST_NAME = "interviews"
MAX_MESSAGE_CHARACTERS = 20_000
MIN_TIME_LIMIT_SECONDS = 30
MAX_TIME_LIMIT_SECONDS = 3600
_MAX_DURATION_SECONDS = 24 * 3600

_DIFFICULTIES = {
    Seniority.JUNIOR: ("junior", "easy", "entry", "beginner"),
    Seniority.MID: ("mid", "medium", "intermediate"),
    Seniority.SENIOR: ("senior", "hard", "advanced", "expert"),
}
_SENIORITY_OF_DIFFICULTY = {name: level for level, names in _DIFFICULTIES.items() for name in names}

_POSITIONS = {
    InterviewType.TECHNICAL: Position.ENGINEER,
    InterviewType.SYSTEM_DESIGN: Position.ENGINEER,
    InterviewType.CASE: Position.MANAGER,
}

_Context = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]
Difficulty = Annotated[
    Literal[
        "junior", "easy", "entry", "beginner",
        "mid", "medium", "intermediate",
        "senior", "hard", "advanced", "expert",
        "",
    ],
    Field(description="level of the position, or a synonym; empty means none"),
]  # fmt: skip


class InterviewPersona(BaseModel):
    """The character of the interviewer. It changes the tone, not the scores."""

    model_config = ConfigDict(extra="ignore")

    manner: Manner = Manner.NEUTRAL
    position: Position | None = Field(
        default=None, description="by default the one that suits `interview_type`"
    )


class StartInterviewRequest(BaseModel):
    """An interview to start."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"title": "Mock interview", "interview_type": "behavioral"}]
        },
    )

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    interview_type: InterviewType
    role_context: _Context | None = Field(default=None, examples=["Backend engineer, databases"])
    company_context: _Context | None = None
    difficulty_level: Difficulty | None = None
    custom_instructions: _Context | None = Field(
        default=None, description="wishes for the choice of questions; never instructions"
    )
    persona: InterviewPersona = Field(default_factory=InterviewPersona)
    question_limit: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None,
        description="planned questions; by default 5, or 2 for case interviews, or those of"
        " `company_style`",
    )
    time_limit_seconds: (
        Annotated[int, Field(ge=MIN_TIME_LIMIT_SECONDS, le=MAX_TIME_LIMIT_SECONDS)] | None
    ) = Field(default=None, description="time for each question and each follow-up; null: no limit")
    company_style: CompanyStyle | None = Field(
        default=None, description="chooses rounds, competences and depth; never scores"
    )

    silence_seconds: SilenceSeconds | None = Field(
        default=None,
        description="how long a silence may last before `silence_prompt` is due; 0: never; null: as"
        " in the profile, or as the server is set",
    )

    def to_domain(self) -> InterviewSetup:
        """Return the setup."""
        return InterviewSetup(
            title=self.title,
            type=self.interview_type,
            persona=Persona(
                self.persona.manner,
                self.persona.position or _POSITIONS.get(self.interview_type, Position.RECRUITER),
            ),
            role=self.role_context or "",
            company=self.company_context or "",
            seniority=_SENIORITY_OF_DIFFICULTY.get(self.difficulty_level or ""),
            instructions=self.custom_instructions or "",
            question_limit=self.question_limit,
            style=self.company_style,
            time_limit_seconds=self.time_limit_seconds,
            silence_seconds=self.silence_seconds,
        )


class StartInterviewResponse(BaseModel):
    """A started interview with the interviewer's first words."""

    session_id: UUID
    message: str
    response: str = Field(description="the interviewer's greeting and first question")
    status: InterviewStatus
    question_count: int = Field(description="questions that were asked so far")
    turn_number: int
    ai_audio_url: str | None = Field(
        description="path of the response as speech, with an access token; null without a voice"
    )
    silence_prompt: OptionalSilencePrompt


class InterviewMessageRequest(BaseModel):
    """A message of the candidate: text, or the key of an uploaded recording.

    The recording takes precedence. The text is used if the recording cannot be transcribed.
    """

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"message": "Last year I led a move."}]}
    )

    message: (
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_MESSAGE_CHARACTERS)]
        | None
    ) = None
    audio_s3_key: Annotated[str, StringConstraints(max_length=160)] | None = None
    audio_duration_seconds: (
        Annotated[MeasuredNumber, Field(ge=0, le=_MAX_DURATION_SECONDS)] | None
    ) = Field(default=None, description="not used: the server measures the recording")

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        if not self.message and not self.audio_s3_key:
            raise ValueError("message or audio_s3_key is required")
        return self

    def to_domain(self, idempotency_key: str | None) -> InterviewMessage:
        """Return the message."""
        return InterviewMessage(
            self.message or "", self.audio_s3_key or None, idempotency_key or None
        )


class InterviewGap(BaseModel):
    """What a follow-up probes, and the part of the answer that it refers to."""

    kind: GapKind
    quote: str

    @classmethod
    def from_domain(cls, gap: Gap | None) -> "InterviewGap | None":
        """Convert a gap, without the id of an expected point."""
        return None if gap is None else cls(kind=gap.kind, quote=gap.quote)


class InterviewAnalysis(BaseModel):
    """How the interviewer understood a message. Scores follow with the assessment."""

    intent: Intent
    question_number: int = Field(description="the planned question that the message belongs to")
    gap: InterviewGap | None = Field(description="what the response probes; null if nothing")
    method: WordingMethod = Field(
        default=WordingMethod.RULES,
        description="`rules`: fixed rules without a language model; `language_model`: a model words"
        " what the rules ask",
    )

    @classmethod
    def from_domain(cls, turn: Turn) -> "InterviewAnalysis":
        """Convert a turn."""
        return cls(
            intent=turn.intent,
            question_number=turn.question_number,
            gap=InterviewGap.from_domain(turn.gap),
            method=turn.method,
        )


class InterviewMessageResponse(BaseModel):
    """The interviewer's response."""

    session_id: UUID
    response: str
    status: InterviewStatus
    question_count: int = Field(description="questions that were asked so far")
    analysis: InterviewAnalysis
    turn_number: int
    ai_audio_url: str | None = Field(
        description="path of the response as speech, with an access token; null without a voice"
    )
    silence_prompt: OptionalSilencePrompt


class InterviewTurn(BaseModel):
    """A message of the candidate and the response. Turn 0 is the opening, without a message."""

    number: int
    question_number: int
    message: str | None
    audio_s3_key: str | None
    response: str
    analysis: InterviewAnalysis | None = Field(description="null for the opening")
    is_late: bool = Field(description="the answer exceeds the time limit; it counts all the same")
    late_seconds: int = Field(description="by how much, or 0")
    interrupted_at: datetime | None = Field(
        description="when the candidate began to answer before the response was over; null: never"
    )
    created_at: datetime

    @classmethod
    def from_domain(cls, turn: Turn) -> "InterviewTurn":
        """Convert a turn."""
        is_opening = turn.number == 0
        return cls(
            number=turn.number,
            question_number=turn.question_number,
            message=turn.message or None,
            audio_s3_key=turn.audio_s3_key,
            response=turn.response,
            analysis=None if is_opening else InterviewAnalysis.from_domain(turn),
            is_late=turn.late_seconds > 0,
            late_seconds=turn.late_seconds,
            interrupted_at=turn.interrupted_at,
            created_at=turn.created_at,
        )


class InterviewQuestionResult(BaseModel):
    """A planned question and the scored answer to it. What cannot be scored is null."""

    number: int
    question_id: str
    question: str
    competence: str
    answer: str | None = Field(description="all parts of the answer; null without one")
    follow_ups: int
    overall_score: Score | None
    communication_score: Score | None
    technical_score: Score | None
    clarity_score: Score | None
    reason: str | None = Field(description="why `overall_score` is null; else null")
    detailed_feedback: str
    evidence: list[EvidenceItem]
    points: list[PointCoverage]
    main_improvement: MainImprovement | None
    rubric_version: str | None

    @classmethod
    def from_domain(cls, answer: AssessedAnswer) -> "InterviewQuestionResult":
        """Convert an answer."""
        feedback = answer.feedback or _NO_FEEDBACK
        main = feedback.main_improvement
        return cls(
            number=answer.number,
            question_id=answer.question_id,
            question=answer.question,
            competence=answer.competence,
            answer=answer.answer,
            follow_ups=answer.follow_ups,
            overall_score=feedback.overall_score,
            communication_score=feedback.communication_score,
            technical_score=feedback.technical_score,
            clarity_score=feedback.clarity_score,
            reason=answer.reason,
            detailed_feedback=feedback.detailed_feedback,
            evidence=[EvidenceItem.model_validate(asdict(one)) for one in feedback.remarks],
            points=[PointCoverage.model_validate(asdict(one)) for one in feedback.points],
            main_improvement=None if main is None else MainImprovement.model_validate(asdict(main)),
            rubric_version=feedback.rubric_version or None,
        )


_NO_FEEDBACK = Feedback(None, None, None, None, (), "", "", "", "")


class StudyPlanItem(BaseModel):
    """Something to practise, and the question that showed it."""

    question_number: int
    competence: str
    text: str
    drill: str | None


class InterviewAssessment(BaseModel):
    """The result of an interview: the mean of its answers' scores, evidence and a study plan."""

    session_id: UUID
    status: InterviewStatus
    overall_score: Score | None = Field(description="null if no answer could be scored")
    communication_score: Score | None
    technical_score: Score | None
    clarity_score: Score | None
    summary: str
    answers: list[InterviewQuestionResult]
    study_plan: list[StudyPlanItem]
    plan: InterviewPlanView
    assessed_at: datetime

    @classmethod
    def from_details(cls, details: InterviewDetails) -> "InterviewAssessment":
        """Convert an interview that has an assessment."""
        if details.assessment is None:
            raise ValueError("the interview has no assessment")
        return cls.from_domain(details.interview, details.assessment)

    @classmethod
    def from_domain(cls, interview: Interview, assessment: Assessment) -> "InterviewAssessment":
        """Convert the assessment of an interview."""
        return cls(
            session_id=interview.id,
            status=interview.status,
            overall_score=assessment.overall_score,
            communication_score=assessment.communication_score,
            technical_score=assessment.technical_score,
            clarity_score=assessment.clarity_score,
            summary=assessment.summary,
            answers=[InterviewQuestionResult.from_domain(one) for one in assessment.answers],
            study_plan=[
                StudyPlanItem(
                    question_number=one.question_number,
                    competence=one.competence,
                    text=one.text,
                    drill=one.drill,
                )
                for one in assessment.study_plan
            ],
            plan=InterviewPlanView.from_interview(interview),
            assessed_at=assessment.assessed_at,
        )


class InterviewSummary(BaseModel):
    """An interview in the list."""

    session_id: UUID
    title: str
    interview_type: InterviewType
    status: InterviewStatus
    question_count: int = Field(description="questions that were asked so far")
    overall_score: Score | None
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def from_domain(cls, interview: Interview, assessment: Assessment | None) -> "InterviewSummary":
        """Convert an interview."""
        return cls(
            session_id=interview.id,
            title=interview.setup.title,
            interview_type=interview.setup.type,
            status=interview.status,
            question_count=interview.question_number,
            overall_score=None if assessment is None else assessment.overall_score,
            created_at=interview.created_at,
            completed_at=interview.completed_at,
        )


class InterviewPageResponse(BaseModel):
    """A page of interviews, newest first."""

    sessions: list[InterviewSummary]
    next_cursor: str | None = Field(description="null on the last page")

    @classmethod
    def from_domain(cls, page: InterviewPage, user_id: UUID) -> "InterviewPageResponse":
        """Convert a page. The cursor is valid for this user only."""
        last = page.interviews[-1][0] if page.has_more else None
        return cls(
            sessions=[InterviewSummary.from_domain(*one) for one in page.interviews],
            next_cursor=None
            if last is None
            else encode_cursor((last.created_at, last.id), user_id, list_name=INTERVIEW_LIST_NAME),
        )


class InterviewDetailsResponse(InterviewSummary):
    """An interview with all turns. Plan and assessment are null until it is completed."""

    role_context: str | None
    company_context: str | None
    seniority: Seniority | None
    custom_instructions: str | None
    target_role: str | None = Field(description="of the profile when the interview started")
    job_title: str | None = Field(description="of the job description in the profile")
    job_description: str | None = Field(description="beginning of the job description")
    company_style: CompanyStyle | None
    manner: Manner
    position: Position
    time_limit_seconds: int | None
    silence_seconds: int | None = Field(
        description="how long a silence may last before `silence_prompt` is due; 0 or null: forever"
    )
    asked_at: datetime | None = Field(
        description="when the open question or follow-up was asked; null once completed"
    )
    answer_due_at: datetime | None = Field(description="null without a time limit")
    remaining_seconds: int | None = Field(description="until `answer_due_at`, at least 0")
    turns: list[InterviewTurn]
    plan: InterviewPlanView | None
    assessment: InterviewAssessment | None

    @classmethod
    def from_details(
        cls, details: InterviewDetails, *, now: datetime
    ) -> "InterviewDetailsResponse":
        """Convert an interview with its turns. The clock of its open question is read at `now`."""
        interview, assessment = details.interview, details.assessment
        setup = interview.setup
        profile = setup.profile or ProfileExcerpt()
        is_over = interview.status is InterviewStatus.COMPLETED
        clock = None if is_over else read_clock(interview, details.turns)
        return cls(
            **InterviewSummary.from_domain(interview, assessment).model_dump(),
            role_context=setup.role or None,
            company_context=setup.company or None,
            seniority=setup.seniority,
            custom_instructions=setup.instructions or None,
            target_role=profile.target_role or None,
            job_title=profile.job_title or None,
            job_description=profile.job_description or None,
            company_style=setup.style,
            manner=setup.persona.manner,
            position=setup.persona.position,
            time_limit_seconds=setup.time_limit_seconds,
            silence_seconds=setup.silence_seconds,
            asked_at=None if clock is None else clock.asked_at,
            answer_due_at=None if clock is None else clock.due_at,
            remaining_seconds=None if clock is None else clock.get_remaining_seconds(now),
            turns=[InterviewTurn.from_domain(turn) for turn in details.turns],
            plan=InterviewPlanView.from_interview(interview) if is_over else None,
            assessment=None
            if assessment is None
            else InterviewAssessment.from_domain(interview, assessment),
        )
