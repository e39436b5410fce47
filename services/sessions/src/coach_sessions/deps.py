"""The dependencies of the use cases."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from coach_common.clock import Clock
from coach_common.db.database import Database
from coach_common.db.deletion_log import DeletionLog
from coach_common.events.catalog import SessionDeleted
from coach_common.repair import DEFAULT_DELAY


class UploadedRecordings(Protocol):
    """The recordings that media has received."""

    async def find_key(self, session_id: UUID, *, bearer: str) -> str | None:
        """Return the key of the session's first uploaded recording, or None.

        `bearer` is the access token of the session's owner.

        Raises:
            Unavailable: If the media service cannot be reached.
        """

    async def close(self) -> None:
        """Close the HTTP connections."""


class Questions(Protocol):
    """The questions of the bank and the users' own questions, which ai stores."""

    async def get_text(self, question_id: str, *, bearer: str) -> str:
        """Return the text of a question.

        Raises:
            QuestionNotFound: If it does not exist or belongs to another user.
            Unavailable: If the ai service cannot be reached.
        """

    async def close(self) -> None:
        """Close the HTTP connections."""


@dataclass(frozen=True, slots=True)
class Deps:
    """Everything that a use case needs from outside."""

    db: Database
    clock: Clock
    deletions: DeletionLog[SessionDeleted]
    uploaded_recordings: UploadedRecordings
    questions: Questions
    repair_delay: timedelta = DEFAULT_DELAY
    """How long a session waits before the repair sweep checks it."""
