"""What the use cases ask of a provider. Two real implementations each: local and openai."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from coach_ai.domain import Answer, Judgement, Message, Progress, SoundTrack, Talk, Transcript
from coach_ai.spending import Spent

Tell = Callable[[SoundTrack | Progress], Awaitable[None]]
"""Is told what is known of a recording while its words are still being found."""


async def nobody(news: SoundTrack | Progress) -> None:
    """A Tell for those who only want the words."""


class Transcriber(Protocol):
    """Speech to words."""

    async def transcribe(self, recording: Path, tell: Tell = nobody) -> Transcript:
        """Return the words of an audio or video file of up to 30 minutes.

        `tell` hears of the sound once it was measured, and of a long recording's progress; where
        the work is begun again, it hears it again.
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
    """Judgement and conversation. What they take is counted in `spent` as it is spent."""

    def most_tokens(self, work: Answer | Talk) -> int:
        """Return how many tokens this may take, tried once; 0 where none are counted."""

    async def judge(self, answer: Answer, spent: Spent) -> Judgement:
        """Return a judgement whose every claim quotes the answer.

        Raises CannotJudge where the provider refuses for good, Unavailable where it may work
        later. Never a number that was not judged.
        """

    def reply(self, talk: Talk, spent: Spent) -> AsyncGenerator[str, None]:
        """Return the coach's next turn, piece by piece as it is said.

        Raises Unavailable where it may work later, before the first piece or in the middle.
        Closing the iterator ends the work.
        """

    async def summarise(
        self, summary: str, messages: Sequence[Message], spent: Spent, *, budget: int
    ) -> str:
        """Return what was said so far in at most `budget` tokens: a summary and what followed it.

        Raises Unavailable where it may work later.
        """

    async def check(self) -> None:
        """Return where the provider could work now; else raise Unavailable."""

    async def close(self) -> None:
        """Give back processes and connections."""
