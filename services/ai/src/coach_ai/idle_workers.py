"""Gives new jobs to the workers of this process that wait for one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from coach_ai.domain import Job
from coach_common.db.transaction import Transaction

ClaimWriter = Callable[[Transaction, Job], Awaitable[None]]
"""Emits that a job was started, in the transaction that claims it."""


@dataclass(slots=True, eq=False)
class IdleWorker:
    """A worker that waits for a job, and what its claims need."""

    instance_id: str
    """The owner of its leases."""
    write_claim: ClaimWriter | None
    given: asyncio.Future[Job | None]

    def give(self, job: Job | None) -> None:
        """End the waiting with a job that was claimed for it, or with None, to look for one."""
        if not self.given.done():
            self.given.set_result(job)


class IdleWorkers:
    """The waiting workers of one job kind.

    A transaction that queues a job claims it for a waiting worker. This saves the transaction of a
    later claim, and the worker starts as soon as the job is committed.
    """

    def __init__(self) -> None:
        self._waiting: deque[IdleWorker] = deque()
        self.has_news = False
        """Whether the next worker that would wait should look for a job instead."""

    def reserve(self) -> IdleWorker | None:
        """Take a waiting worker, or return None. The caller must call its `give` in any case."""
        return self._waiting.popleft() if self._waiting else None

    def notify(self) -> None:
        """Let all waiting workers look for a job. If none waits, the next one does not wait."""
        self.has_news = True
        while (worker := self.reserve()) is not None:
            worker.give(None)

    def begin_search(self) -> None:
        """Forget earlier calls of `notify`: a search that begins now finds their jobs."""
        self.has_news = False

    async def wait(
        self, instance_id: str, write_claim: ClaimWriter | None, *, seconds: float
    ) -> Job | None:
        """Wait for a job, at most `seconds`. Return None if the worker should look for one.

        If the caller is cancelled just after it was given a job, the lease is left to expire, as
        that of a killed process.
        """
        if self.has_news:
            return None
        worker = IdleWorker(instance_id, write_claim, asyncio.get_running_loop().create_future())
        self._waiting.append(worker)
        try:
            await asyncio.wait([worker.given], timeout=seconds)
            if worker in self._waiting:
                return None
            return await worker.given
        finally:
            with suppress(ValueError):
                self._waiting.remove(worker)
