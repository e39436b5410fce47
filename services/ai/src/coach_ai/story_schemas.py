"""Request and response bodies of stories."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from coach_ai.domain import MAX_STORY_CHARACTERS, Story, StoryFit
from coach_ai.use_cases.stories import FittingQuestion, FittingStory


class StoryRequest(BaseModel):
    """A story of the user. `PUT` replaces all of it."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {"title": "The expired certificate", "text": "Our shop went down at night."}
            ]
        },
    )

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_STORY_CHARACTERS),
    ]


class Fit(BaseModel):
    """How well a story answers a question, and why."""

    relevance: float = Field(ge=0, le=1, description="probability that it is meant for it")
    quote: str = Field(description="the sentence of the story that is nearest to the question")
    reason: str

    @classmethod
    def from_domain(cls, fit: StoryFit) -> "Fit":
        """Convert a fit."""
        return cls(
            relevance=round(fit.relevance, 3),
            quote=fit.quote,
            reason=f"“{fit.quote}” is the sentence of the story that is nearest to the question.",
        )


class StoryResponse(BaseModel):
    """A story of the user."""

    id: UUID
    title: str
    text: str
    created_at: datetime
    updated_at: datetime
    fit: Fit | None = Field(description="null unless `question_id` is given")

    @classmethod
    def from_domain(cls, story: Story, fit: StoryFit | None = None) -> "StoryResponse":
        """Convert a story."""
        return cls(
            id=story.id,
            title=story.title,
            text=story.text,
            created_at=story.created_at,
            updated_at=story.updated_at,
            fit=None if fit is None else Fit.from_domain(fit),
        )


class StoryList(BaseModel):
    """Stories of the user."""

    stories: list[StoryResponse]

    @classmethod
    def from_domain(cls, found: list[FittingStory]) -> "StoryList":
        """Convert stories."""
        return cls(stories=[StoryResponse.from_domain(one.story, one.fit) for one in found])


class StoryQuestion(BaseModel):
    """A question of the bank that a story can answer."""

    question_id: str
    question: str
    fit: Fit


class StoryQuestionList(BaseModel):
    """The questions that a story can answer, the most relevant one first."""

    questions: list[StoryQuestion]

    @classmethod
    def from_domain(cls, found: list[FittingQuestion]) -> "StoryQuestionList":
        """Convert questions."""
        return cls(
            questions=[
                StoryQuestion(
                    question_id=one.question.id,
                    question=one.question.text,
                    fit=Fit.from_domain(one.fit),
                )
                for one in found
            ]
        )
