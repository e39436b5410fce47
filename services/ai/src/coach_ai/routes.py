"""The routes of ai: parse, call, shape."""

from typing import Annotated

from fastapi import APIRouter, Request

from coach_ai.deps import Deps
from coach_ai.schemas import ChatMessage, ChatReply
from coach_ai.use_cases import chat as chatting
from coach_common.http.app import RetryingRoute
from coach_common.http.caller import Caller, FromApp
from coach_common.ids import parse_id

router = APIRouter(prefix="/ai", tags=["ai"], route_class=RetryingRoute)

AiDeps = Annotated[Deps, FromApp]


@router.post("/chat", responses={404: {}})
async def chat(body: ChatMessage, caller: Caller, deps: AiDeps, request: Request) -> ChatReply:
    """Talk with the interview coach; without a `conversation_id` a new conversation begins."""
    known = body.conversation_id
    reply = await chatting.chat(
        deps,
        caller,
        message=body.message,
        conversation_id=None if known is None else parse_id(known, what="Conversation"),
    )
    return ChatReply(
        reply=reply.text,
        conversation_id=str(reply.conversation_id),
        provider=request.app.state.provider,
    )
