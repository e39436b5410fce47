"""What a user has agreed to, by purpose."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from coach_common.events.base import Event


class Purpose(StrEnum):
    """What a user can agree to."""

    STORAGE = "storage"
    """Recordings are kept after their feedback is ready."""
    OUTSIDE_PROVIDER = "outside_provider"
    """Recordings and texts are sent to a provider outside of this installation."""
    IMPROVEMENT = "improvement"
    """Data is used beyond serving the user: it is counted together with that of others."""


class ConsentChanged(Event):
    """A user has agreed to a purpose, or has withdrawn the consent.

    Of two events about a purpose, the one with the later `changed_at` counts. Sent again at growing
    intervals for 30 days (`is_repeated`), in case a consumer lost it.
    """

    type = "consent.changed"
    source = "auth"
    consumers: ClassVar[tuple[str, ...]] = ("ai", "media")

    user_id: UUID
    purpose: str = Field(description="`storage`, `outside_provider`, `improvement`, or a newer one")
    is_given: bool
    version: str = Field(description="the version of the text that the user has seen")
    changed_at: datetime
    is_repeated: bool = False
