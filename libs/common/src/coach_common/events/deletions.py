"""Confirmations of deletions. They name a receipt, and neither a user nor a session."""

from typing import ClassVar
from uuid import UUID

from coach_common.events.base import Event


class DeletionConfirmed(Event):
    """A service has deleted everything that a deletion asks for. One subclass per service."""

    consumers: ClassVar[tuple[str, ...]] = ("auth",)

    receipt_id: UUID


class SessionsConfirmedDeletion(DeletionConfirmed):
    """Sessions has deleted all rows of a deleted user or interview, progress included."""

    type = "deletion.confirmed_by_sessions"
    source = "sessions"


class MediaConfirmedDeletion(DeletionConfirmed):
    """Media has deleted all rows and objects of a deleted session or user.

    It is sent after the last upload URL has expired, so that no client can store an object again.
    """

    type = "deletion.confirmed_by_media"
    source = "media"


class AiConfirmedDeletion(DeletionConfirmed):
    """Ai has deleted all rows of a deleted session or user."""

    type = "deletion.confirmed_by_ai"
    source = "ai"


class DeletionCompleted(Event):
    """Every service has confirmed the deletion of a session. Its publishers stop repeating it."""

    type = "deletion.completed"
    source = "auth"
    consumers: ClassVar[tuple[str, ...]] = ("sessions", "ai")

    receipt_id: UUID
