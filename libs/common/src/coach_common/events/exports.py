"""Exports of all data of a user: requested by media, collected from every service."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from coach_common.events.base import Event


class ExportRequested(Event):
    """A user wants a copy of all data. Each consumer emits its part; media stores its own.

    Sent again with the next `attempt` if a part is missing after some minutes.
    """

    type = "export.requested"
    source = "media"
    consumers: ClassVar[tuple[str, ...]] = ("auth", "sessions", "media", "ai")

    export_id: UUID
    user_id: UUID
    attempt: int


class ExportPartCollected(Event):
    """Some rows of one table, from one service. One subclass per service."""

    consumers: ClassVar[tuple[str, ...]] = ("media",)

    export_id: UUID
    user_id: UUID
    attempt: int = Field(description="as in `export.requested`")
    number: int = Field(description="1 for the first part of the service")
    is_last: bool
    table: str
    content: str = Field(description="a JSON array of rows")


class AuthExportPartCollected(ExportPartCollected):
    """Rows of auth: account, logins, consents, audit entries."""

    type = "export.part_collected_by_auth"
    source = "auth"


class SessionsExportPartCollected(ExportPartCollected):
    """Rows of sessions: sessions with feedback, statistics, progress."""

    type = "export.part_collected_by_sessions"
    source = "sessions"


class AiExportPartCollected(ExportPartCollected):
    """Rows of ai: transcripts, conversations, interviews, own questions, token usage."""

    type = "export.part_collected_by_ai"
    source = "ai"


class ExportCompleted(Event):
    """Every service has sent its part. Pushed to clients as `export`."""

    type = "export.completed"
    source = "media"

    export_id: UUID
    user_id: UUID
    expires_at: datetime
