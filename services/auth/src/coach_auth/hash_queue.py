"""A bounded queue for password hashes that gives every client a fair share.

Logins go before registrations and changes. Within a class, the share with the fewest running hashes
goes first, then the one that was served least recently. A full queue takes a place from the share
that holds the most, so one client cannot fill it.
"""

import asyncio
from collections import Counter as Multiset
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge

from coach_common.errors import Unavailable

T = TypeVar("T")

HASHES_IN_FLIGHT = Gauge(
    "coach_auth_password_hashes_in_flight", "Password hashes running or queued."
)
HASHES_REJECTED = Counter(
    "coach_auth_password_hashes_rejected", "Password hashes rejected because the queue was full."
)

_MAX_RUNNING_PER_CLIENT = 2
_LOGINS_PER_OTHER = 3
"""While both classes wait, one in four hashes is a registration or a change."""
_MAX_REMEMBERED_SHARES = 1000
_RETRY_AFTER_SECONDS = 5


class HashPriority(IntEnum):
    """Classes of hashes. A lower value goes first."""

    LOGIN = 0
    OTHER = 1


@dataclass(frozen=True, slots=True)
class HashOwner:
    """For whom a password is hashed.

    `share` names whose share of the queue is used: the address of an anonymous client, or the
    account of a signed-in user.
    """

    share: str
    account: str
    priority: HashPriority

    @classmethod
    def login(cls, *, client_ip: str, account: str) -> "HashOwner":
        """Return the owner of a login. The client is anonymous, so its address counts."""
        return cls(f"address:{client_ip}", account, HashPriority.LOGIN)

    @classmethod
    def registration(cls, *, client_ip: str, account: str) -> "HashOwner":
        """Return the owner of a registration from an address."""
        return cls(f"address:{client_ip}", account, HashPriority.OTHER)

    @classmethod
    def change(cls, *, account: str) -> "HashOwner":
        """Return the owner of a change by a signed-in user or by the holder of a mailed token."""
        return cls(f"account:{account}", account, HashPriority.OTHER)


@dataclass(eq=False, slots=True)
class _Entry:
    owner: HashOwner
    number: int
    turn: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class HashQueue:
    """Runs blocking work in a thread pool, in fair order. Used from one event loop."""

    def __init__(self, executor: ThreadPoolExecutor, *, threads: int, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._executor = executor
        self._threads = threads
        self._waiting: list[_Entry] = []
        self._running: list[_Entry] = []
        self._numbers = count()
        self._served: OrderedDict[str, int] = OrderedDict()
        self._consecutive_logins = 0

    @property
    def waiting_count(self) -> int:
        """How many hashes wait for a thread."""
        return len(self._waiting)

    async def run(self, owner: HashOwner, work: Callable[[], T]) -> T:
        """Wait for a turn and return the result of `work`.

        Raises:
            Unavailable: If the queue is full, or if another share took this place.
        """
        entry = _Entry(owner, next(self._numbers))
        if len(self._waiting) >= self.max_waiting:
            self._evict_for(owner)
        self._waiting.append(entry)
        HASHES_IN_FLIGHT.inc()
        try:
            self._start_next()
            await entry.turn
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, work)
        finally:
            HASHES_IN_FLIGHT.dec()
            for entries in (self._waiting, self._running):
                if entry in entries:
                    entries.remove(entry)
            self._start_next()

    def _start_next(self) -> None:
        while len(self._running) < self._threads and (entry := self._choose()) is not None:
            self._waiting.remove(entry)
            self._running.append(entry)
            self._served[entry.owner.share] = next(self._numbers)
            self._served.move_to_end(entry.owner.share)
            if len(self._served) > _MAX_REMEMBERED_SHARES:
                self._served.popitem(last=False)
            is_login = entry.owner.priority is HashPriority.LOGIN
            self._consecutive_logins = self._consecutive_logins + 1 if is_login else 0
            entry.turn.set_result(None)

    def _choose(self) -> _Entry | None:
        shares = Multiset(entry.owner.share for entry in self._running)
        accounts = Multiset(entry.owner.account for entry in self._running)
        ready = [
            entry
            for entry in self._waiting
            if shares[entry.owner.share] < _MAX_RUNNING_PER_CLIENT
            and accounts[entry.owner.account] < _MAX_RUNNING_PER_CLIENT
            and not entry.turn.done()
        ]
        is_turn_of_others = self._consecutive_logins >= _LOGINS_PER_OTHER

        def order(entry: _Entry) -> tuple[Any, ...]:
            owner = entry.owner
            priority = -owner.priority if is_turn_of_others else owner.priority
            return priority, shares[owner.share], self._served.get(owner.share, -1), entry.number

        return min(ready, key=order, default=None)

    def _evict_for(self, owner: HashOwner) -> None:
        """Make room for `owner`, or raise Unavailable."""
        shares = Multiset(entry.owner.share for entry in self._waiting)

        def weight(entry: _Entry) -> tuple[int, int, int]:
            return shares[entry.owner.share], entry.owner.priority, entry.number

        largest = max(self._waiting, key=weight)
        if shares[largest.owner.share] <= shares[owner.share] + 1:
            lower = [entry for entry in self._waiting if entry.owner.priority > owner.priority]
            if not lower:
                raise _overloaded()
            largest = max(lower, key=weight)
        self._waiting.remove(largest)
        if not largest.turn.done():
            largest.turn.set_exception(_overloaded())


def _overloaded() -> Unavailable:
    HASHES_REJECTED.inc()
    return Unavailable(
        "Too many people are signing in. Please try again.",
        retry_after_seconds=_RETRY_AFTER_SECONDS,
    )
