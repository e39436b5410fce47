"""Records that a user has read the score of a session, which ends the time for a self-rating."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol
from uuid import UUID

from coach_common import logs
from coach_common.errors import Unavailable
from coach_sessions import progress_store
from coach_sessions.deps import Deps
from coach_sessions.domain import Status

log = logs.get_logger(__name__)


class ShownSession(Protocol):
    """A session in a response to its user. The response has the score if it is ready."""

    @property
    def id(self) -> UUID:
        """The session's id."""

    @property
    def status(self) -> str:
        """The session's status."""

    @property
    def revealed_at(self) -> datetime | None:
        """When the user first read the score."""


async def record_reveals(deps: Deps, shown: Iterable[ShownSession]) -> None:
    """Record which of these sessions show their score for the first time. Idempotent.

    If the database cannot write, or a power failure undoes the change, the sessions stay unrevealed
    until they are read again. Reading matters more, so it does not wait for the disk.
    """
    ids = [one.id for one in shown if one.status == Status.READY and one.revealed_at is None]
    if not ids:
        return
    try:
        async with deps.db.transaction(is_durable=False) as tx:
            await progress_store.mark_revealed(tx, ids, at=deps.clock())
    except Unavailable as error:
        log.warning("session.reveal_not_recorded", code=error.code, sessions=len(ids))
