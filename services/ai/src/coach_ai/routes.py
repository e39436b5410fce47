"""The routes of ai: parse, call, shape."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from coach_ai import quality
from coach_ai.deps import Deps
from coach_ai.schemas import (
    CURSOR,
    ChatMessage,
    ChatReply,
    ConversationOut,
    ConversationsOut,
    QualityCard,
)
from coach_ai.use_cases import chat as chatting
from coach_common import logs
from coach_common.errors import CoachError
from coach_common.http import problems
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.cursor import decode_cursor
from coach_common.http.dependencies import CurrentUser, inject_deps
from coach_common.ids import parse_id

log = logs.get_logger(__name__)

router = APIRouter(tags=["ai"], route_class=RetryOnConflictRoute)

AiDeps = Annotated[Deps, inject_deps(Deps)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=100)]

_STREAM = "text/event-stream"
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            _STREAM: {
                "schema": {
                    "type": "string",
                    "description": "`event: delta` with {text}, again and again; then `event: done`"
                    " with {conversation_id, provider}, or `event: error` with a problem.",
                }
            }
        }
    }
}


@router.get("/quality")
async def read_quality() -> QualityCard:
    """Return how well this version judges, hears and measures, as it was last counted."""
    return QualityCard.model_validate(quality.card())


@router.post("/ai/chat", response_model=ChatReply, responses=_STREAMED | {404: {}})
async def chat(
    body: ChatMessage,
    caller: CurrentUser,
    deps: AiDeps,
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response | ChatReply:
    """Talk with the interview coach; without a `conversation_id` a new conversation begins.

    With `Accept: text/event-stream` the reply comes as it is said. A turn is stored whole, when
    its reply is; one that broke off, or that nobody stayed for, leaves nothing behind.
    """
    known = body.conversation_id
    turn = await chatting.take_turn(
        deps,
        caller,
        message=body.message,
        conversation_id=None if known is None else parse_id(known, resource="Conversation"),
    )
    provider = request.app.state.provider
    if _wants_stream(accept):
        return StreamingResponse(
            _frames(turn, provider), media_type=_STREAM, headers={"x-accel-buffering": "no"}
        )
    reply = "".join([piece async for piece in turn.pieces])
    return ChatReply(reply=reply, conversation_id=str(turn.conversation_id), provider=provider)


@router.get("/ai/conversations")
async def list_conversations(
    caller: CurrentUser, deps: AiDeps, limit: Limit = 50, cursor: Cursor = None
) -> ConversationsOut:
    """List the caller's conversations with the coach, the one used last first."""
    before = None if cursor is None else decode_cursor(cursor, caller.user_id, list_name=CURSOR)
    page = await chatting.list_conversations(deps, caller, limit=limit, before=before)
    return ConversationsOut.of(page, caller.user_id)


@router.get("/ai/conversations/{conversation_id}")
async def read_conversation(
    conversation_id: str,
    caller: CurrentUser,
    deps: AiDeps,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> ConversationOut:
    """Return what was said, oldest first: the newest page, and `next_cursor` to go back."""
    said = await chatting.read_conversation(
        deps,
        caller,
        parse_id(conversation_id, resource="Conversation"),
        limit=limit,
        before=None if cursor is None else parse_id(cursor, resource="Page"),
    )
    return ConversationOut.with_messages(said)


@router.delete("/ai/conversations/{conversation_id}", status_code=204)
async def delete_conversation(conversation_id: str, caller: CurrentUser, deps: AiDeps) -> Response:
    """Erase a conversation with all that was said in it."""
    await chatting.delete_conversation(
        deps, caller, parse_id(conversation_id, resource="Conversation")
    )
    return Response(status_code=204)


def _wants_stream(accept: str) -> bool:
    return any(part.split(";")[0].strip().lower() == _STREAM for part in accept.split(","))


async def _frames(turn: chatting.Turn, provider: str) -> AsyncIterator[bytes]:
    """Yield the turn as server-sent events, of which each is one line of JSON."""
    try:
        async with aclosing(turn.pieces):
            async for piece in turn.pieces:
                yield _frame("delta", {"text": piece})
    except CoachError as error:
        status = problems.http_status(error)
        log.warning("chat.broke_off", code=error.code)
        yield _frame("error", problems.problem_body(status, str(error), code=error.code))
        return
    done = {"conversation_id": str(turn.conversation_id), "provider": provider}
    yield _frame("done", done)


def _frame(event: str, data: dict[str, Any]) -> bytes:
    # JSON in ASCII has no line break of any kind, so no text can end a frame or begin one.
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()
