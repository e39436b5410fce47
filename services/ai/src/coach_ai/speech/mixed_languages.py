"""Transcribes the English parts of a recording that is not all in English."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.transcribe import get_ctranslate2_storage

from coach_ai.speech.batch_transcription import Phrase, Span, join_segments, padded_frames
from coach_ai.speech.other_languages import (
    MAIN_LANGUAGE,
    OtherLanguage,
    find_other_languages,
    measure_main_share,
)
from coach_ai.speech.samples import SAMPLE_RATE, Samples

_MIN_MAIN_SHARE = 0.5
"""An answer with less English than this is not an English answer."""

TranscribeIn = Callable[[Sequence[Span], str], list[Phrase]]
"""Transcribes segments in a language."""


@dataclass(frozen=True, slots=True)
class MixedTranscript:
    """The phrases, the language, and the parts in another language that have no phrases."""

    phrases: list[Phrase]
    language: str
    others: tuple[OtherLanguage, ...] = ()


class LanguageDetector:
    """Detects the language of a part of a recording. Each part is encoded once."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model

    def __call__(self, samples: Samples) -> dict[str, float]:
        """Return the probability of each language code."""
        features = self._model.feature_extractor(samples)
        length = padded_frames(features.shape[-1])
        encoded = np.asarray(self._model.encode(pad_or_trim(features, length)))
        (votes,) = self._model.model.detect_language(get_ctranslate2_storage(encoded))
        return {token.strip("<|>"): probability for token, probability in votes}


def keep_main_language(
    detect: Callable[[Samples], dict[str, float]],
    samples: Samples,
    parts: Sequence[Span],
    phrases: list[Phrase],
    language: str,
    transcribe: TranscribeIn,
) -> MixedTranscript:
    """Return the phrases of the English parts if at least half of the speech is English.

    Otherwise each part is transcribed in its own language, and `language` is the one spoken most.
    """
    if language != MAIN_LANGUAGE:
        if measure_main_share(samples, parts, detect) < _MIN_MAIN_SHARE:
            return MixedTranscript(phrases, language)
        phrases = transcribe(join_segments(parts), MAIN_LANGUAGE)
    words = [word for phrase in phrases if not phrase.is_hallucination for word in phrase.words]
    others = find_other_languages(samples, parts, words, detect)
    if not others:
        return MixedTranscript(phrases, MAIN_LANGUAGE)
    main_parts = [part for part in parts if not any(_overlaps(part, other) for other in others)]
    affected = [phrase for phrase in phrases if any(_contains(phrase, one) for one in others)]
    kept = [phrase for phrase in phrases if phrase not in affected]
    again = [
        segment
        for phrase in affected
        for segment in join_segments([part for part in main_parts if _is_within(part, phrase)])
    ]
    main = [*kept, *(transcribe(again, MAIN_LANGUAGE) if again else ())]
    spoken = sum(end - begin for begin, end in parts)
    main_seconds = sum(end - begin for begin, end in main_parts)
    if main_seconds >= _MIN_MAIN_SHARE * spoken:
        return MixedTranscript(_in_order(main), MAIN_LANGUAGE, tuple(others))
    seconds: dict[str, int] = {}
    for other in others:
        seconds[other.language] = seconds.get(other.language, 0) + other.end - other.begin
        inside = [part for part in parts if _overlaps(part, other)]
        main += transcribe(join_segments(inside), other.language)
    return MixedTranscript(_in_order(main), max(seconds, key=seconds.__getitem__))


def _in_order(phrases: list[Phrase]) -> list[Phrase]:
    return sorted(phrases, key=lambda phrase: phrase.begin)


def _overlaps(part: Span, other: OtherLanguage) -> bool:
    return part[0] < other.end and other.begin < part[1]


def _contains(phrase: Phrase, other: OtherLanguage) -> bool:
    return phrase.begin * SAMPLE_RATE < other.end and other.begin < phrase.end * SAMPLE_RATE


def _is_within(part: Span, phrase: Phrase) -> bool:
    middle = (part[0] + part[1]) / 2 / SAMPLE_RATE
    return phrase.begin <= middle <= phrase.end
