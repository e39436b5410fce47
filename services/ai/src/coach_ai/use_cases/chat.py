"""Talking with the coach, and what is kept of it."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter, Histogram

from coach_ai.deps import Deps
from coach_ai.domain import (
    Conversation,
    ConversationPage,
    Message,
    MessagePage,
    PastSession,
    Talk,
    extract,
    split_by_budget,
    title_of,
)
from coach_ai.plain_text import PlainStream, clean
from coach_ai.store import answers, conversations, deletion
from coach_ai.use_cases import budget
from coach_common import logs
from coach_common.errors import CoachError, TooManyRequests, TransactionConflict, Unavailable
from coach_common.identity import Identity
from coach_common.ids import new_id

log = logs.get_logger(__name__)

TURNS = Counter(
    "coach_ai_chat_turns",
    "Turns by outcome: answered, failed, or left by the person before the end.",
    ["outcome"],
)
FIRST_PIECE_SECONDS = Histogram(
    "coach_ai_chat_first_piece_seconds",
    "From the question to the first words of the reply.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30),
)

_KNOWN_SESSIONS = 5
_MOST_MESSAGES = 400
_LONGEST_REPLY = 6000


@dataclass(frozen=True, slots=True)
class Turn:
    """The coach's turn: its conversation, and the reply as it is said.

    The turn is stored when its last piece was taken, whole or not at all: a reply that broke off,
    and one that the person did not stay for, leave nothing behind.
    """

    conversation_id: UUID
    pieces: AsyncGenerator[str, None]


async def take_turn(
    deps: Deps, caller: Identity, *, message: str, conversation_id: UUID | None
) -> Turn:
    """Say something to the coach, in a new conversation or in one of the caller's own.

    Returns once the reply has begun, so that what fails before is an ordinary error.
    """
    began = time.perf_counter()
    now = deps.clock()
    async with deps.db.read_only() as tx:
        past = await answers.list_past_sessions(tx, caller.user_id, limit=_KNOWN_SESSIONS)
        if conversation_id is None:
            conversation = Conversation(new_id(), title_of(clean(message)), now, now)
            said: list[Message] = []
        else:
            conversation = await conversations.get_conversation(tx, conversation_id, caller.user_id)
            said = await conversations.list_messages(
                tx, conversation_id, after=conversation.summarised_to, limit=_MOST_MESSAGES
            )
    asked = Message("user", message)
    try:
        conversation, recent = await _shortened(deps, caller, conversation, said)
        talk = Talk((*recent, asked), tuple(map(_shown, past)), conversation.summary)
        pieces = _plain(_replied(deps, caller, talk))
        first = await anext(pieces)
    except StopAsyncIteration:
        TURNS.labels("failed").inc()
        raise Unavailable("The coach gave no answer. Please try again.") from None
    except CoachError:
        TURNS.labels("failed").inc()
        raise
    FIRST_PIECE_SECONDS.observe(time.perf_counter() - began)
    is_new = conversation_id is None
    return Turn(
        conversation.id, _kept(deps, caller, conversation, asked, first, pieces, is_new=is_new)
    )


async def list_conversations(
    deps: Deps, caller: Identity, *, limit: int, before: tuple[datetime, UUID] | None
) -> ConversationPage:
    """Return the caller's conversations, the one used last first."""
    async with deps.db.read_only() as tx:
        found = await conversations.list_conversations(
            tx, caller.user_id, limit=limit + 1, before=before
        )
    last = found[limit - 1] if len(found) > limit else None
    return ConversationPage(found[:limit], None if last is None else (last.updated_at, last.id))


async def read_conversation(
    deps: Deps, caller: Identity, conversation_id: UUID, *, limit: int, before: UUID | None
) -> MessagePage:
    """Return what was said in a conversation of the caller's, the newest page first."""
    async with deps.db.read_only() as tx:
        conversation = await conversations.get_conversation(tx, conversation_id, caller.user_id)
        found = await conversations.list_messages(
            tx, conversation_id, limit=limit + 1, before=before
        )
    shown = found[-limit:]
    return MessagePage(conversation, shown, shown[0].id if len(found) > limit else None)


async def delete_conversation(deps: Deps, caller: Identity, conversation_id: UUID) -> None:
    """Erase a conversation of the caller's with all that was said in it."""
    async with deps.db.transaction() as tx:
        await conversations.erase_conversation(tx, conversation_id, caller.user_id)


async def _shortened(
    deps: Deps, caller: Identity, conversation: Conversation, said: list[Message]
) -> tuple[Conversation, list[Message]]:
    """Return the conversation with older turns summarised, and the turns to give as they were."""
    room = deps.chat_history_tokens
    older, recent = split_by_budget(said, room)
    if not older:
        return conversation, said
    work = Talk(tuple(older), summary=conversation.summary)
    try:
        async with budget.held(deps, caller.user_id, "summary", work) as spent:
            summary = await deps.coach.summarise(work.summary, older, spent, budget=room // 4)
    except (Unavailable, TooManyRequests):
        log.warning("chat.summarised_without_model")
        summary = extract(conversation.summary, older, budget=room // 4)
    return replace(conversation, summary=summary, summarised_to=older[-1].id), list(recent)


async def _replied(deps: Deps, caller: Identity, talk: Talk) -> AsyncGenerator[str, None]:
    """Yield the coach's reply within the person's budget for the day."""
    async with (
        budget.held(deps, caller.user_id, "chat", talk) as spent,
        aclosing(deps.coach.reply(talk, spent)) as pieces,
    ):
        async for piece in pieces:
            yield piece


async def _plain(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield what may be shown of the pieces, up to a bound; nothing empty."""
    stream = PlainStream()
    room = _LONGEST_REPLY
    async with aclosing(pieces):
        async for piece in pieces:
            if shown := stream.feed(piece)[:room]:
                room -= len(shown)
                yield shown
            if not room:
                return
    if rest := stream.end()[:room]:
        yield rest


async def _kept(
    deps: Deps,
    caller: Identity,
    conversation: Conversation,
    asked: Message,
    first: str,
    pieces: AsyncGenerator[str, None],
    *,
    is_new: bool,
) -> AsyncGenerator[str, None]:
    """Yield the reply and store the turn at its end."""
    outcome = "left"
    try:
        async with aclosing(pieces):
            reply = [first]
            yield first
            async for piece in pieces:
                reply.append(piece)
                yield piece
        replied = Message("assistant", "".join(reply))
        turn = [asked, replied]
        try:
            await _store(deps, caller, conversation, turn, is_new=is_new)
        except TransactionConflict:
            await _store(deps, caller, conversation, turn, is_new=is_new)
        outcome = "answered"
    except CoachError:
        outcome = "failed"
        raise
    finally:
        TURNS.labels(outcome).inc()


async def _store(
    deps: Deps, caller: Identity, conversation: Conversation, turn: list[Message], *, is_new: bool
) -> None:
    now = deps.clock()
    async with deps.db.transaction() as tx:
        if await deletion.is_gone(tx, caller.user_id):
            raise conversations.not_found()
        if is_new:
            await conversations.add_conversation(tx, conversation, caller.user_id)
        await conversations.mark_continued(tx, conversation, caller.user_id, at=now)
        await conversations.add_messages(tx, conversation.id, caller.user_id, turn, at=now)


def _shown(session: PastSession) -> PastSession:
    """A title is the person's own text, and comes back in what the coach says."""
    return replace(session, title=clean(session.title))
