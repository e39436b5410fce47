"""Live transcription by the local model, in a child process that long recordings cannot delay."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        self._running: asyncio.Task[dict[str, Any]] | None = None
        """The last request."""

    @property
    def pid(self) -> int | None:
        """The id of the child process, or None if none is running."""
        return self._process.pid

    async def decode(
        self,
        recording: Path,
        *,
        sample_rate: int | None,
        start: float,
        language: str | None,
        prompt: str = "",
    ) -> tuple[Hypothesis, str | None] | None:
        """Return the words from `start` to the current end, and the language if it is certain.

        Returns None if no word is new. `sample_rate` is that of raw 16-bit mono, or None for
        a container that can be decoded while it grows.

        Raises:
            Unavailable: If there is no model.
        """
        try:
            whisper_model.resolve(self._model_dir)
        except whisper_model.ModelMissing as error:
            raise Unavailable(str(error)) from None
        response = await self._request(
            {
                "path": str(recording),
                "sample_rate": sample_rate,
                "start": start,
                "language": language,
                "prompt": prompt,
            }
        )
        live = response["live"]
        if live is None:
            return None
        words = tuple(Word(*word) for word in live["words"])
        return Hypothesis(words, live["end"], live["phrase_end"]), live["language"]

    async def _request(self, message: Mapping[str, object]) -> dict[str, Any]:
        """Send a request to the child.

        A cancelled caller leaves its request running, because stopping it would kill the child
        that all recordings share. The next request waits for it.
        """
        await self._lock.acquire()
        request = self._running = asyncio.create_task(self._process.request(message))
        request.add_done_callback(self._on_done)
        return await asyncio.shield(request)

    def _on_done(self, request: asyncio.Task[dict[str, Any]]) -> None:
        self._lock.release()
        if not request.cancelled():
            request.exception()  # Marked as retrieved, because the caller may be cancelled.

    async def close(self) -> None:
        """Stop the child process."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        await self._process.kill()
