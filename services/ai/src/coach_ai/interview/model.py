"""An interview: its setup, its plan and its turns."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from coach_ai.domain import Feedback, Question, Seniority

MAX_FOLLOW_UPS = 2
"""Follow-ups to one question."""
MAX_TURNS = 120
"""Turns of one interview. The last one ends it."""


class InterviewType(StrEnum):
    """What an interview asks about."""

    BEHAVIORAL = "behavioral"
    TECHNICAL = "technical"
    CASE = "case"
    SYSTEM_DESIGN = "system_design"
    GENERAL = "general"


class InterviewStatus(StrEnum):
    """Whether an interview still takes messages."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


class Manner(StrEnum):
    """The tone of the interviewer. It changes no score."""

    FRIENDLY = "friendly"
    NEUTRAL = "neutral"
    DEMANDING = "demanding"


class Position(StrEnum):
    """Who the interviewer is. It changes no score."""

    RECRUITER = "recruiter"
    ENGINEER = "engineer"
    MANAGER = "manager"


class CompanyStyle(StrEnum):
    """The kind of company whose style an interview has. It changes no score."""

    STARTUP = "startup"
    BIG_TECH = "big_tech"
    CONSULTING = "consulting"
    PUBLIC_SECTOR = "public_sector"
    FINANCE = "finance"


class Intent(StrEnum):
    """What the candidate wants with a message."""

    ANSWER = "answer"
    MOMENT = "moment"
    REPEAT = "repeat"
    SKIP = "skip"
    HINT = "hint"
    ACKNOWLEDGEMENT = "acknowledgement"
    """"Hm", "yes" or "okay" alone: the candidate listens."""
    NO_ANSWER = "no_answer"
    """A recording of nothing but noise or the interviewer's own voice."""


class GapKind(StrEnum):
    """What a follow-up probes: what the answer lacks, or the depth of a good answer."""

    RESULT_MISSING = "result_missing"
    OWN_PART_UNCLEAR = "own_part_unclear"
    NO_FIGURE = "no_figure"
    POINT_NOT_COVERED = "point_not_covered"
    DEPTH = "depth"


class DepthProbe(StrEnum):
    """What a follow-up to a good answer asks."""

    TRADE_OFF = "trade_off"
    SCALE = "scale"
    DIFFERENTLY = "differently"
    ALTERNATIVE = "alternative"


class WordingMethod(StrEnum):
    """How a turn of the interviewer is worded. Rules decide what it asks with every method."""

    RULES = "rules"
    LANGUAGE_MODEL = "language_model"


@dataclass(frozen=True, slots=True)
class Gap:
    """What a follow-up probes. `quote` is the part of the answer that it refers to.

    `point_id` names the expected point of a `point_not_covered` gap, else it is None. `probe` is
    what a `depth` follow-up asks, else it is None.
    """

    kind: GapKind
    quote: str
    point_id: str | None = None
    probe: DepthProbe | None = None

    @property
    def subject(self) -> str:
        """The name of the phrases that ask for it."""
        return str(self.probe or self.kind)


@dataclass(frozen=True, slots=True)
class Persona:
    """The character of the interviewer."""

    manner: Manner
    position: Position


@dataclass(frozen=True, slots=True)
class ProfileExcerpt:
    """What an interview took from the user's profile. The texts are data and never instructions.

    `quote` is a sentence of the résumé that the greeting quotes, or empty.
    """

    target_role: str = ""
    job_title: str = ""
    job_description: str = ""
    quote: str = ""


@dataclass(frozen=True, slots=True)
class InterviewSetup:
    """What the user chose. The texts are data and never instructions."""

    title: str
    type: InterviewType
    persona: Persona
    role: str = ""
    company: str = ""
    seniority: Seniority | None = None
    instructions: str = ""
    question_limit: int | None = None
    style: CompanyStyle | None = None
    time_limit_seconds: int | None = None
    """Time for each question and each follow-up."""
    profile: ProfileExcerpt | None = None
    silence_seconds: int | None = None
    """How long a silence may last before the interviewer says a word. 0: it says none. None: the
    user has not chosen, or the interview is of an older release."""


@dataclass(frozen=True, slots=True)
class PlannedQuestion:
    """A question of the plan, the competence that it covers, and its share of the time.

    `question` is a copy, so that a later edit of the bank changes no interview.
    """

    question: Question
    competence: str
    minutes: int
    round: str | None = None
    """The round of the company style, or None without a style."""


@dataclass(frozen=True, slots=True)
class InterviewPlan:
    """The questions of an interview in their order."""

    questions: tuple[PlannedQuestion, ...]

    @property
    def competences(self) -> tuple[str, ...]:
        """The covered competences in the order of the questions."""
        return tuple(dict.fromkeys(one.competence for one in self.questions))

    @property
    def minutes(self) -> int:
        """The planned length."""
        return sum(one.minutes for one in self.questions)


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of the candidate and the interviewer's response.

    Turn 0 is the opening, without a message. `question_number` counts from 1 and names the question
    that the message belongs to. `gap` is what the response probes, or None. `feedback` scores all
    parts of the answer to that question so far. It is None if the message is no answer. `method` is
    how the response was worded.
    """

    number: int
    question_number: int
    intent: Intent
    message: str
    response: str
    created_at: datetime
    audio_s3_key: str | None = None
    idempotency_key: str | None = None
    gap: Gap | None = None
    feedback: Feedback | None = None
    method: WordingMethod = WordingMethod.RULES
    late_seconds: int = 0
    """By how much an answer exceeds the time limit, or 0."""
    interrupted_at: datetime | None = None
    """When the candidate began to answer before the response was over. None: never."""


@dataclass(frozen=True, slots=True)
class Interview:
    """An interview without its turns."""

    id: UUID
    user_id: UUID
    setup: InterviewSetup
    plan: InterviewPlan
    created_at: datetime
    updated_at: datetime
    status: InterviewStatus = InterviewStatus.IN_PROGRESS
    question_number: int = 1
    """The question that is open, counted from 1."""
    turn_count: int = 1
    """Stored turns, the opening included."""
    completed_at: datetime | None = None

    @property
    def current(self) -> PlannedQuestion:
        """The question that is open."""
        return self.plan.questions[self.question_number - 1]

    @property
    def is_last_question(self) -> bool:
        """True if no question follows the open one."""
        return self.question_number >= len(self.plan.questions)
