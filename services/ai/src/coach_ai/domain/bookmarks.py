"""Bookmarks: questions that a user marked, with a note and the user's collections."""

from dataclasses import dataclass
from datetime import datetime

from coach_common.errors import Conflict

MAX_BOOKMARKS = 500


class TooManyBookmarks(Conflict):
    """The user has as many bookmarks as a user can have."""

    code = "too_many_bookmarks"

    def __init__(self) -> None:
        super().__init__(f"You can have at most {MAX_BOOKMARKS} bookmarks. Delete one first.")


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A marked question. `collections` are names without repetition."""

    note: str | None
    collections: tuple[str, ...]
    updated_at: datetime
