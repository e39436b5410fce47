"""The HTTP routes of what to practise next: suggestions, sets, bookmarks, notes, points."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from coach_ai.deps import Deps
from coach_ai.practice.point_proposal import propose_points
from coach_ai.practice_schemas import (
    NextQuestionFilter,
    PointProposal,
    PointProposalRequest,
    QuestionCollectionList,
    QuestionSetDetails,
    QuestionSetList,
    QuestionSetSummary,
    SuggestedQuestion,
    WeakPointsFilter,
)
from coach_ai.question_schemas import (
    Bookmark,
    BookmarkRequest,
    InterviewNote,
    InterviewNoteRequest,
)
from coach_ai.use_cases import bookmarks, interview_notes, practice
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import CurrentUser, inject_deps

router = APIRouter(prefix="/questions", tags=["questions"], route_class=RetryOnConflictRoute)

AiDeps = Annotated[Deps, inject_deps(Deps)]


@router.get("/next", responses={404: {}})
async def get_next_question(
    caller: CurrentUser, deps: AiDeps, query: Annotated[NextQuestionFilter, Query()]
) -> SuggestedQuestion:
    """Return the question to practise next, with the reason.

    Due questions come first, weak ones before others, then new ones. The question that was asked or
    answered last is left out. The request changes nothing.
    """
    return SuggestedQuestion.from_suggestion(
        await practice.choose_next_question(deps, caller, query.to_domain())
    )


@router.get("/sets")
async def list_question_sets(caller: CurrentUser, deps: AiDeps) -> QuestionSetList:
    """List the sets of questions that ship, with the caller's progress."""
    sets = await practice.list_sets(deps, caller)
    return QuestionSetList(sets=[QuestionSetSummary.from_domain(one) for one in sets])


@router.get("/sets/weak-points")
async def get_weak_points_set(
    caller: CurrentUser, deps: AiDeps, query: Annotated[WeakPointsFilter, Query()]
) -> QuestionSetDetails:
    """Return a set aimed at the caller's weak points, weakest question first.

    It is computed from the answers so far. New questions fill it up.
    """
    return QuestionSetDetails.from_domain(
        await practice.choose_weak_points_set(
            deps, caller, query.to_conditions(), count=query.count
        )
    )


@router.get("/sets/{set_id}")
async def get_question_set(set_id: str, caller: CurrentUser, deps: AiDeps) -> QuestionSetDetails:
    """Return a set with the caller's state of each question."""
    return QuestionSetDetails.from_domain(await practice.get_set(deps, caller, set_id))


@router.get("/collections")
async def list_question_collections(caller: CurrentUser, deps: AiDeps) -> QuestionCollectionList:
    """List the collections of the caller's bookmarks."""
    return QuestionCollectionList.from_counts(await bookmarks.count_collections(deps, caller))


@router.post("/proposed-points")
async def propose_expected_points(body: PointProposalRequest, caller: CurrentUser) -> PointProposal:
    """Propose expected points from a model answer. Nothing is stored.

    The points are its sentences, chosen by rule. Edit them before you save the question.
    """
    return PointProposal.from_domain(propose_points(body.model_answer))


@router.put("/{question_id}/bookmark", responses={409: {}})
async def save_bookmark(
    question_id: str, body: BookmarkRequest, caller: CurrentUser, deps: AiDeps
) -> Bookmark:
    """Mark a question, with a note and collections. At most 500 bookmarks per user."""
    bookmark = await bookmarks.save_bookmark(
        deps, caller, question_id, note=body.note or None, collections=body.collections
    )
    return Bookmark.from_domain(bookmark)


@router.delete("/{question_id}/bookmark", status_code=204)
async def delete_bookmark(question_id: str, caller: CurrentUser, deps: AiDeps) -> Response:
    """Delete the caller's bookmark of a question, if there is one."""
    await bookmarks.delete_bookmark(deps, caller, question_id)
    return Response(status_code=204)


@router.put("/{question_id}/interview-note", responses={409: {}})
async def save_interview_note(
    question_id: str, body: InterviewNoteRequest, caller: CurrentUser, deps: AiDeps
) -> InterviewNote:
    """Note that a real interviewer asked this question of the bank. It is then preferred.

    With the consent to `improvement` the note is counted in `asked_people` for all users. An own
    question has the fields `asked_at` and `asked_by` instead (409 `is_own_question`).
    """
    note = await interview_notes.save_note(
        deps, caller, question_id, body.to_domain(today=deps.clock().date())
    )
    return InterviewNote(asked_at=note.asked_at, asked_by=note.asked_by)


@router.delete("/{question_id}/interview-note", status_code=204)
async def delete_interview_note(question_id: str, caller: CurrentUser, deps: AiDeps) -> Response:
    """Delete the caller's note of a question, if there is one."""
    await interview_notes.delete_note(deps, caller, question_id)
    return Response(status_code=204)
