"""Providers that use the local one for users who have not agreed to the outside one."""

from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from prometheus_client import Counter

from coach_ai.consent import ConsentRequired, is_outside_provider_allowed
from coach_ai.domain import Answer, ChatContext, Feedback, Message, Transcript
from coach_ai.domain.rewrites import Rewrite
from coach_ai.interview.model import WordingMethod
from coach_ai.interview.rule_interviewer import RuleInterviewer, TurnToWord
from coach_ai.ports import (
    Chat,
    Interviewer,
    ProgressCallback,
    Rewriter,
    Scorer,
    Transcriber,
    Voice,
    ignore_progress,
)
from coach_ai.token_usage import TokenBudget, TokenUsage
from coach_ai.voice.speech import Speech, VoiceName

WITHOUT_CONSENT = Counter(
    "coach_ai_calls_without_consent",
    "Calls that did not go to the outside provider, by what happened instead.",
    ["outcome"],
)


class _Provider(Protocol):
    async def check(self) -> None:
        """Raise Unavailable if the provider cannot work now."""

    async def close(self) -> None:
        """Close connections."""


P = TypeVar("P", bound=_Provider)


class _Choice(Generic[P]):
    """An outside provider, and the local one, which is created when it is first needed."""

    def __init__(self, outside: P, create_local: Callable[[], P] | None) -> None:
        self.outside = outside
        self._create_local = create_local
        self._local: P | None = None

    def choose(self) -> P:
        """Return the provider for this request or job. Raises ConsentRequired if there is none."""
        if is_outside_provider_allowed():
            return self.outside
        if self._create_local is None:
            WITHOUT_CONSENT.labels("refused").inc()
            raise ConsentRequired
        WITHOUT_CONSENT.labels("local").inc()
        if self._local is None:
            self._local = self._create_local()
        return self._local

    async def check(self) -> None:
        """Raise Unavailable if the outside provider cannot work now."""
        await self.outside.check()

    async def close(self) -> None:
        """Close both providers."""
        await self.outside.close()
        if self._local is not None:
            await self._local.close()


class ConsentingTranscriber(_Choice[Transcriber]):
    """A Transcriber that respects the consent of the user."""

    async def transcribe(
        self,
        recording: Path,
        on_progress: ProgressCallback = ignore_progress,
        *,
        prompt: str = "",
        budget: TokenBudget | None = None,
    ) -> Transcript:
        """Transcribe with the provider that the user has agreed to."""
        return await self.choose().transcribe(recording, on_progress, prompt=prompt, budget=budget)

    async def warm_up(self) -> None:
        """Warm up the outside provider. The local one loads its model when it is used."""
        await self.outside.warm_up()


class ConsentingScorer(_Choice[Scorer]):
    """A Scorer that respects the consent of the user."""

    def max_tokens_needed(self, answer: Answer) -> int:
        """Return the most tokens that the provider of this user needs."""
        return self.choose().max_tokens_needed(answer)

    async def score(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score with the provider that the user has agreed to."""
        return await self.choose().score(answer, usage)

    async def score_again(self, answer: Answer, usage: TokenUsage) -> Feedback:
        """Score again with the provider that the user has agreed to."""
        return await self.choose().score_again(answer, usage)


class ConsentingRewriter(_Choice[Rewriter]):
    """A Rewriter that respects the consent of the user."""

    def max_tokens_needed(self, answer: Answer, feedback: Feedback) -> int:
        """Return the most tokens that the provider of this user needs."""
        return self.choose().max_tokens_needed(answer, feedback)

    async def rewrite(self, answer: Answer, feedback: Feedback, usage: TokenUsage) -> Rewrite:
        """Rewrite with the provider that the user has agreed to."""
        return await self.choose().rewrite(answer, feedback, usage)


class ConsentingChat(_Choice[Chat]):
    """A Chat that respects the consent of the user."""

    def max_tokens_needed(self, context: ChatContext) -> int:
        """Return the most tokens that the provider of this user needs."""
        return self.choose().max_tokens_needed(context)

    def reply(self, context: ChatContext, usage: TokenUsage) -> AsyncGenerator[str, None]:
        """Reply with the provider that the user has agreed to."""
        return self.choose().reply(context, usage)

    async def summarise(
        self, summary: str, messages: Sequence[Message], usage: TokenUsage, *, budget: int
    ) -> str:
        """Summarise with the provider that the user has agreed to."""
        return await self.choose().summarise(summary, messages, usage, budget=budget)


class ConsentingInterviewer:
    """An Interviewer that respects the consent of the user. Without consent, rules word the turns.

    Rules need no package, so no image refuses a turn.
    """

    def __init__(self, outside: Interviewer) -> None:
        self._outside = outside
        self._rules = RuleInterviewer()

    @property
    def method(self) -> WordingMethod:
        """The method that the user has agreed to."""
        return self._choose().method

    def max_tokens_needed(self, turn: TurnToWord) -> int:
        """Return the most tokens that the interviewer of this user needs."""
        return self._choose().max_tokens_needed(turn)

    async def word_turn(self, turn: TurnToWord, usage: TokenUsage) -> str:
        """Word the turn by the method that the user has agreed to."""
        return await self._choose().word_turn(turn, usage)

    async def close(self) -> None:
        """Close the outside provider's connections."""
        await self._outside.close()

    def _choose(self) -> Interviewer:
        return self._outside if is_outside_provider_allowed() else self._rules


class ConsentingVoice(_Choice[Voice]):
    """A Voice that respects the consent of the user."""

    async def get_model(self) -> str:
        """Return the model of the voice that the user has agreed to."""
        return await self.choose().get_model()

    def max_tokens_needed(self, text: str) -> int:
        """Return the most tokens that the voice of this user needs."""
        return self.choose().max_tokens_needed(text)

    async def speak(self, text: str, voice: VoiceName, speed: float, usage: TokenUsage) -> Speech:
        """Speak with the voice that the user has agreed to."""
        return await self.choose().speak(text, voice, speed, usage)

    async def warm_up(self) -> None:
        """Do nothing: neither provider has a model to load."""
