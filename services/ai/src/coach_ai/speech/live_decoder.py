"""Transcription of a recording that is still growing.

A phrase is transcribed as soon as the speaker falls silent. When the silence is long enough to end
the phrase, the same words are returned without transcribing again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.vad import VadOptions, get_speech_timestamps

from coach_ai.domain import CannotTranscribe
from coach_ai.speech.audio import SAMPLE_RATE, Samples, decode, resample
from coach_ai.speech.batch_transcription import batch_transcribe

_PHRASE_END_SECONDS = 0.4
_PAD_SECONDS = 0.1
_MAX_DECODED_SECONDS = 29.0
_MIN_NEW_AUDIO_SECONDS = 0.5
"""New speech needed while the speaker continues: each transcription costs the same, however short
the new part is."""
_MIN_LANGUAGE_PROBABILITY = 0.8
_SILENCE_BACKTRACK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """A request to transcribe a growing recording from `start` on.

    `sample_rate` is that of raw 16-bit mono, or None for a container format.
    """

    path: str
    sample_rate: int | None
    start: float
    language: str | None
    prompt: str = ""


class LiveResponse(TypedDict):
    """The words from the request's start, how far the audio reaches, and the last phrase's end.

    A word is (text, start, end). `phrase_end` is None while the speaker continues. `language` is
    None if it is uncertain.
    """

    words: tuple[tuple[str, float, float], ...]
    end: float
    phrase_end: float | None
    language: str | None


@dataclass(slots=True)
class LiveDecoder:
    """Keeps the last transcription: of which recording, from where and up to what second."""

    path: str = ""
    start: float = 0.0
    decoded_until: float = 0.0
    words: tuple[tuple[str, float, float], ...] = ()
    language: str | None = None

    def decode(self, model: WhisperModel, request: LiveRequest) -> LiveResponse | None:
        """Return the words from the request's start, or None if no word is new."""
        window = _read_audio(Path(request.path), request.sample_rate, request.start)
        end = request.start + len(window) / SAMPLE_RATE
        options = VadOptions(
            min_silence_duration_ms=int(_PAD_SECONDS * 1000),
            speech_pad_ms=int(_PAD_SECONDS * 1000),
        )
        speech_parts = get_speech_timestamps(window, options)
        if not speech_parts:
            phrase_end = max(request.start, end - _SILENCE_BACKTRACK_SECONDS)
            return {"words": (), "end": end, "phrase_end": phrase_end, "language": None}
        speech_end = speech_parts[-1]["end"]
        speech_end_seconds = request.start + speech_end / SAMPLE_RATE
        is_phrase_over = end - speech_end_seconds >= _PHRASE_END_SECONDS - _PAD_SECONDS
        is_same = (self.path, self.start) == (request.path, request.start)
        is_decoded = is_same and self.decoded_until >= speech_end_seconds - _PAD_SECONDS
        if not is_decoded:
            new_seconds = speech_end_seconds - self.decoded_until
            if speech_end == len(window) and is_same and new_seconds < _MIN_NEW_AUDIO_SECONDS:
                return None
            first = max(
                speech_parts[0]["start"], speech_end - int(_MAX_DECODED_SECONDS * SAMPLE_RATE)
            )
            self._transcribe(model, window[:speech_end], first, request)
        elif not is_phrase_over:
            return None
        return {
            "words": self.words,
            "end": end,
            "phrase_end": speech_end_seconds if is_phrase_over else None,
            "language": self.language,
        }

    def _transcribe(
        self, model: WhisperModel, window: Samples, first: int, request: LiveRequest
    ) -> None:
        """Transcribe the window from sample `first` on, and keep the result."""
        (phrase,), language = batch_transcribe(
            model, window, [(first, len(window))], language=request.language, prompt=request.prompt
        )
        self.path, self.start = request.path, request.start
        self.decoded_until = request.start + len(window) / SAMPLE_RATE
        is_certain = language.probability >= _MIN_LANGUAGE_PROBABILITY
        self.language = language.code if is_certain else None
        self.words = tuple(
            (
                word.text,
                round(word.start + request.start, 2),
                round(word.end + request.start, 2),
            )
            for word in (() if phrase.is_hallucination else phrase.words)
        )


def _read_audio(recording: Path, sample_rate: int | None, start: float) -> Samples:
    """Return the samples of a growing recording from `start` on."""
    if sample_rate is None:
        try:
            return decode(recording)[int(start * SAMPLE_RATE) :]
        except CannotTranscribe:
            return np.zeros(0, np.float32)  # The container's header is incomplete so far.
    with recording.open("rb") as file:
        file.seek(int(start * sample_rate) * 2)
        content = file.read()
    whole = np.frombuffer(content[: len(content) // 2 * 2], "<i2")
    raw: Samples = whole.astype(np.float32) / np.float32(32768)
    return raw if sample_rate == SAMPLE_RATE else resample(raw, sample_rate)
