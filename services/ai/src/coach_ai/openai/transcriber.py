"""Transcription by OpenAI's API: the audio is re-encoded, split at silences, and sent in chunks.

Mono Opus at 32 kbit/s keeps a half-hour recording under the API's limit of 25 MB. Longer recordings
are split at silences.
"""

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai

from coach_ai.domain import AudioAnalysis, CannotTranscribe, Transcript, Word
from coach_ai.openai.client import PROVIDER, check_key, map_openai_errors, open_client
from coach_ai.ports import ProgressCallback, Transcriber, ignore_progress
from coach_ai.speech.alignment import align
from coach_ai.speech.process import AUDIO_ANALYSIS, SpeechProcess
from coach_common.errors import CoachError, Unavailable

MAX_CHUNK_SECONDS = 600.0
"""2.4 MB at 32 kbit/s: far below the limit, and a timeout affects one chunk only."""

_MODELS_WITH_WORD_TIMES = ("whisper",)
"""Prefixes of models that return word times in `verbose_json`. Others support `json` only."""


@dataclass(frozen=True, slots=True)
class _ChunkTranscript:
    text: str
    language: str | None
    words: tuple[Word, ...]


class OpenAITranscriber:
    """A Transcriber over OpenAI's API, or a compatible server.

    `aligner` is a second transcriber that supplies word times if the model returns none.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str | None,
        model: str,
        aligner: Transcriber | None,
        *,
        max_chunk_seconds: float = MAX_CHUNK_SECONDS,
    ) -> None:
        self._max_chunk_seconds = max_chunk_seconds
        self._api_key = api_key
        self._client = open_client(api_key, base_url)
        self._model = model
        self._aligner = aligner
        self._process = SpeechProcess(None, threads=1)
        self._lock = asyncio.Lock()

    async def transcribe(
        self, recording: Path, on_progress: ProgressCallback = ignore_progress, *, prompt: str = ""
    ) -> Transcript:
        """Return the transcript, with word times if the model or the aligner supplies them."""
        with tempfile.TemporaryDirectory(prefix="chunks-", dir=recording.parent) as directory:
            async with self._lock:
                response = await self._process.request(
                    {
                        "path": str(recording),
                        "chunks_dir": directory,
                        "max_seconds": self._max_chunk_seconds,
                    },
                    on_progress,
                )
            analysis: AudioAnalysis = AUDIO_ANALYSIS.validate_python(response["analysis"])
            chunks = [
                _shift_times(
                    await self._transcribe_chunk(
                        await asyncio.to_thread(Path(file).read_bytes), prompt
                    ),
                    begin,
                )
                for begin, file in response["chunks"]
            ]
        text = " ".join(chunk.text for chunk in chunks if chunk.text).strip()
        if not text:
            raise CannotTranscribe("We found no speech in this recording.")
        words = tuple(word for chunk in chunks for word in chunk.words)
        if not words:
            words = await self._align(recording, text, prompt)
        return Transcript(
            text=text,
            language=next((chunk.language for chunk in chunks if chunk.language), None) or "en",
            duration_seconds=analysis.duration_seconds,
            provider=PROVIDER,
            model=self._model,
            words=words,
            silences=analysis.silences,
            acoustic_features=analysis.acoustic_features,
            coverage=analysis.coverage,
        )

    async def warm_up(self) -> None:
        """There is no model to load."""

    async def check(self) -> None:
        """Raise Unavailable without a key. Does not call the provider."""
        check_key(self._api_key)

    async def close(self) -> None:
        """Close connections and stop the child processes, those of the aligner included."""
        await self._client.close()
        await self._process.kill()
        if self._aligner is not None:
            await self._aligner.close()

    async def _transcribe_chunk(self, encoded: bytes, prompt: str) -> _ChunkTranscript:
        options: dict[str, Any] = {"response_format": "json"}
        if self._model.startswith(_MODELS_WITH_WORD_TIMES):
            options = {"response_format": "verbose_json", "timestamp_granularities": ["word"]}
        if prompt:
            options["prompt"] = prompt
        try:
            with map_openai_errors():
                response: Any = await self._client.audio.transcriptions.create(
                    file=("answer.ogg", encoded, "audio/ogg"), model=self._model, **options
                )
        except openai.BadRequestError as error:
            raise CannotTranscribe("The AI provider could not read this recording.") from error
        text = getattr(response, "text", None)
        if not isinstance(text, str):
            raise Unavailable("The AI provider returned an invalid response.")
        words = tuple(
            Word(word.word.strip(), float(word.start), float(word.end))
            for word in getattr(response, "words", None) or ()
        )
        return _ChunkTranscript(
            text.strip(), _language_code(getattr(response, "language", None)), words
        )

    async def _align(self, recording: Path, text: str, prompt: str) -> tuple[Word, ...]:
        """Return the words of `text` with the aligner's times, or no words if it fails."""
        if self._aligner is None:
            return ()
        try:
            local = await self._aligner.transcribe(recording, prompt=prompt)
        except CoachError:
            return ()
        return await asyncio.to_thread(align, text, local.words)


def _shift_times(chunk: _ChunkTranscript, seconds: float) -> _ChunkTranscript:
    words = tuple(
        replace(word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3))
        for word in chunk.words
    )
    return replace(chunk, words=words)


def _language_code(name: object) -> str | None:
    """Return a language code. The API returns names such as `english` instead of codes."""
    if not isinstance(name, str) or not name:
        return None
    return {"english": "en", "german": "de", "french": "fr", "spanish": "es"}.get(
        name.lower(), name.lower()[:8]
    )
