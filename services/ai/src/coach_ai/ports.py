"""What the use cases ask of a provider. Two real implementations each: local and openai."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from coach_ai.domain import Answer, Judgement, Message, PastSession, Transcript


class Transcriber(Protocol):
    """Speech to words."""

    async def transcribe(self, recording: Path) -> Transcript:
        """Return the words of an audio or video file of up to 30 minutes.

        Raises CannotTranscribe with a sentence for the person where it never will work
        (no speech found, unreadable), Unavailable where it may work later.
        """

    async def warm_up(self) -> None:
        """Get ready ahead of the first recording."""

    async def check(self) -> None:
        """Return where the provider could work now; else raise Unavailable."""

    async def close(self) -> None:
        """Give back processes and connections."""


class Coach(Protocol):
    """Judgement and conversation."""

    async def judge(self, answer: Answer) -> Judgement:
        """Return a judgement whose every claim quotes the answer.

        Raises CannotJudge where the provider refuses for good, Unavailable where it may work
        later. Never a number that was not judged.
        """

    async def reply(self, conversation: Sequence[Message], past: Sequence[PastSession]) -> str:
        """Return the coach's next turn; the last message is the person's.

        Raises Unavailable where it may work later.
        """

    async def check(self) -> None:
        """Return where the provider could work now; else raise Unavailable."""

    async def close(self) -> None:
        """Give back processes and connections."""
