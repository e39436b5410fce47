"""Live transcription by the local model, in a child process that long recordings cannot delay."""

import asyncio
from pathlib import Path

from coach_ai.domain import Word
from coach_ai.speech import whisper_model
from coach_ai.speech.local_agreement import Hypothesis
from coach_ai.speech.process import SpeechProcess
from coach_common.errors import Unavailable


class LocalLiveTranscriber:
    """Transcribes growing recordings. Requests are served one at a time, in order of arrival."""

    def __init__(self, model_dir: Path | None) -> None:
        self._model_dir = model_dir
        self._process = SpeechProcess(model_dir, threads=2)
        self._lock = asyncio.Lock()

    async def decode(
        self, recording: Path, *, sample_rate: int | None, start: float, language: str | None
    ) -> tuple[Hypothesis, str | None] | None:
        """Return the words from `start` to the current end, and the language if it is certain.

        Returns None if there is nothing new. `sample_rate` is that of raw 16-bit mono, or None for
        a container that can be decoded while it grows.

        Raises:
            Unavailable: If there is no model.
        """
        try:
            whisper_model.resolve(self._model_dir)
        except whisper_model.ModelMissing as error:
            raise Unavailable(str(error)) from None
        async with self._lock:
            response = await self._process.request(
                {
                    "path": str(recording),
                    "sample_rate": sample_rate,
                    "start": start,
                    "language": language,
                }
            )
        live = response["live"]
        if live is None:
            return None
        words = tuple(Word(*word) for word in live["words"])
        return Hypothesis(words, live["end"], live["phrase_end"]), live["language"]

    async def close(self) -> None:
        """Stop the child process."""
        await self._process.kill()
