"""Stories of users: experiences that can answer questions."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from coach_common.errors import Conflict, NotFound

MAX_STORIES = 100
MAX_STORY_CHARACTERS = 4_000


class StoryNotFound(NotFound):
    """The story does not exist or belongs to another user."""

    code = "story_not_found"

    def __init__(self) -> None:
        super().__init__("Story not found")


class TooManyStories(Conflict):
    """The user has as many stories as a user can have."""

    code = "too_many_stories"

    def __init__(self) -> None:
        super().__init__(f"You can have at most {MAX_STORIES} stories.")


@dataclass(frozen=True, slots=True)
class Story:
    """An experience in the user's own words."""

    id: UUID
    title: str
    text: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoryFit:
    """How well a story answers a question. `quote` is its sentence nearest to the question.

    `relevance` is the probability, 0 to 1, that the story is meant for the question.
    """

    relevance: float
    quote: str
