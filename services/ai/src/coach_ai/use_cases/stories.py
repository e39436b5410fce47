"""The user's stories: create, list, replace, delete, and the questions that they answer."""

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from prometheus_client import Counter

from coach_ai.deps import Deps
from coach_ai.domain import Question, QuestionType, Story, StoryFit
from coach_ai.profile.similarity import StoryMatcher, Vectors
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.store import deletion, stories
from coach_ai.use_cases.profile_matching import EmbeddingsUnavailable
from coach_ai.use_cases.questions import get_question
from coach_common.errors import Unauthenticated
from coach_common.identity import Identity
from coach_common.ids import new_id

STORY_CHANGES = Counter("coach_ai_story_changes", "Changes of users' stories.", ["change"])

MIN_RELEVANCE = 0.9
"""Of a story to a question that it is suggested for."""
MAX_SUGGESTED_QUESTIONS = 5


@dataclass(frozen=True, slots=True)
class FittingStory:
    """A story, and how well it answers the question that was asked for. None without one."""

    story: Story
    fit: StoryFit | None = None


@dataclass(frozen=True, slots=True)
class FittingQuestion:
    """A question of the bank that a story answers."""

    question: Question
    fit: StoryFit


async def create_story(deps: Deps, caller: Identity, title: str, text: str) -> Story:
    """Store a story of the caller.

    Raises:
        TooManyStories: If the caller has the maximum number of stories.
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    now = deps.clock()
    story = Story(new_id(), title, text, now, now)
    vectors = await _encode(deps, text)
    async with deps.db.transaction() as tx:
        if await deletion.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        await stories.add_story(tx, caller.user_id, story, vectors)
    STORY_CHANGES.labels("created").inc()
    return story


async def replace_story(
    deps: Deps, caller: Identity, story_id: UUID, title: str, text: str
) -> Story:
    """Replace a story of the caller.

    Raises:
        StoryNotFound: If it does not exist or belongs to another user.
    """
    vectors = await _encode(deps, text)
    async with deps.db.transaction() as tx:
        stored, _ = await stories.get_story(tx, story_id, user_id=caller.user_id)
        story = replace(stored, title=title, text=text, updated_at=deps.clock())
        await stories.update_story(tx, caller.user_id, story, vectors)
    STORY_CHANGES.labels("replaced").inc()
    return story


async def delete_story(deps: Deps, caller: Identity, story_id: UUID) -> None:
    """Delete a story of the caller.

    Raises:
        StoryNotFound: If it does not exist or belongs to another user.
    """
    async with deps.db.transaction() as tx:
        await stories.delete_story(tx, story_id, caller.user_id)
    STORY_CHANGES.labels("deleted").inc()


async def list_stories(deps: Deps, caller: Identity, question_id: str | None) -> list[FittingStory]:
    """Return the caller's stories, newest first.

    With a question, return those that answer it, the most relevant one first.

    Raises:
        QuestionNotFound: If the question does not exist or belongs to another user.
        EmbeddingsUnavailable: If a question is given and the server has no embeddings.
    """
    question = None if question_id is None else await get_question(deps, caller, question_id)
    async with deps.db.read_only() as tx:
        owned = await stories.list_stories(tx, caller.user_id)
    if question is None:
        return [FittingStory(story) for story, _ in owned]
    encoded = [(story, await _complete(deps, story, vectors)) for story, vectors in owned]
    known = [(story, vectors) for story, vectors in encoded if vectors is not None]
    matcher = _get_matcher(deps)
    rows = await asyncio.to_thread(
        partial(
            matcher.match,
            [(story.text, vectors) for story, vectors in known],
            [question.text],
            is_fixed=False,
        )
    )
    fitting = [
        FittingStory(story, fit)
        for (story, _), (fit,) in zip(known, rows, strict=True)
        if fit.relevance >= MIN_RELEVANCE
    ]
    return sorted(fitting, key=lambda one: -one.fit.relevance if one.fit else 0)


async def list_fitting_questions(
    deps: Deps, caller: Identity, story_id: UUID
) -> list[FittingQuestion]:
    """Return the questions of the bank that a story answers, the most relevant one first.

    Raises:
        StoryNotFound: If it does not exist or belongs to another user.
        EmbeddingsUnavailable: If the server has no embeddings.
    """
    async with deps.db.read_only() as tx:
        story, stored = await stories.get_story(tx, story_id, user_id=caller.user_id)
    matcher = _get_matcher(deps)
    vectors = await _complete(deps, story, stored)
    if vectors is None:
        return []
    bank = await asyncio.to_thread(load_question_bank)
    asked = [one for one in bank.values() if one.type is QuestionType.STORY]
    (row,) = await asyncio.to_thread(
        partial(matcher.match, [(story.text, vectors)], [one.text for one in asked], is_fixed=True)
    )
    fitting = [
        FittingQuestion(question, fit)
        for question, fit in zip(asked, row, strict=True)
        if fit.relevance >= MIN_RELEVANCE
    ]
    return sorted(fitting, key=lambda one: -one.fit.relevance)[:MAX_SUGGESTED_QUESTIONS]


def _get_matcher(deps: Deps) -> StoryMatcher:
    matcher = deps.get_story_matcher()
    if matcher is None:
        raise EmbeddingsUnavailable
    return matcher


async def _encode(deps: Deps, text: str) -> Vectors | None:
    """Return the vectors of a text, or None if the server has no embeddings."""
    matcher = await asyncio.to_thread(deps.get_story_matcher)
    return None if matcher is None else await asyncio.to_thread(matcher.encode, text)


async def _complete(deps: Deps, story: Story, vectors: Vectors | None) -> Vectors | None:
    """Return the vectors of a story that was stored without embeddings too."""
    return vectors if vectors is not None else await _encode(deps, story.text)
