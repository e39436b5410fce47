"""The events that a process has committed and its relay has not published yet."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta

from coach_common.messaging.subscriptions import OutboxMessage

_MAX_EVENTS = 1_000
"""Later events are only in the outbox, from which the relay reads them every second."""


class CommittedEvents:
    """Passes committed events to the relay of the same process, which need not read the outbox.

    The rows of these events are written with a claim, so that no relay publishes them as well. If
    the process ends first, the claim expires and another relay reads them from the outbox.
    """

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.commit_count = 0
        """How many commits must be durable before the events are published."""
        self._events = deque[OutboxMessage]()
        self._claim_duration: timedelta | None = None

    @property
    def new_claim(self) -> timedelta | None:
        """How long to claim the row of a new event. None if no relay here takes the event."""
        return self._claim_duration if len(self._events) < _MAX_EVENTS else None

    def open(self, claim_duration: timedelta) -> None:
        """Accept events. Called by the relay that will publish them."""
        self._claim_duration = claim_duration

    def close(self) -> list[OutboxMessage]:
        """Accept no more events, and return the remaining ones."""
        self._claim_duration = None
        return self.take()

    def add(self, events: Sequence[OutboxMessage], commit_count: int) -> None:
        """Add the events of a transaction, which was the commit of this number."""
        self._events.extend(events)
        self.commit_count = max(self.commit_count, commit_count)
        self.arrived.set()

    def take(self, limit: int | None = None) -> list[OutboxMessage]:
        """Remove and return the oldest events, or all."""
        count = len(self._events)
        taken = [
            self._events.popleft() for _ in range(count if limit is None else min(limit, count))
        ]
        if not self._events:
            self.arrived.clear()
        return taken
