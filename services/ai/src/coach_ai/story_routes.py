"""The HTTP routes of stories."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from coach_ai.deps import Deps
from coach_ai.domain import StoryNotFound
from coach_ai.story_schemas import StoryList, StoryQuestionList, StoryRequest, StoryResponse
from coach_ai.use_cases import stories
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import CurrentUser, inject_deps
from coach_common.ids import parse_id

router = APIRouter(
    prefix="/ai-interview/stories", tags=["profile"], route_class=RetryOnConflictRoute
)

AiDeps = Annotated[Deps, inject_deps(Deps)]


@router.get("", responses={404: {}})
async def list_stories(
    caller: CurrentUser,
    deps: AiDeps,
    question_id: Annotated[str | None, Query(max_length=64)] = None,
) -> StoryList:
    """List the caller's stories, newest first.

    With `question_id` list those that suit this question, the most relevant one first.
    """
    return StoryList.from_domain(await stories.list_stories(deps, caller, question_id or None))


@router.post("", status_code=201, responses={409: {}})
async def create_story(body: StoryRequest, caller: CurrentUser, deps: AiDeps) -> StoryResponse:
    """Create a story. At most 100 per user."""
    story = await stories.create_story(deps, caller, body.title, body.text)
    return StoryResponse.from_domain(story)


@router.put("/{story_id}")
async def replace_story(
    story_id: str, body: StoryRequest, caller: CurrentUser, deps: AiDeps
) -> StoryResponse:
    """Replace a story of the caller."""
    parsed = _parse_story_id(story_id)
    story = await stories.replace_story(deps, caller, parsed, body.title, body.text)
    return StoryResponse.from_domain(story)


@router.delete("/{story_id}", status_code=204)
async def delete_story(story_id: str, caller: CurrentUser, deps: AiDeps) -> Response:
    """Delete a story of the caller."""
    await stories.delete_story(deps, caller, _parse_story_id(story_id))
    return Response(status_code=204)


@router.get("/{story_id}/questions")
async def list_story_questions(
    story_id: str, caller: CurrentUser, deps: AiDeps
) -> StoryQuestionList:
    """List the questions of the bank that a story can answer, at most five."""
    found = await stories.list_fitting_questions(deps, caller, _parse_story_id(story_id))
    return StoryQuestionList.from_domain(found)


def _parse_story_id(text: str) -> UUID:
    return parse_id(text, not_found=StoryNotFound)
