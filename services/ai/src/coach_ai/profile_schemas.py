"""Request and response bodies of the profile."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from coach_ai.domain import (
    MAX_PROFILE_TEXT_CHARACTERS,
    Accommodation,
    Profile,
    StoredProfile,
)
from coach_ai.profile.document_parser import ParsedDocument
from coach_ai.profile.index import ProfileIndex
from coach_ai.profile.matching import RequirementMatch
from coach_ai.profile.passages import Source
from coach_ai.use_cases.profile_matching import JobMatch
from coach_common.validation import MeasuredNumber

_Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
_ShortName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
_Text = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=MAX_PROFILE_TEXT_CHARACTERS)
]
MAX_SILENCE_SECONDS = 300
SilenceSeconds = Annotated[MeasuredNumber, Field(ge=0, le=MAX_SILENCE_SECONDS)]

_EXAMPLE: JsonDict = {
    "role": "Backend engineer",
    "target_role": "Senior backend engineer",
    "target_companies": ["Acme"],
    "years_of_experience": 6,
    "skills": ["Python", "PostgreSQL"],
    "resume": "I led the move of our billing service to Kubernetes.",
    "job_title": "Senior backend engineer",
    "job_description": "You have experience with Kubernetes.",
    "accommodations": ["pace"],
}


class ProfileRequest(BaseModel):
    """A profile. Every field is optional, and `PUT` replaces all of them."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [_EXAMPLE]})

    role: _Name = ""
    target_role: _Name = ""
    target_companies: Annotated[list[_ShortName], Field(max_length=20)] = []
    years_of_experience: Annotated[int, Field(ge=0, le=80)] | None = None
    skills: Annotated[list[_ShortName], Field(max_length=100)] = []
    resume: _Text = Field(default="", description="the résumé as plain text")
    job_title: _Name = ""
    job_description: _Text = Field(default="", description="the job description as plain text")
    accommodations: Annotated[list[Accommodation], Field(max_length=10)] = Field(
        default=[],
        description="what feedback neither mentions nor scores, for example because of a stutter"
        " or a second language",
    )
    silence_seconds: SilenceSeconds | None = Field(
        default=None,
        description="how long a silence may last in interviews before the interviewer speaks; 0:"
        " it never does; null: as the server is set",
    )

    def to_domain(self) -> Profile:
        """Return the profile. Repeated companies, skills and accommodations count once."""
        return Profile(
            role=self.role,
            target_role=self.target_role,
            target_companies=tuple(dict.fromkeys(self.target_companies)),
            years_of_experience=self.years_of_experience,
            skills=tuple(dict.fromkeys(self.skills)),
            resume=self.resume,
            job_title=self.job_title,
            job_description=self.job_description,
            accommodations=tuple(dict.fromkeys(self.accommodations)),
            silence_seconds=self.silence_seconds,
        )


class ProfileResponse(ProfileRequest):
    """The user's profile."""

    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_domain(cls, stored: StoredProfile) -> "ProfileResponse":
        """Convert a profile."""
        return cls.model_validate(
            asdict(stored.profile)
            | {"created_at": stored.created_at, "updated_at": stored.updated_at}
        )


class ResumeResponse(BaseModel):
    """What was read from a résumé. The file itself is not stored."""

    profile: ProfileResponse
    pages: int
    characters: int = Field(description="of the text that is stored as `resume`")
    is_truncated: bool = Field(description="true if the rest of a longer text was left out")

    @classmethod
    def from_domain(cls, stored: StoredProfile, document: ParsedDocument) -> "ResumeResponse":
        """Convert a profile and the document that its résumé is from."""
        return cls(
            profile=ProfileResponse.from_domain(stored),
            pages=document.pages,
            characters=len(document.text),
            is_truncated=document.is_truncated,
        )


class ProfileIndexResponse(BaseModel):
    """How many sentences of the profile can be compared."""

    resume_passages: int
    job_description_passages: int

    @classmethod
    def from_domain(cls, index: ProfileIndex) -> "ProfileIndexResponse":
        """Convert an index."""
        sources = [one.source for one in index.passages]
        return cls(
            resume_passages=sources.count(Source.RESUME),
            job_description_passages=sources.count(Source.JOB_DESCRIPTION),
        )


class RequirementEvidence(BaseModel):
    """A sentence that shows a requirement, verbatim."""

    quote: str
    source: Literal["resume", "answer"]
    session_id: UUID | None = Field(description="session or interview of an answer, else null")
    similarity: float = Field(ge=-1, le=1, description="cosine of the sentence embeddings")


class MatchedRequirement(BaseModel):
    """A requirement of the job description, and what shows it."""

    requirement: str
    status: Literal["shown", "not_shown"]
    evidence: RequirementEvidence | None = Field(description="null if nothing is similar enough")

    @classmethod
    def from_domain(cls, match: RequirementMatch) -> "MatchedRequirement":
        """Convert a match."""
        found = match.evidence
        if found is None:
            return cls(requirement=match.requirement, status="not_shown", evidence=None)
        return cls(
            requirement=match.requirement,
            status="shown",
            evidence=RequirementEvidence(
                quote=found.passage.text,
                source="resume" if found.passage.source is Source.RESUME else "answer",
                session_id=found.passage.session_id,
                similarity=round(found.similarity, 3),
            ),
        )


class JobMatchResponse(BaseModel):
    """The requirements of the job description in their order."""

    requirements: list[MatchedRequirement]
    shown_count: int
    answer_count: int = Field(description="answers that were compared, the newest ones")

    @classmethod
    def from_domain(cls, match: JobMatch) -> "JobMatchResponse":
        """Convert a match."""
        requirements = [MatchedRequirement.from_domain(one) for one in match.requirements]
        return cls(
            requirements=requirements,
            shown_count=sum(one.status == "shown" for one in requirements),
            answer_count=match.answer_count,
        )
