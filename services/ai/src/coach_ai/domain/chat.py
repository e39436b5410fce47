"""Conversations with the coach, and how long ones are shortened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from coach_ai.domain.feedback import PastSession

MAX_TITLE_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. `role` is `user` or `assistant`."""

    role: str
    text: str
    id: UUID | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation without its messages.

    `summary` replaces all messages up to and including the one with id `summarised_up_to_id`.
    """

    id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    summary: str = ""
    summarised_up_to_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A page of conversations. `next_before` is the key of the next page, or None."""

    conversations: list[Conversation]
    next_before: tuple[datetime, UUID] | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A conversation with a page of its messages, oldest first.

    `next_before` is the key of the page with older messages, or None.
    """

    conversation: Conversation
    messages: list[Message]
    next_before: UUID | None


@dataclass(frozen=True, slots=True)
class ChatContext:
    """The input of a chat reply. The last message is the user's.

    `summary` summarises the messages before `messages`.
    """

    messages: tuple[Message, ...]
    past_sessions: tuple[PastSession, ...] = ()
    summary: str = ""

    @property
    def last_user_message(self) -> str:
        """Text of the message to reply to."""
        return self.messages[-1].text


def make_title(message: str) -> str:
    """Return the first words of a message, at most 80 characters."""
    line = " ".join(message.split())
    if len(line) <= MAX_TITLE_CHARACTERS:
        return line
    return f"{line[: MAX_TITLE_CHARACTERS - 1].rsplit(' ', 1)[0]}…"


def estimate_tokens(text: str) -> int:
    """Return an upper estimate of the number of tokens: one per three bytes of UTF-8.

    OpenAI's rule of thumb for English is one token per four characters. Other scripts need more.
    """
    return len(text.encode()) // 3 + 4


def split_by_budget(
    messages: Sequence[Message], budget: int
) -> tuple[Sequence[Message], Sequence[Message]]:
    """Return the messages to summarise and the messages to keep verbatim.

    Nothing is summarised while all messages fit into `budget` tokens. Otherwise the newest messages
    that fit into half of it are kept, so that the conversation can continue for a while.
    """
    if sum(estimate_tokens(message.text) for message in messages) <= budget:
        return (), messages
    remaining, first_kept = budget // 2, len(messages)
    while first_kept and estimate_tokens(messages[first_kept - 1].text) <= remaining:
        first_kept -= 1
        remaining -= estimate_tokens(messages[first_kept].text)
    return messages[:first_kept], messages[first_kept:]


def extractive_summary(summary: str, messages: Sequence[Message], *, budget: int) -> str:
    """Return a summary made without a language model, of at most `budget` tokens.

    It consists of `summary` and one line per message with its first words. If they do not all fit,
    the newest lines are kept.
    """
    lines = summary.splitlines()
    for message in messages:
        label = "User" if message.role == "user" else "Coach"
        lines.append(f"{label}: {make_title(message.text)}")
    kept_lines: list[str] = []
    for line in reversed(lines):
        budget -= estimate_tokens(line)
        if budget < 0:
            break
        kept_lines.append(line)
    return "\n".join(reversed(kept_lines))
