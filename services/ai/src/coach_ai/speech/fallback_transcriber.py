"""Two transcription providers as one: the second is used while the first is unavailable."""

import time
from pathlib import Path

from prometheus_client import Counter

from coach_ai.domain import Transcript
from coach_ai.ports import ProgressCallback, Transcriber, ignore_progress
from coach_ai.token_usage import BudgetExceeded, TokenBudget
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

SPEECH_FALLBACKS = Counter(
    "coach_ai_speech_fallbacks", "Recordings transcribed by the fallback provider."
)


class FallbackTranscriber:
    """A Transcriber that uses its secondary provider while the primary one is unavailable.

    After Unavailable, the primary provider is not called again until its retry delay has passed.
    For a user whose budget is used up, only that recording goes to the secondary provider.
    CannotTranscribe of the primary provider is final. The transcript names the provider and model
    that produced it.
    """

    def __init__(self, primary: Transcriber, secondary: Transcriber) -> None:
        self._primary, self._secondary = primary, secondary
        self._primary_blocked_until = 0.0

    async def transcribe(
        self,
        recording: Path,
        on_progress: ProgressCallback = ignore_progress,
        *,
        prompt: str = "",
        budget: TokenBudget | None = None,
    ) -> Transcript:
        """Return the transcript of the primary provider, or of the secondary one."""
        if time.monotonic() >= self._primary_blocked_until:
            try:
                return await self._primary.transcribe(
                    recording, on_progress, prompt=prompt, budget=budget
                )
            except BudgetExceeded as error:
                log.info("speech.fallback_used", reason=str(error))
            except Unavailable as error:
                self._primary_blocked_until = time.monotonic() + error.retry_after_seconds
                log.warning("speech.fallback_used", reason=str(error))
        SPEECH_FALLBACKS.inc()
        return await self._secondary.transcribe(
            recording, on_progress, prompt=prompt, budget=budget
        )

    async def warm_up(self) -> None:
        """Warm up the primary provider. The secondary one loads its model when it is used."""
        await self._primary.warm_up()

    async def check(self) -> None:
        """Raise Unavailable if both providers are unavailable."""
        try:
            await self._primary.check()
        except Unavailable:
            await self._secondary.check()

    async def close(self) -> None:
        """Close both providers."""
        await self._primary.close()
        await self._secondary.close()
