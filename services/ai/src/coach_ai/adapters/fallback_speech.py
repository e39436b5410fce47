"""Two providers of speech as one: the second works while the first cannot."""

import time
from pathlib import Path

from prometheus_client import Counter

from coach_ai.domain import Transcript
from coach_ai.ports import Tell, Transcriber, nobody
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

FELL_BACK = Counter("coach_ai_speech_fallbacks", "Recordings that the second provider took over.")


class FallbackTranscriber:
    """A Transcriber over two. A transcript says itself which provider and model it is from.

    What the first says of the recording (no speech, unreadable) stands: only where it is away does
    the second work, and for the pause that it asked for nobody waits for the first again.
    """

    def __init__(self, first: Transcriber, second: Transcriber) -> None:
        self._first, self._second = first, second
        self._away_until = 0.0

    async def transcribe(self, recording: Path, tell: Tell = nobody) -> Transcript:
        """Return the words as the first heard them, else as the second did."""
        if time.monotonic() >= self._away_until:
            try:
                return await self._first.transcribe(recording, tell)
            except Unavailable as error:
                self._away_until = time.monotonic() + error.retry_after_seconds
                log.warning("speech.fell_back", reason=str(error))
        FELL_BACK.inc()
        return await self._second.transcribe(recording, tell)

    async def warm_up(self) -> None:
        """Warm the first; the second warms when it is needed."""
        await self._first.warm_up()

    async def check(self) -> None:
        """Raise Unavailable where neither could work."""
        try:
            await self._first.check()
        except Unavailable:
            await self._second.check()

    async def close(self) -> None:
        """Close both."""
        await self._first.close()
        await self._second.close()
