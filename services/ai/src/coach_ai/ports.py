"""The interfaces of the AI providers. Each has a local and an OpenAI implementation."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from coach_ai.domain import (
    Answer,
    AudioAnalysis,
    ChatContext,
    Feedback,
    Message,
    Progress,
    Transcript,
)
from coach_ai.domain.rewrites import Rewrite
from coach_ai.interview.model import WordingMethod
from coach_ai.interview.rule_interviewer import TurnToWord
from coach_ai.token_usage import TokenBudget, TokenUsage
from coach_ai.voice.speech import Speech, VoiceName

ProgressCallback = Callable[[AudioAnalysis | Progress], Awaitable[None]]
"""Receives the audio analysis and the progress of a recording that is being transcribed."""


async def ignore_progress(update: AudioAnalysis | Progress) -> None:
    """A progress callback that does nothing."""


class Transcriber(Protocol):
    """Speech to text."""

    async def transcribe(
        self,
        recording: Path,
        on_progress: ProgressCallback = ignore_progress,
        *,
        prompt: str = "",
        budget: TokenBudget | None = None,
    ) -> Transcript:
        """Return the transcript of the first 30 minutes of an audio or video file.

        Words in `prompt`, such as the question and terms of its field, are recognised more easily.

        `on_progress` is called with the audio analysis, then with the progress of a long recording.
        A restarted transcription calls it again from the beginning.

        A provider that meters tokens reserves them in `budget` before it sends audio, and adds
        those that it used. None: no limit.

        Raises:
            BudgetExceeded: If the recording costs more than the user's day has left.
            CannotTranscribe: If it can never succeed (no speech, unreadable). The message is
                meant for the user.
            Unavailable: If it may succeed later.
        """

    async def warm_up(self) -> None:
        """Load models before the first recording arrives."""

    async def check(self) -> None:
        """Raise Unavailable if the provider cannot work now."""

    async def close(self) -> None:
        """Stop child processes and close connections."""


class Scorer(Protocol):
    """Scores answers. Adds the tokens it uses to `usage` as they are used."""

    def max_tokens_needed(self, answer: Answer) -> int:
        """Return the most tokens one call of `score` can use, or 0 if tokens are not metered."""

    async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Return the feedback. Every remark quotes the answer.

        A score that cannot be determined is None, with the reason in `detailed_feedback`.

        Raises:
            CannotScore: If the provider refuses for good.
            Unavailable: If it may succeed later.
        """

    async def score_again(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score without sight of an earlier result, and without repeating its requests.

        A deterministic scorer returns the same result.

        Raises:
            CannotScore: If the provider refuses for good.
            Unavailable: If it may succeed later.
        """

    async def check(self) -> None:
        """Raise Unavailable if the provider cannot work now."""

    async def close(self) -> None:
        """Close connections."""


class Chat(Protocol):
    """The interview coach that users talk to. Adds the tokens it uses to `usage`."""

    def max_tokens_needed(self, context: ChatContext) -> int:
        """Return the most tokens one reply or summary can use, or 0 if tokens are not metered."""

    def reply(self, context: ChatContext, usage: TokenUsage) -> AsyncGenerator[str, None]:
        """Yield the reply in pieces, as they are generated.

        Closing the generator stops the provider's work.

        Raises:
            Unavailable: If it may succeed later; before the first piece or after any piece.
        """

    async def summarise(
        self, summary: str, messages: Sequence[Message], usage: TokenUsage, *, budget: int
    ) -> str:
        """Return a summary of `summary` and `messages` of at most `budget` tokens.

        Raises:
            Unavailable: If it may succeed later.
        """

    async def check(self) -> None:
        """Raise Unavailable if the provider cannot work now."""

    async def close(self) -> None:
        """Close connections."""


class Rewriter(Protocol):
    """Writes stronger versions of scored answers. Adds the tokens it uses to `usage`."""

    def max_tokens_needed(self, answer: Answer, feedback: Feedback) -> int:
        """Return the most tokens one rewrite can use, or 0 if tokens are not metered."""

    async def rewrite(self, answer: Answer, feedback: Feedback, usage: TokenUsage) -> Rewrite:
        """Return the rewrite. What is outside of its blanks is from the answer.

        Raises:
            Unavailable: If it may succeed later.
        """

    async def check(self) -> None:
        """Raise Unavailable if the provider cannot work now."""

    async def close(self) -> None:
        """Close connections."""


class Interviewer(Protocol):
    """Words the turns of an interview. It decides nothing. Adds the tokens it uses to `usage`.

    The caller verifies the words, and words the turn by rule if they are not acceptable.
    """

    @property
    def method(self) -> WordingMethod:
        """How the turns of this request's user are worded."""

    def max_tokens_needed(self, turn: TurnToWord) -> int:
        """Return the most tokens one turn can use, or 0 if tokens are not metered."""

    async def word_turn(self, turn: TurnToWord, usage: TokenUsage) -> str:
        """Return the interviewer's words for the turn.

        Raises:
            Unavailable: If the provider cannot word it now, or declines to.
        """

    async def close(self) -> None:
        """Close connections."""


class Voice(Protocol):
    """Text to speech. Adds the tokens it uses to `usage`."""

    async def get_model(self) -> str:
        """Return the name of what speaks, with its version. The same model speaks a text alike."""

    def max_tokens_needed(self, text: str) -> int:
        """Return the most tokens one call of `speak` can use, or 0 if tokens are not metered."""

    async def speak(self, text: str, voice: VoiceName, speed: float, usage: TokenUsage) -> Speech:
        """Return the spoken text. `speed` is 0.5 to 2.0, and 1.0 is normal.

        Raises:
            Unavailable: If it may succeed later.
        """

    async def warm_up(self) -> None:
        """Load models before the first sentence is spoken. The first sentence reports a failure."""

    async def check(self) -> None:
        """Raise Unavailable if the provider cannot work now."""

    async def close(self) -> None:
        """Close connections and stop processes."""
