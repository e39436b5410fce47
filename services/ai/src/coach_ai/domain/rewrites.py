"""A stronger version of an answer, made of what the answer contains, with blanks for the rest."""

import re
from dataclasses import dataclass

from coach_common.errors import Conflict, InvalidInput, NotFound

MAX_REWRITE_CHARACTERS = 8000
"""Longest rewrite. Sentences beyond it are left out."""
MAX_BLANK_CHARACTERS = 240

_BLANK = re.compile(r"\[[^\[\]]*\]")


class SessionNotFound(NotFound):
    """The session does not exist or belongs to another user."""

    code = "session_not_found"

    def __init__(self) -> None:
        super().__init__("Session not found")


class FeedbackPending(Conflict):
    """The session has no feedback yet. The same request succeeds once it has."""

    code = "feedback_pending"

    def __init__(self) -> None:
        super().__init__("This session has no feedback yet. Please try again when it is ready.")


class AnswerNotScored(InvalidInput):
    """The answer could not be scored, so there is nothing to build on."""

    code = "answer_not_scored"

    def __init__(self) -> None:
        super().__init__("This answer was not scored. Its feedback gives the reason.")


@dataclass(frozen=True, slots=True)
class RewrittenSentence:
    """A sentence of a rewrite.

    `quote` is the passage of the transcript that it is made of. It is None for a blank, which is
    a question in brackets to the user.
    """

    text: str
    quote: str | None = None

    @property
    def is_blank(self) -> bool:
        """Return whether the whole sentence is a blank."""
        return self.quote is None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A stronger version of an answer. `note` says how it was made and what it cannot do."""

    sentences: tuple[RewrittenSentence, ...]
    provider: str
    model: str
    note: str

    @property
    def text(self) -> str:
        """Return the sentences as one text."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def blanks(self) -> tuple[str, ...]:
        """Return the blanks, with their brackets, in order."""
        return tuple(blank for one in self.sentences for blank in find_blanks(one.text))


def make_blank(text: str) -> str:
    """Return a blank with this text."""
    return f"[{replace_brackets(' '.join(text.split()))[: MAX_BLANK_CHARACTERS - 2]}]"


def find_blanks(text: str) -> list[str]:
    """Return the blanks in a text, with their brackets."""
    return _BLANK.findall(text)


def remove_blanks(text: str) -> str:
    """Return the text without its blanks."""
    return _BLANK.sub(" ", text)


def replace_brackets(text: str) -> str:
    """Return the text with round brackets, so that it contains no blank."""
    return text.replace("[", "(").replace("]", ")")
