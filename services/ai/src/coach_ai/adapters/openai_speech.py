"""Transcription by OpenAI: the sound track re-encoded, cut in silence, put together again.

Mono Opus at 32 kbit/s keeps a half-hour answer under the API's limit of 25 MB; what would be
longer is cut where nobody speaks.
"""

import asyncio
import tempfile
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import openai

from coach_ai.adapters.openai_client import PROVIDER, open_client, translated
from coach_ai.adapters.speech_process import SpeechProcess
from coach_ai.domain import CannotTranscribe, Silence, Sound, Transcript, Word
from coach_ai.evidence import tokens_of
from coach_ai.ports import Tell, Transcriber, nobody
from coach_common.errors import CoachError, Unavailable

MAX_PIECE_SECONDS = 600.0
"""2.4 MB at 32 kbit/s: far under the limit, and a time-out costs one piece only."""

_WITH_WORDS = ("whisper",)
"""Models that answer `verbose_json` with word times; the others only `json`."""


@dataclass(frozen=True, slots=True)
class _Heard:
    text: str
    language: str | None
    words: tuple[Word, ...]


class OpenAITranscriber:
    """A Transcriber over OpenAI's API, or a server that speaks it."""

    def __init__(
        self,
        api_key: str,
        base_url: str | None,
        model: str,
        aligner: Transcriber | None,
        *,
        max_piece_seconds: float = MAX_PIECE_SECONDS,
    ) -> None:
        self._max_piece_seconds = max_piece_seconds
        self._has_key = bool(api_key)
        self._client = open_client(api_key, base_url)
        self._model = model
        self._aligner = aligner
        self._process = SpeechProcess(None, threads=1)
        self._turn = asyncio.Lock()

    async def transcribe(self, recording: Path, tell: Tell = nobody) -> Transcript:
        """Return the words; with times where the model gives them or the aligner is there."""
        with tempfile.TemporaryDirectory(prefix="pieces-") as folder:
            async with self._turn:
                said = await self._process.ask(
                    {
                        "path": str(recording),
                        "pieces": folder,
                        "longest": self._max_piece_seconds,
                    },
                    tell,
                )
            pieces = said["pieces"]
            heard = [
                _shifted(await self._ask(await asyncio.to_thread(Path(file).read_bytes)), begin)
                for begin, file in pieces["files"]
            ]
        text = " ".join(one.text for one in heard if one.text).strip()
        if not text:
            raise CannotTranscribe("We found no speech in this recording.")
        words = tuple(word for one in heard for word in one.words)
        if not words:
            words = await self._aligned(recording, text)
        return Transcript(
            text=text,
            language=next((one.language for one in heard if one.language), None) or "en",
            duration_seconds=pieces["duration_seconds"],
            provider=PROVIDER,
            model=self._model,
            words=words,
            silences=tuple(Silence(**silence) for silence in pieces["silences"]),
            sound=Sound.of(pieces["sound"]),
        )

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def check(self) -> None:
        """Raise Unavailable without a key; the provider itself shows when it is used."""
        if not self._has_key:
            raise Unavailable("OPENAI_API_KEY is not set")

    async def close(self) -> None:
        """Close connections and end the children."""
        await self._client.close()
        await self._process.kill()
        if self._aligner is not None:
            await self._aligner.close()

    async def _ask(self, encoded: bytes) -> _Heard:
        options: dict[str, Any] = {"response_format": "json"}
        if self._model.startswith(_WITH_WORDS):
            options = {"response_format": "verbose_json", "timestamp_granularities": ["word"]}
        try:
            with translated():
                answer: Any = await self._client.audio.transcriptions.create(
                    file=("answer.ogg", encoded, "audio/ogg"), model=self._model, **options
                )
        except openai.BadRequestError as error:
            raise CannotTranscribe("The AI provider could not read this recording.") from error
        text = getattr(answer, "text", None)
        if not isinstance(text, str):
            raise Unavailable("The AI provider's answer made no sense.")
        words = tuple(
            Word(word.word.strip(), float(word.start), float(word.end))
            for word in getattr(answer, "words", None) or ()
        )
        return _Heard(text.strip(), _language(getattr(answer, "language", None)), words)

    async def _aligned(self, recording: Path, text: str) -> tuple[Word, ...]:
        """Return the words of `text` with the times the local model heard them; else none."""
        if self._aligner is None:
            return ()
        try:
            local = await self._aligner.transcribe(recording)
        except CoachError:
            return ()
        return align(text, local.words)


def align(text: str, heard: tuple[Word, ...]) -> tuple[Word, ...]:
    """Return the words of `text` that were also heard, each with its time; no time is guessed."""
    written = text.split()
    ours = [" ".join(tokens_of(word)) for word in written]
    theirs = [" ".join(tokens_of(word.text)) for word in heard]
    return tuple(
        replace(heard[block.b + offset], text=written[block.a + offset])
        for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
        for offset in range(block.size)
    )


def _shifted(heard: _Heard, seconds: float) -> _Heard:
    words = tuple(
        replace(word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3))
        for word in heard.words
    )
    return replace(heard, words=words)


def _language(name: object) -> str | None:
    """Return a code: the API says `english` where it should say `en`."""
    if not isinstance(name, str) or not name:
        return None
    return {"english": "en", "german": "de", "french": "fr", "spanish": "es"}.get(
        name.lower(), name.lower()[:8]
    )
