"""A received event, as its consumer sees it. Imports no database, so that the gateway has none."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class MessageContext:
    """One event handed to one consumer. The consumer applies each event id once."""

    consumer: str
    event_id: UUID
    attempt: int = 1


class AlreadyProcessed(Exception):
    """This consumer has applied this event before. Only dispatch catches it."""
