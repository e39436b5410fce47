"""Chat with the coach, and the stored conversations."""

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter, Histogram

from coach_ai.chat.sanitizer import StreamingSanitizer, sanitize
from coach_ai.deps import Deps
from coach_ai.domain import (
    ChatContext,
    Conversation,
    ConversationPage,
    Message,
    MessagePage,
    PastSession,
    extractive_summary,
    make_title,
    split_by_budget,
)
from coach_ai.store import answers, conversations, deletion
from coach_ai.use_cases import budget
from coach_common import logs
from coach_common.errors import CoachError, TooManyRequests, TransactionConflict, Unavailable
from coach_common.identity import Identity
from coach_common.ids import new_id

log = logs.get_logger(__name__)

TURNS = Counter(
    "coach_ai_chat_turns",
    "Chat turns by outcome: answered, failed, or abandoned by the client.",
    ["outcome"],
)
FIRST_TOKEN_SECONDS = Histogram(
    "coach_ai_chat_first_token_seconds",
    "Time from the user's message to the first text of the reply.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30),
)

_MAX_PAST_SESSIONS = 5
_MAX_HISTORY_MESSAGES = 400
_MAX_REPLY_CHARACTERS = 6000


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """A reply that is being generated.

    The turn is stored only after all of `pieces` was consumed. Failed or abandoned replies are not
    stored.
    """

    conversation_id: UUID
    pieces: AsyncGenerator[str, None]


async def start_turn(
    deps: Deps, caller: Identity, *, message: str, conversation_id: UUID | None
) -> ChatTurn:
    """Send a message to the coach, in a new conversation or in one of the caller's.

    Waits for a turn of the same user that runs, so that it sees that turn's reply.

    Returns once the first piece of the reply has arrived, so that earlier failures are ordinary
    HTTP errors.

    Raises:
        NotFound: If the conversation does not exist or belongs to another user.
        TooManyRequests: If the caller's daily token budget is spent, or other turns of the caller
            run for too long.
        Unavailable: If the provider cannot reply now.
    """
    async with AsyncExitStack() as cleanup:
        await cleanup.enter_async_context(deps.chat_turns.enter(caller.user_id))
        started_at = time.perf_counter()
        conversation, history, past = await _load_history(
            deps, caller, message=message, conversation_id=conversation_id
        )
        user_message = Message("user", message)
        try:
            conversation, recent = await _summarise_history(deps, caller, conversation, history)
            context = ChatContext(
                (*recent, user_message), tuple(map(_sanitise_title, past)), conversation.summary
            )
            pieces = _sanitise(_reply_within_budget(deps, caller, context))
            first_piece = await anext(pieces)
        except StopAsyncIteration:
            TURNS.labels("failed").inc()
            raise Unavailable("The coach returned no reply. Please try again.") from None
        except CoachError:
            TURNS.labels("failed").inc()
            raise
        FIRST_TOKEN_SECONDS.observe(time.perf_counter() - started_at)
        turn = _store_when_complete(
            deps,
            caller,
            conversation,
            user_message,
            first_piece,
            pieces,
            is_new=conversation_id is None,
            cleanup=cleanup.pop_all(),
        )
        # A generator that was not started runs no cleanup when it is dropped.
        await anext(turn)
        return ChatTurn(conversation.id, turn)


async def list_conversations(
    deps: Deps, caller: Identity, *, limit: int, before: tuple[datetime, UUID] | None
) -> ConversationPage:
    """Return the caller's conversations, most recently used first."""
    async with deps.db.read_only() as tx:
        found = await conversations.list_conversations(
            tx, caller.user_id, limit=limit + 1, before=before
        )
    last = found[limit - 1] if len(found) > limit else None
    return ConversationPage(found[:limit], None if last is None else (last.updated_at, last.id))


async def get_conversation(
    deps: Deps, caller: Identity, conversation_id: UUID, *, limit: int, before: UUID | None
) -> MessagePage:
    """Return the caller's conversation with its newest messages, or those before `before`.

    Raises:
        NotFound: If the conversation does not exist or belongs to another user.
    """
    async with deps.db.read_only() as tx:
        conversation = await conversations.get_conversation(tx, conversation_id, caller.user_id)
        messages = await conversations.list_messages(
            tx, conversation_id, limit=limit + 1, before=before
        )
    page = messages[-limit:]
    return MessagePage(conversation, page, page[0].id if len(messages) > limit else None)


async def delete_conversation(deps: Deps, caller: Identity, conversation_id: UUID) -> None:
    """Delete the caller's conversation with its messages.

    Raises:
        NotFound: If the conversation does not exist or belongs to another user.
    """
    async with deps.db.transaction() as tx:
        await conversations.erase_conversation(tx, conversation_id, caller.user_id)


async def _load_history(
    deps: Deps, caller: Identity, *, message: str, conversation_id: UUID | None
) -> tuple[Conversation, list[Message], list[PastSession]]:
    """Return the conversation, new or stored, its messages, and the caller's past sessions."""
    now = deps.clock()
    async with deps.db.read_only() as tx:
        past = await answers.list_past_sessions(tx, caller.user_id, limit=_MAX_PAST_SESSIONS)
        if conversation_id is None:
            return Conversation(new_id(), make_title(sanitize(message)), now, now), [], past
        conversation = await conversations.get_conversation(tx, conversation_id, caller.user_id)
        history = await conversations.list_messages(
            tx,
            conversation_id,
            after=conversation.summarised_up_to_id,
            limit=_MAX_HISTORY_MESSAGES,
        )
    return conversation, history, past


async def _summarise_history(
    deps: Deps, caller: Identity, conversation: Conversation, history: list[Message]
) -> tuple[Conversation, list[Message]]:
    """Return the conversation with older messages summarised, and the messages kept verbatim.

    If the provider or the budget does not allow a summary, an extractive one is made.
    """
    budget_tokens = deps.chat_history_tokens
    older, recent = split_by_budget(history, budget_tokens)
    if not older:
        return conversation, history
    context = ChatContext(tuple(older), summary=conversation.summary)
    max_tokens = deps.chat.max_tokens_needed(context)
    try:
        async with budget.reserve_budget(deps, caller.user_id, "summary", max_tokens) as usage:
            summary = await deps.chat.summarise(
                context.summary, older, usage, budget=budget_tokens // 4
            )
    except (Unavailable, TooManyRequests):
        log.warning("chat.summarised_without_model")
        summary = extractive_summary(conversation.summary, older, budget=budget_tokens // 4)
    shortened = replace(conversation, summary=summary, summarised_up_to_id=older[-1].id)
    return shortened, list(recent)


async def _reply_within_budget(
    deps: Deps, caller: Identity, context: ChatContext
) -> AsyncGenerator[str, None]:
    """Yield the coach's reply while its tokens are reserved in the caller's daily budget."""
    max_tokens = deps.chat.max_tokens_needed(context)
    async with (
        budget.reserve_budget(deps, caller.user_id, "chat", max_tokens) as usage,
        aclosing(deps.chat.reply(context, usage)) as pieces,
    ):
        async for piece in pieces:
            yield piece


async def _sanitise(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield the sanitised text in non-empty pieces, up to the maximum length of a reply."""
    sanitizer = StreamingSanitizer()
    remaining = _MAX_REPLY_CHARACTERS
    async with aclosing(pieces):
        async for piece in pieces:
            if text := sanitizer.feed(piece)[:remaining]:
                remaining -= len(text)
                yield text
            if not remaining:
                return
    if rest := sanitizer.flush()[:remaining]:
        yield rest


async def _store_when_complete(
    deps: Deps,
    caller: Identity,
    conversation: Conversation,
    user_message: Message,
    first_piece: str,
    pieces: AsyncGenerator[str, None],
    *,
    is_new: bool,
    cleanup: AsyncExitStack,
) -> AsyncGenerator[str, None]:
    """Yield an empty piece, then the reply, and store the turn after its last piece.

    Runs `cleanup` at the end.
    """
    outcome = "abandoned"
    try:
        async with cleanup:
            async with aclosing(pieces):
                yield ""
                reply = [first_piece]
                yield first_piece
                async for piece in pieces:
                    reply.append(piece)
                    yield piece
            turn = [user_message, Message("assistant", "".join(reply))]
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
        if await deletion.is_deleted(tx, caller.user_id):
            raise conversations.conversation_not_found()
        if is_new:
            await conversations.add_conversation(tx, conversation, caller.user_id)
        await conversations.update_conversation(tx, conversation, caller.user_id, at=now)
        await conversations.add_messages(tx, conversation.id, caller.user_id, turn, at=now)


def _sanitise_title(session: PastSession) -> PastSession:
    """Sanitise the title: the user wrote it, and the coach's reply may repeat it."""
    return replace(session, title=sanitize(session.title))
