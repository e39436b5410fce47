"""The HTTP routes of ai."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from coach_ai import quality
from coach_ai.consent import current_provider
from coach_ai.deps import Deps
from coach_ai.question_schemas import (
    Question,
    QuestionFilter,
    QuestionPage,
    QuestionRequest,
    QuestionTextResponse,
)
from coach_ai.schemas import (
    CONVERSATION_LIST_NAME,
    ChatRequest,
    ChatResponse,
    Conversation,
    ConversationPage,
    QualityReport,
)
from coach_ai.use_cases import bookmarks, chat, disputes, questions
from coach_common import logs
from coach_common.errors import CoachError
from coach_common.http import problems
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.cursor import decode_cursor
from coach_common.http.dependencies import CurrentUser, inject_deps
from coach_common.ids import parse_id

log = logs.get_logger(__name__)

router = APIRouter(tags=["ai"], route_class=RetryOnConflictRoute)

questions_router = APIRouter(
    prefix="/questions", tags=["questions"], route_class=RetryOnConflictRoute
)
internal_router = APIRouter(prefix="/internal", include_in_schema=False)

AiDeps = Annotated[Deps, inject_deps(Deps)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=100)]

_EVENT_STREAM = "text/event-stream"
_STREAM_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            _EVENT_STREAM: {
                "schema": {
                    "type": "string",
                    "description": "`event: delta` with {text}, repeated; then `event: done` with"
                    " {conversation_id, provider}, or `event: error` with a problem.",
                }
            }
        }
    }
}


@router.get("/quality")
async def get_quality_report(deps: AiDeps) -> QualityReport:
    """Return how well this version scores, transcribes and measures.

    `disputes` counts the disputed scores of this deployment.
    """
    counts = await disputes.count_disputes(deps)
    disputed = None if counts is None else {"total": counts[0], "changed": counts[1]}
    return QualityReport.model_validate(quality.load_report() | {"disputes": disputed})


@router.post("/ai/chat", response_model=ChatResponse, responses=_STREAM_RESPONSES | {404: {}})
async def send_chat_message(
    body: ChatRequest,
    caller: CurrentUser,
    deps: AiDeps,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response | ChatResponse:
    """Send a message to the interview coach. Without a `conversation_id` a conversation starts.

    With `Accept: text/event-stream` the reply is streamed. The turn is stored only after the whole
    reply was sent. Failed or abandoned replies are not stored.
    """
    conversation_id = body.conversation_id
    turn = await chat.start_turn(
        deps,
        caller,
        message=body.message,
        conversation_id=None
        if conversation_id is None
        else parse_id(conversation_id, resource="Conversation"),
    )
    if _accepts_event_stream(accept):
        return StreamingResponse(
            _event_stream(turn, current_provider(deps.provider)),
            media_type=_EVENT_STREAM,
            headers={"x-accel-buffering": "no"},
        )
    reply = "".join([piece async for piece in turn.pieces])
    return ChatResponse(
        reply=reply,
        conversation_id=str(turn.conversation_id),
        provider=current_provider(deps.provider),
    )


@router.get("/ai/conversations")
async def list_conversations(
    caller: CurrentUser, deps: AiDeps, limit: Limit = 50, cursor: Cursor = None
) -> ConversationPage:
    """List the caller's conversations with the coach, most recently used first."""
    before = None
    if cursor is not None:
        before = decode_cursor(cursor, caller.user_id, list_name=CONVERSATION_LIST_NAME)
    page = await chat.list_conversations(deps, caller, limit=limit, before=before)
    return ConversationPage.from_domain(page, caller.user_id)


@router.get("/ai/conversations/{conversation_id}")
async def get_conversation(
    conversation_id: str,
    caller: CurrentUser,
    deps: AiDeps,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Conversation:
    """Return a conversation with its newest messages, oldest first.

    `next_cursor` leads to the page with older messages.
    """
    page = await chat.get_conversation(
        deps,
        caller,
        parse_id(conversation_id, resource="Conversation"),
        limit=limit,
        before=None if cursor is None else parse_id(cursor, resource="Page"),
    )
    return Conversation.from_page(page)


@router.delete("/ai/conversations/{conversation_id}", status_code=204)
async def delete_conversation(conversation_id: str, caller: CurrentUser, deps: AiDeps) -> Response:
    """Delete a conversation with its messages."""
    await chat.delete_conversation(deps, caller, parse_id(conversation_id, resource="Conversation"))
    return Response(status_code=204)


@questions_router.get("")
async def list_questions(
    caller: CurrentUser,
    deps: AiDeps,
    query: Annotated[QuestionFilter, Query()],
) -> QuestionPage:
    """List the caller's own questions, newest first, then the question bank.

    With `sort=asked`, questions that people were asked in real interviews come first. If a number
    changes between two pages, a question may be missing or occur twice.
    """
    page = await questions.list_questions(
        deps,
        caller,
        query.to_domain(),
        limit=query.limit,
        after=query.cursor or None,
        is_most_asked_first=query.sort == "asked",
    )
    return QuestionPage.from_domain(page)


@questions_router.get("/{question_id}")
async def get_question(question_id: str, caller: CurrentUser, deps: AiDeps) -> Question:
    """Return a question of the bank or of the caller."""
    return Question.from_domain(*await questions.get_marked_question(deps, caller, question_id))


@questions_router.post("", status_code=201, responses={409: {}})
async def create_question(body: QuestionRequest, caller: CurrentUser, deps: AiDeps) -> Question:
    """Create a question. At most 200 per user."""
    return Question.from_domain(await questions.create_question(deps, caller, body.to_domain()))


@questions_router.put("/{question_id}")
async def update_question(
    question_id: str, body: QuestionRequest, caller: CurrentUser, deps: AiDeps
) -> Question:
    """Replace a question of the caller. Existing sessions keep the former one."""
    question = await questions.update_question(deps, caller, question_id, body.to_domain())
    bookmark = await bookmarks.find_bookmark(deps, caller, question.id)
    return Question.from_domain(question, bookmark)


@questions_router.delete("/{question_id}", status_code=204)
async def delete_question(question_id: str, caller: CurrentUser, deps: AiDeps) -> Response:
    """Delete a question of the caller. Existing sessions keep it."""
    await questions.delete_question(deps, caller, question_id)
    return Response(status_code=204)


@internal_router.get("/questions/{question_id}")
async def get_question_text(
    question_id: str, caller: CurrentUser, deps: AiDeps
) -> QuestionTextResponse:
    """Return the text of a question that the caller may use. For the sessions service."""
    question = await questions.get_question(deps, caller, question_id)
    return QuestionTextResponse(id=question.id, text=question.text)


def _accepts_event_stream(accept: str) -> bool:
    return any(part.split(";")[0].strip().lower() == _EVENT_STREAM for part in accept.split(","))


async def _event_stream(turn: chat.ChatTurn, provider: str) -> AsyncIterator[bytes]:
    """Yield the turn as server-sent events: `delta` events, then `done` or `error`."""
    try:
        async with aclosing(turn.pieces):
            async for piece in turn.pieces:
                yield _encode_event("delta", {"text": piece})
    except CoachError as error:
        status = problems.http_status(error)
        log.warning("chat.stream_failed", code=error.code)
        yield _encode_event("error", problems.problem_body(status, str(error), code=error.code))
        return
    done = {"conversation_id": str(turn.conversation_id), "provider": provider}
    yield _encode_event("done", done)


def _encode_event(event: str, data: Mapping[str, object]) -> bytes:
    # ASCII JSON contains no line breaks, so text cannot end an event or start another.
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()
