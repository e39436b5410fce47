"""Whisper over several segments at once, each padded by 5 s or less instead of to 30 s.

faster-whisper pads every segment to 30 s, and the encoder takes as long for silence as for speech:
a segment of 5 s takes three times as long as necessary. With too little padding the decoder misses
the end of the segment and repeats it: in 4 of 44 segments with 1 s, in 2 with 2 s, in none with 3
s.

| padding | word errors, short segments | word errors, segments of 20 s and more |
|---|---|---|
| 2 s | | 14.0 % |
| 3 s | 3.4 % | 13.7 % |
| 5 s | 3.1 % | 15.0 % |
| to 30 s | 2.4 % | |

The long segments are 465 s of clean and degraded speech. Segments are as long as possible: shorter
ones take less processor time and have more word errors.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import (
    get_ctranslate2_storage,
    get_suppressed_tokens,
    merge_punctuations,
)
from faster_whisper.vad import VadOptions, get_speech_timestamps
from numpy.typing import NDArray

from coach_ai.domain import Word
from coach_ai.speech.audio import SAMPLE_RATE, Samples

MAX_SEGMENT_SECONDS = 30.0

PROMPT_LANGUAGE = "en"
"""A prompt in another language than the speech harms recognition."""

_BATCH_SIZE = 8
"""Decoding a token reads all weights: eight segments at once take 0.8 of the time of twice four."""
_ALIGNMENT_BATCH = 2
"""Aligning eight at once takes as long and needs 200 MB more."""
_LANGUAGE_VOTES = 4
"""Segments that vote on the language."""
_PADDING_FRAMES = 500
_LONG_FRAMES, _LONG_PADDING_FRAMES = 2000, 200
_MAX_FRAMES = 3000
_MAX_TOKENS_PER_SECOND = 12
"""Above the rate of any speech. Stops a decoder that repeats itself."""
_MIN_TOKENS = 16
_MAX_PROMPT_TOKENS = 160
"""Whisper takes 223. The decoder needs the rest of its 448 positions for half a minute of words."""
_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"
_MIN_LOGPROB = -1.0
_MAX_COMPRESSION_RATIO = 2.4

Span = tuple[int, int]
"""Begin and end of a segment, in samples."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """The transcript of one segment. Times are seconds from the recording's start."""

    begin: float
    end: float
    text: str
    words: tuple[Word, ...]
    logprob: float

    @property
    def is_hallucination(self) -> bool:
        """True if the text looks hallucinated by Whisper's own criteria.

        Mean log probability below -1, or a compression ratio above 2.4 (repetition). Radford et al.
        2022, section 4.5.
        """
        content = self.text.encode()
        is_repeating = len(content) > _MAX_COMPRESSION_RATIO * len(zlib.compress(content))
        return is_repeating or self.logprob < _MIN_LOGPROB


@dataclass(frozen=True, slots=True)
class Language:
    """The detected language and its probability."""

    code: str
    probability: float


def find_speech(samples: Samples) -> list[Span]:
    """Return the parts with speech, each up to 30 s, split at silences if possible."""
    options = VadOptions(
        max_speech_duration_s=MAX_SEGMENT_SECONDS, min_silence_duration_ms=160, speech_pad_ms=200
    )
    return [(part["start"], part["end"]) for part in get_speech_timestamps(samples, options)]


def join_segments(parts: Sequence[Span]) -> list[Span]:
    """Return segments of up to 30 s, each of as many neighbouring parts as fit."""
    segments: list[Span] = []
    for begin, end in parts:
        if segments and end - segments[-1][0] <= MAX_SEGMENT_SECONDS * SAMPLE_RATE:
            segments[-1] = (segments[-1][0], end)
        else:
            segments.append((begin, end))
    return segments


def segment(samples: Samples) -> list[Span]:
    """Return segments of up to 30 s that contain speech, split at silences if possible."""
    return join_segments(find_speech(samples))


def batch_transcribe(
    model: WhisperModel,
    samples: Samples,
    segments: Sequence[Span],
    *,
    language: str | None = None,
    prompt: str = "",
    beam_size: int = 1,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> tuple[list[Phrase], Language]:
    """Return the phrase of each segment, in order, and the language.

    `prompt` is text that may precede the recording: words in it are recognised more easily.
    Segments of similar length are batched, longest first. `on_progress` receives the seconds done
    so far: encoding a segment counts half of its duration, decoding it the other half."""
    detected = Language(language, 1.0) if language else None
    phrases_by_segment: dict[Span, Phrase] = {}
    done_seconds = 0.0
    longest_first = sorted(segments, key=lambda one: one[0] - one[1])
    for first in range(0, len(longest_first), _BATCH_SIZE):
        batch = longest_first[first : first + _BATCH_SIZE]
        features = [model.feature_extractor(samples[begin:end]) for begin, end in batch]
        frames = [min(_MAX_FRAMES, one.shape[-1]) for one in features]
        length = padded_frames(max(frames))
        encoded = []
        for one, (begin, end) in zip(features, batch, strict=True):
            # Encoded one by one: a batch takes as long and needs several times the memory.
            encoded.append(np.asarray(model.encode(pad_or_trim(one, length))))
            done_seconds += (end - begin) / SAMPLE_RATE / 2
            on_progress(done_seconds)
        encoded_batch = np.concatenate(encoded)
        detected = detected or _detect_language(
            model, get_ctranslate2_storage(encoded_batch[:_LANGUAGE_VOTES])
        )
        phrases = _decode(model, encoded_batch, batch, frames, detected.code, prompt, beam_size)
        phrases_by_segment |= zip(batch, phrases, strict=True)
        done_seconds += sum(end - begin for begin, end in batch) / SAMPLE_RATE / 2
        on_progress(done_seconds)
    return [phrases_by_segment[segment] for segment in segments], detected or Language("en", 0.0)


def padded_frames(frames: int) -> int:
    """Return the padded number of frames. It is even, because the encoder halves it."""
    padding = _PADDING_FRAMES if frames < _LONG_FRAMES else _LONG_PADDING_FRAMES
    return min(_MAX_FRAMES, (frames + padding) // 2 * 2)


def _detect_language(model: WhisperModel, encoded: object) -> Language:
    """Return the language with the highest mean probability over the segments."""
    if not model.model.is_multilingual:
        return Language("en", 1.0)
    votes: dict[str, float] = {}
    segments = model.model.detect_language(encoded)
    for segment_votes in segments:
        for token, probability in segment_votes:
            votes[token] = votes.get(token, 0.0) + probability / len(segments)
    token = max(votes, key=lambda one: votes[one])
    return Language(token.strip("<|>"), votes[token])


def _decode(
    model: WhisperModel,
    encoded_batch: NDArray[np.float32],
    batch: Sequence[Span],
    frames: Sequence[int],
    language: str,
    prompt: str,
    beam_size: int,
) -> list[Phrase]:
    tokenizer = Tokenizer(
        model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language
    )
    is_prompted = prompt and language == PROMPT_LANGUAGE
    previous = tokenizer.encode(f" {prompt.strip()}") if is_prompted else []
    tokens_before = model.get_prompt(
        tokenizer, previous[-_MAX_PROMPT_TOKENS:], without_timestamps=True
    )
    max_new_tokens = _MIN_TOKENS + _MAX_TOKENS_PER_SECOND * max(frames) // 100
    results = model.model.generate(
        get_ctranslate2_storage(encoded_batch),
        [tokens_before] * len(batch),
        beam_size=beam_size,
        max_length=min(model.max_length, len(tokens_before) + max_new_tokens),
        suppress_blank=True,
        suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
        return_scores=True,
    )
    token_ids = [[t for t in one.sequences_ids[0] if t < tokenizer.eot] for one in results]
    alignments = []
    for first in range(0, len(batch), _ALIGNMENT_BATCH):
        some = slice(first, first + _ALIGNMENT_BATCH)
        alignments += model.find_alignment(
            tokenizer,
            token_ids[some],
            get_ctranslate2_storage(encoded_batch[some]),
            list(frames[some]),
        )
    phrases = []
    for (begin, end), result, tokens, words in zip(
        batch, results, token_ids, alignments, strict=True
    ):
        merge_punctuations(words, _PREPENDED, _APPENDED)
        length = len(result.sequences_ids[0])
        phrases.append(
            Phrase(
                begin / SAMPLE_RATE,
                end / SAMPLE_RATE,
                tokenizer.decode(tokens).strip(),
                tuple(
                    _make_word(word, begin / SAMPLE_RATE, end / SAMPLE_RATE)
                    for word in words
                    if word["word"]
                ),
                # The score is a mean over the tokens. Whisper's own also counts the end token.
                result.scores[0] * length / (length + 1),
            )
        )
    return phrases


def _make_word(word: dict[str, object], begin: float, end: float) -> Word:
    start, stop, probability = (float(word[name]) for name in ("start", "end", "probability"))  # type: ignore[arg-type]
    return Word(
        str(word["word"]).strip(),
        round(min(begin + start, end), 2),
        round(min(begin + stop, end), 2),
        round(probability, 3),
    )
