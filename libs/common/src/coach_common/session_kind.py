"""The kinds of items in the history of a user."""

from enum import StrEnum


class SessionKind(StrEnum):
    """What an item of the history is."""

    PRACTICE = "practice"
    INTERVIEW = "interview"
