"""Dead letters for operators: list, show, replay and drop them, the same way on both brokers."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from coach_common.errors import InvalidInput
from coach_common.events.base import Envelope


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a consumer could not apply.

    Attributes:
        queue: The work queue of the consumer.
        reason: Why the last attempt failed. Empty if the broker does not know.
        dead_at: When it became a dead letter. None for one of an older release on RabbitMQ.
        event: The event. None if the body is none.
    """

    queue: str
    reason: str
    dead_at: datetime | None
    event: Envelope | None

    @property
    def id(self) -> UUID | None:
        """The id of the event."""
        return None if self.event is None else self.event.id

    @property
    def type(self) -> str:
        """The type of the event."""
        return "unreadable" if self.event is None else self.event.type


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters a command works on. None selects all queues, or all ids."""

    queue: str | None = None
    ids: Collection[UUID] | None = None

    def includes(self, queue: str, event: Envelope | None) -> bool:
        """Return whether a dead letter is selected."""
        if self.queue is not None and queue != self.queue:
            return False
        return self.ids is None or (event is not None and event.id in self.ids)


class DeadLetters(Protocol):
    """The dead letters of a broker. Consumers may be running."""

    async def find(self, selection: Selection) -> list[DeadLetter]:
        """Return the selected dead letters, oldest first for each queue."""

    async def replay(self, selection: Selection) -> int:
        """Return the selected dead letters to their work queues; return how many.

        Their attempts start again. A crash repeats a delivery and loses none.
        """

    async def drop(self, selection: Selection) -> int:
        """Delete the selected dead letters; return how many."""


def read_event(body: bytes) -> Envelope | None:
    """Return the event in a message, or None if it has none."""
    try:
        return Envelope.from_json(body)
    except InvalidInput:
        return None


def redact(value: Any) -> Any:
    """Return a value of an event without what a person wrote: ids, numbers and flags remain."""
    if isinstance(value, dict):
        return {name: redact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [redact(item) for item in value]
    if isinstance(value, str) and not _is_id(value):
        return f"<{len(value)} characters>"
    return value


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
