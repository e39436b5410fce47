"""Transcription by OpenAI: the sound track re-encoded, cut in silence, put together again.

Mono Opus at 32 kbit/s keeps a half-hour answer under the API's limit of 25 MB; what would be
longer is cut where nobody speaks.
"""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import av
import openai

from coach_ai.adapters import sound
from coach_ai.adapters.audio import RATE, Samples, decode, silences
from coach_ai.adapters.openai_client import PROVIDER, open_client, translated
from coach_ai.domain import CannotTranscribe, Silence, Transcript, Word
from coach_ai.evidence import tokens_of
from coach_ai.ports import Transcriber
from coach_common.errors import CoachError, Unavailable

BIT_RATE = 32_000
MAX_PIECE_SECONDS = 600.0
"""2.4 MB at 32 kbit/s: far under the limit, and a time-out costs one piece only."""

_OPUS_RATE = 48_000
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
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="sound")

    async def transcribe(self, recording: Path) -> Transcript:
        """Return the words; with times where the model gives them or the aligner is there."""
        loop = asyncio.get_running_loop()
        samples = await loop.run_in_executor(self._threads, decode, recording)
        quiet = await loop.run_in_executor(self._threads, silences, samples)
        measured = await loop.run_in_executor(self._threads, sound.listen, samples)
        heard: list[_Heard] = []
        for begin, end in cut(len(samples) / RATE, quiet, self._max_piece_seconds):
            piece = samples[int(begin * RATE) : int(end * RATE)]
            encoded = await loop.run_in_executor(self._threads, encode, piece)
            heard.append(_shifted(await self._ask(encoded), begin))
        text = " ".join(one.text for one in heard if one.text).strip()
        if not text:
            raise CannotTranscribe("We found no speech in this recording.")
        words = tuple(word for one in heard for word in one.words)
        if not words:
            words = await self._aligned(recording, text)
        return Transcript(
            text=text,
            language=next((one.language for one in heard if one.language), None) or "en",
            duration_seconds=round(len(samples) / RATE, 3),
            provider=PROVIDER,
            model=self._model,
            words=words,
            silences=quiet,
            sound=measured,
        )

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def check(self) -> None:
        """Raise Unavailable without a key; the provider itself shows when it is used."""
        if not self._has_key:
            raise Unavailable("OPENAI_API_KEY is not set")

    async def close(self) -> None:
        """Close connections and threads."""
        await self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
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


def cut(duration: float, quiet: tuple[Silence, ...], longest: float) -> list[tuple[float, float]]:
    """Return pieces of at most `longest` seconds, cut in the middle of the last pause of each.

    Where nobody pauses, the cut falls at `longest`.
    """
    pieces: list[tuple[float, float]] = []
    begin = 0.0
    while duration - begin > longest:
        middles = [(pause.start + pause.end) / 2 for pause in quiet]
        fitting = [middle for middle in middles if begin + 1.0 < middle <= begin + longest]
        end = fitting[-1] if fitting else begin + longest
        pieces.append((begin, end))
        begin = end
    pieces.append((begin, duration))
    return pieces


def encode(samples: Samples) -> bytes:
    """Return mono Opus at 32 kbit/s in Ogg."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="ogg") as container:
        stream: Any = container.add_stream("libopus", rate=_OPUS_RATE)
        stream.bit_rate = BIT_RATE
        stream.layout = "mono"
        resampler = av.AudioResampler(format="flt", layout="mono", rate=_OPUS_RATE)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = RATE
        for resampled in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))
    return buffer.getvalue()


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
