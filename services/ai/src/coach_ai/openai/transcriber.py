"""Transcription by OpenAI's API, or a compatible server: the recording is sent in chunks."""

import asyncio
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coach_ai.domain import (
    NO_SPEECH,
    CannotTranscribe,
    Progress,
    Transcript,
    Word,
    estimate_tokens,
)
from coach_ai.openai.chat_completions import INVALID_RESPONSE_MESSAGE
from coach_ai.openai.client import (
    DEFAULT_TIMEOUT_SECONDS,
    PROVIDER,
    RefusedByProvider,
    check_key,
    map_openai_errors,
    open_client,
    to_unavailable,
)
from coach_ai.openai.invalid_responses import InvalidResponses, digest
from coach_ai.openai.json_responses import parse_object
from coach_ai.openai.provider_calls import InvalidResponse, ProviderCalls
from coach_ai.openai.recording_splitter import (
    Chunk,
    DecodingSplitter,
    RecordingSplitter,
    SplitRecording,
)
from coach_ai.openai.refusals import Feature, Reason, read_error_body
from coach_ai.openai.request_forms import (
    MAX_CHUNK_SECONDS,
    FormMemory,
    SpeechForm,
    first_speech_form,
    simplify,
)
from coach_ai.ports import ProgressCallback, Transcriber, ignore_progress
from coach_ai.speech.alignment import align
from coach_ai.token_usage import TokenBudget, TokenUsage, UnlimitedBudget
from coach_common.errors import CoachError

AUDIO_TOKENS_PER_SECOND = 10
"""Input tokens of a second of audio. Source: OpenAI's transcription models bill about 600 per
minute. The same is counted for servers that report a duration or nothing."""
_TEXT_TOKENS_PER_SECOND = 5
"""Upper bound of the output: 200 words per minute, one and a half tokens per word."""
_UNREADABLE = "The AI provider could not read this recording."
_DECLINED = "The AI provider declined to transcribe this recording."
_TOO_LONG = "This recording is longer than the AI provider accepts."


@dataclass(frozen=True, slots=True)
class _ChunkTranscript:
    """The transcript of a chunk. `seconds` is None if the response has no duration."""

    text: str
    language: str | None
    words: tuple[Word, ...]
    seconds: float | None = None


class _NewChunksNeeded(Exception):
    """The server accepts no chunk of this format or length. `form` is the one to try."""

    def __init__(self, form: SpeechForm) -> None:
        super().__init__(form.name)
        self.form = form


class OpenAITranscriber:
    """A Transcriber over OpenAI's API, or a compatible server.

    `aligner` is a second transcriber that supplies word times if the model returns none. `splitter`
    prepares the recordings. None: they are decoded.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str | None,
        model: str,
        aligner: Transcriber | None,
        *,
        splitter: RecordingSplitter | None = None,
        max_chunk_seconds: float = MAX_CHUNK_SECONDS,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._api_key, self._base_url, self._model = api_key, base_url, model
        self._client = open_client(api_key, base_url, timeout_seconds)
        self._aligner = aligner
        self._splitter = splitter or DecodingSplitter()
        self._calls = ProviderCalls("transcribe", timeout_seconds)
        self._invalid_responses = InvalidResponses()
        self._forms = FormMemory(
            "transcribe", base_url, model, first_speech_form(model, max_chunk_seconds)
        )

    async def transcribe(
        self,
        recording: Path,
        on_progress: ProgressCallback = ignore_progress,
        *,
        prompt: str = "",
        budget: TokenBudget | None = None,
    ) -> Transcript:
        """Return the transcript, with word times if the model or the aligner supplies them."""
        form = self._forms.get()
        budget = budget or UnlimitedBudget()
        is_reserved = False
        while True:
            with tempfile.TemporaryDirectory(prefix="chunks-", dir=recording.parent) as directory:
                split = await self._splitter.split(recording, Path(directory), form, on_progress)
                if not is_reserved:
                    await budget.reserve(estimate_audio_tokens(split.sent_seconds))
                    is_reserved = True
                try:
                    parts = await self._transcribe_chunks(
                        split, form, prompt, on_progress, budget.usage
                    )
                except _NewChunksNeeded as needed:
                    form, on_progress = needed.form, ignore_progress
                    continue
            break
        text = " ".join(part.text for part in parts if part.text).strip()
        if not text:
            raise CannotTranscribe(NO_SPEECH)
        words = tuple(word for part in parts for word in part.words)
        duration_seconds = split.duration_seconds
        if duration_seconds is None:
            duration_seconds = _sum_durations(parts)
        if not words:
            words = await self._align(recording, text, prompt)
        return Transcript(
            text=text,
            language=next((part.language for part in parts if part.language), None) or "en",
            duration_seconds=duration_seconds,
            provider=PROVIDER,
            model=self._model,
            words=words,
            silences=split.silences,
            acoustic_features=split.acoustic_features,
            coverage=split.coverage,
        )

    async def warm_up(self) -> None:
        """There is no model to load."""

    async def check(self) -> None:
        """Raise Unavailable without a key, or if the last call failed. Sends no request."""
        check_key(self._api_key, self._base_url)
        self._calls.check()

    async def close(self) -> None:
        """Close connections and stop the child processes, those of the aligner included."""
        await self._client.close()
        await self._splitter.close()
        if self._aligner is not None:
            await self._aligner.close()

    async def _transcribe_chunks(
        self,
        split: SplitRecording,
        form: SpeechForm,
        prompt: str,
        on_progress: ProgressCallback,
        usage: TokenUsage,
    ) -> list[_ChunkTranscript]:
        parts: list[_ChunkTranscript] = []
        for chunk in split.chunks:
            encoded = await asyncio.to_thread(chunk.path.read_bytes)
            part, form = await self._transcribe_chunk(chunk, encoded, form, prompt, usage)
            parts.append(_shift_times(part, chunk.begin))
            if len(split.chunks) > 1:
                await on_progress(Progress(chunk.end, split.duration_seconds or split.sent_seconds))
        return parts

    async def _transcribe_chunk(
        self, chunk: Chunk, encoded: bytes, form: SpeechForm, prompt: str, usage: TokenUsage
    ) -> tuple[_ChunkTranscript, SpeechForm]:
        """Return the transcript of a chunk, and the form of the request that was accepted.

        Raises:
            CannotTranscribe: If the server cannot read the audio, or a filter refused it.
            Unavailable: If the provider fails, or accepts no form of the request.
            _NewChunksNeeded: If the audio has to be encoded or split in another way.
        """
        key = digest(encoded)
        attempt = self._invalid_responses.list_attempts(key).start
        is_certain = True
        try:
            async with self._calls.call():
                while True:
                    try:
                        response = await self._request(chunk, encoded, form, prompt)
                    except RefusedByProvider as refused:
                        if refused.refusal.reason is Reason.TOO_SHORT:
                            return _ChunkTranscript("", None, ()), form
                        form = _next_form(form, refused, chunk, has_prompt=bool(prompt))
                        is_certain = is_certain and refused.refusal.reason is not Reason.BUSY
                        continue
                    seconds = _read_duration(response)
                    tokens = _read_usage(response, _limit_seconds(chunk, seconds))
                    usage.add(self._model, *tokens)
                    part = replace(_read_transcript(response), seconds=seconds)
                    break
        except InvalidResponse:
            self._invalid_responses.record(key, attempt)
            raise
        self._invalid_responses.forget(key)
        if is_certain:
            self._forms.remember(form)
        return part, form

    async def _request(
        self, chunk: Chunk, encoded: bytes, form: SpeechForm, prompt: str
    ) -> Mapping[str, Any]:
        options: dict[str, Any] = {"response_format": "json"}
        if form.has_word_times:
            options = {"response_format": "verbose_json", "timestamp_granularities": ["word"]}
        if prompt and form.has_prompt:
            options["prompt"] = prompt
        file = (chunk.file_name, encoded, chunk.media_type)
        with map_openai_errors():
            raw = await self._client.audio.transcriptions.with_raw_response.create(
                file=file, model=self._model, **options
            )
        response = parse_object(raw.text)
        if response is None:
            raise InvalidResponse(INVALID_RESPONSE_MESSAGE)
        if response.get("error"):
            raise RefusedByProvider(read_error_body(raw.text))
        return response

    async def _align(self, recording: Path, text: str, prompt: str) -> tuple[Word, ...]:
        """Return the words of `text` with the aligner's times, or no words if it fails."""
        if self._aligner is None:
            return ()
        try:
            local = await self._aligner.transcribe(recording, prompt=prompt)
        except CoachError:
            return ()
        return await asyncio.to_thread(align, text, local.words)


def estimate_audio_tokens(seconds: float) -> int:
    """Return the most tokens that transcribing this much audio can use."""
    return math.ceil(seconds * (AUDIO_TOKENS_PER_SECOND + _TEXT_TOKENS_PER_SECOND))


def _next_form(
    form: SpeechForm, refused: RefusedByProvider, chunk: Chunk, *, has_prompt: bool
) -> SpeechForm:
    """Return the form to try after a refusal, for the same audio.

    Raises:
        CannotTranscribe: If the server cannot read the audio, a filter refused it, or it is too
            long and cannot be split.
        Unavailable: If there is no plainer form, or the refusal has another reason.
        _NewChunksNeeded: If the form needs other chunks.
    """
    refusal = refused.refusal
    plainer: SpeechForm | None = None
    match refusal.reason:
        case Reason.CONTENT:
            raise CannotTranscribe(_DECLINED) from refused
        case Reason.FILE if chunk.can_convert:
            raise _NewChunksNeeded(replace(form, is_wav=True)) from refused
        case Reason.FILE if refusal.status < 500:
            raise CannotTranscribe(_UNREADABLE) from refused
        case Reason.TOO_LONG if not chunk.can_split:
            raise CannotTranscribe(_TOO_LONG) from refused
        case Reason.TOO_LONG:
            shorter = form.shorten()
            if shorter is not None:
                raise _NewChunksNeeded(shorter) from refused
        case Reason.REQUEST:
            used = {Feature.WORD_TIMES} | ({Feature.PROMPT} if has_prompt else set())
            plainer = simplify(form, refusal.features, frozenset(used))
        case Reason.BUSY if refusal.status == 500 and form.has_word_times:
            # Some servers fail with 500 for a response format that the model does not support.
            plainer = form.simplify(Feature.WORD_TIMES)
    if plainer is None:
        raise to_unavailable(refused) from refused
    return plainer


def _read_usage(response: Mapping[str, Any], seconds: float) -> tuple[int, int]:
    """Return the reported input and output tokens, or an estimate by the duration."""
    usage = response.get("usage")
    if isinstance(usage, Mapping):
        tokens = usage.get("input_tokens"), usage.get("output_tokens")
        match tokens:
            case (int(tokens_in), int(tokens_out)) if tokens_in >= 0 and tokens_out >= 0:
                return tokens_in, tokens_out
    return math.ceil(seconds * AUDIO_TOKENS_PER_SECOND), estimate_tokens(
        str(response.get("text") or "")
    )


def _read_duration(response: Mapping[str, Any]) -> float | None:
    """Return the seconds of audio that the provider measured, or None if it reports none."""
    usage = response.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    for value in (response.get("duration"), usage.get("seconds")):
        try:
            seconds = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        if 0 < seconds < math.inf:
            return seconds
    return None


def _limit_seconds(chunk: Chunk, measured: float | None) -> float:
    """Return the length of a chunk. If it is only an upper bound, `measured` can be less."""
    if chunk.can_split or measured is None:
        return chunk.seconds
    return min(chunk.seconds, measured)


def _sum_durations(parts: Sequence[_ChunkTranscript]) -> float:
    """Return the seconds that the provider measured, else the end of the last word, else 0."""
    measured = [part.seconds for part in parts if part.seconds is not None]
    if len(measured) == len(parts):
        return round(sum(measured), 3)
    return max((word.end for part in parts for word in part.words), default=0.0)


def _read_transcript(response: Mapping[str, Any]) -> _ChunkTranscript:
    """Return the transcript in a response. Raises InvalidResponse if it contains none."""
    text = response.get("text")
    if not isinstance(text, str):
        raise InvalidResponse(INVALID_RESPONSE_MESSAGE)
    words = response.get("words")
    return _ChunkTranscript(
        text.strip(),
        _language_code(response.get("language")),
        tuple(
            word
            for item in (words if isinstance(words, list) else ())
            if (word := _read_word(item)) is not None
        ),
    )


def _read_word(item: object) -> Word | None:
    """Return a word with its times, or None if one of them is missing or impossible."""
    if not isinstance(item, Mapping) or not isinstance(item.get("word"), str):
        return None
    try:
        start, end = float(item["start"]), float(item["end"])
    except (KeyError, TypeError, ValueError):
        return None
    text = item["word"].strip()
    return Word(text, start, end) if text and 0 <= start <= end < math.inf else None


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
