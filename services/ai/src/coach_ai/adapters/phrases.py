"""Whisper over phrases, several at once, each padded by 5 s or less rather than to half a minute.

faster-whisper pads what it hears to 30 s, and the encoder takes its time over silence as over
speech: a phrase of 5 s costs three times what it must. With too little padding the decoder does
not find the end and says everything twice: of 44 phrases 4 with 1 s, 2 with 2 s, none with 3 s.
Word errors over them: 3.4 % with 3 s, 3.1 % with 5 s, 2.4 % with all 30 s. Pieces of 20 s and more
need less: over 465 s in such pieces, clean and worsened, 15.0 % with 5 s, 13.7 % with 3 s and
14.0 % with 2 s. Pieces of long recordings are as long as they may be: shorter ones take less time
of the processor, and cost words.
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

from coach_ai.adapters.audio import RATE, Samples
from coach_ai.domain import Word

LONGEST_SECONDS = 30.0

_BATCH = 8
"""Each next word reads all weights: eight pieces at once take 0.8 of the time of twice four."""
_ALIGNED = 2
"""Eight at once take as long, and 200 MB more."""
_VOTERS = 4
_PADDING_FRAMES = 500
_LONG_FRAMES, _LONG_PADDING_FRAMES = 2000, 200
_MOST_FRAMES = 3000
_TOKENS_A_SECOND = 12
"""Nobody says more; who repeats himself is stopped there."""
_TOKENS_AT_LEAST = 16
_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"
_LEAST_LOGPROB = -1.0
_MOST_COMPRESSION = 2.4

Span = tuple[int, int]
"""Where a piece begins and ends, in samples."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """What was heard in one piece; times in seconds from the recording's start."""

    begin: float
    end: float
    text: str
    words: tuple[Word, ...]
    logprob: float

    @property
    def is_made_up(self) -> bool:
        """Tell whether the decoder lost its way, by the two signs Whisper itself goes by.

        Mean log probability under -1, or text that compresses more than 2.4 times (it repeats):
        Radford et al. 2022, section 4.5.
        """
        content = self.text.encode()
        is_repeating = len(content) > _MOST_COMPRESSION * len(zlib.compress(content))
        return is_repeating or self.logprob < _LEAST_LOGPROB


@dataclass(frozen=True, slots=True)
class Language:
    """What is spoken, and how sure that is."""

    code: str
    probability: float


def cut(samples: Samples) -> list[Span]:
    """Return pieces of up to 30 s that have voice in them, cut where there is none if possible."""
    options = VadOptions(
        max_speech_duration_s=LONGEST_SECONDS, min_silence_duration_ms=160, speech_pad_ms=200
    )
    pieces: list[Span] = []
    for part in get_speech_timestamps(samples, options):
        if pieces and part["end"] - pieces[-1][0] <= LONGEST_SECONDS * RATE:
            pieces[-1] = (pieces[-1][0], part["end"])
        else:
            pieces.append((part["start"], part["end"]))
    return pieces


def hear(
    model: WhisperModel,
    samples: Samples,
    pieces: Sequence[Span],
    *,
    language: str | None = None,
    beam_size: int = 1,
    done: Callable[[float], None] = lambda seconds: None,
) -> tuple[list[Phrase], Language]:
    """Return what is said in each piece, in their order, and in what language.

    Pieces of like length are heard together, the longest first; `done` hears how many seconds
    have been: half of the work over a second is to encode it, half to find its words.
    """
    spoken = Language(language, 1.0) if language else None
    found: dict[Span, Phrase] = {}
    heard_seconds = 0.0
    by_length = sorted(pieces, key=lambda piece: piece[0] - piece[1])
    for first in range(0, len(by_length), _BATCH):
        batch = by_length[first : first + _BATCH]
        features = [model.feature_extractor(samples[begin:end]) for begin, end in batch]
        frames = [min(_MOST_FRAMES, one.shape[-1]) for one in features]
        length = _padded(max(frames))
        encoded = []
        for one, (begin, end) in zip(features, batch, strict=True):
            # One by one: together they take as long, and several times the memory.
            encoded.append(np.asarray(model.encode(pad_or_trim(one, length))))
            heard_seconds += (end - begin) / RATE / 2
            done(heard_seconds)
        sounds = np.concatenate(encoded)
        spoken = spoken or _language(model, get_ctranslate2_storage(sounds[:_VOTERS]))
        phrases = _decode(model, sounds, batch, frames, spoken.code, beam_size)
        found |= zip(batch, phrases, strict=True)
        heard_seconds += sum(end - begin for begin, end in batch) / RATE / 2
        done(heard_seconds)
    return [found[piece] for piece in pieces], spoken or Language("en", 0.0)


def _padded(frames: int) -> int:
    """Return how many frames the encoder is given; even, for its first layers halve them."""
    padding = _PADDING_FRAMES if frames < _LONG_FRAMES else _LONG_PADDING_FRAMES
    return min(_MOST_FRAMES, (frames + padding) // 2 * 2)


def _language(model: WhisperModel, encoded: object) -> Language:
    """Return the language that the pieces together speak for most."""
    if not model.model.is_multilingual:
        return Language("en", 1.0)
    votes: dict[str, float] = {}
    pieces = model.model.detect_language(encoded)
    for piece in pieces:
        for token, probability in piece:
            votes[token] = votes.get(token, 0.0) + probability / len(pieces)
    token = max(votes, key=lambda one: votes[one])
    return Language(token.strip("<|>"), votes[token])


def _decode(
    model: WhisperModel,
    sounds: NDArray[np.float32],
    batch: Sequence[Span],
    frames: Sequence[int],
    language: str,
    beam_size: int,
) -> list[Phrase]:
    tokenizer = Tokenizer(
        model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language
    )
    prompt = model.get_prompt(tokenizer, [], without_timestamps=True)
    most = _TOKENS_AT_LEAST + _TOKENS_A_SECOND * max(frames) // 100
    results = model.model.generate(
        get_ctranslate2_storage(sounds),
        [prompt] * len(batch),
        beam_size=beam_size,
        max_length=min(model.max_length, len(prompt) + most),
        suppress_blank=True,
        suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
        return_scores=True,
    )
    said = [[t for t in one.sequences_ids[0] if t < tokenizer.eot] for one in results]
    aligned = []
    for first in range(0, len(batch), _ALIGNED):
        some = slice(first, first + _ALIGNED)
        aligned += model.find_alignment(
            tokenizer, said[some], get_ctranslate2_storage(sounds[some]), list(frames[some])
        )
    phrases = []
    for (begin, end), result, tokens, words in zip(batch, results, said, aligned, strict=True):
        merge_punctuations(words, _PREPENDED, _APPENDED)
        length = len(result.sequences_ids[0])
        phrases.append(
            Phrase(
                begin / RATE,
                end / RATE,
                tokenizer.decode(tokens).strip(),
                tuple(_word(word, begin / RATE, end / RATE) for word in words if word["word"]),
                # The score is a mean over the tokens; Whisper's own counts the end as one more.
                result.scores[0] * length / (length + 1),
            )
        )
    return phrases


def _word(word: dict[str, object], begin: float, end: float) -> Word:
    start, stop, sure = (float(word[name]) for name in ("start", "end", "probability"))  # type: ignore[arg-type]
    return Word(
        str(word["word"]).strip(),
        round(min(begin + start, end), 2),
        round(min(begin + stop, end), 2),
        round(sure, 3),
    )
