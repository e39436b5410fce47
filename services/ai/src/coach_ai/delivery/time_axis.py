"""The time axis of an answer without the stretches that are not part of it. Plain Python.

Damaged parts, the question read aloud and parts in another language are cut out. Metrics are
measured as if the recording did not contain them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from coach_ai.domain import (
    AcousticFeatures,
    Answer,
    AudioAnalysis,
    GapReason,
    HeldVowel,
    Silence,
    Transcript,
    Word,
)

_CUT_REASONS = (GapReason.DAMAGED, GapReason.OTHER_LANGUAGE)
_PRECISION = 3


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Maps times of a recording to times without its cuts, which are sorted and disjoint."""

    cuts: tuple[tuple[float, float], ...] = ()

    @classmethod
    def for_answer(cls, answer: Answer | Transcript | AudioAnalysis) -> "TimeAxis":
        """Return the axis without damage, other languages, and what was set aside."""
        gaps = () if answer.coverage is None else answer.coverage.list_gaps(*_CUT_REASONS)
        set_aside = answer.set_aside if isinstance(answer, Answer) else ()
        return cls(_merge([*((gap.start, gap.end) for gap in gaps), *set_aside]))

    def compress(self, seconds: float) -> float:
        """Return a time on the axis without the cuts. A time within a cut becomes its begin."""
        if not self.cuts:
            return seconds
        removed = sum(min(end, seconds) - start for start, end in self.cuts if start < seconds)
        return round(seconds - removed, _PRECISION)

    def restore(self, seconds: float) -> float:
        """Return the time of the recording for a time on the axis without the cuts."""
        if not self.cuts:
            return seconds
        for start, end in self.cuts:
            if seconds >= start:
                seconds += end - start
        return round(seconds, _PRECISION)

    def compress_words(self, words: Iterable[Word]) -> tuple[Word, ...]:
        """Return the words with their times on this axis."""
        if not self.cuts:
            return tuple(words)
        return tuple(
            replace(word, start=self.compress(word.start), end=self.compress(word.end))
            for word in words
        )

    def compress_silences(self, silences: Iterable[Silence]) -> tuple[Silence, ...]:
        """Return the silences on this axis. What lies in a cut is no silence."""
        if not self.cuts:
            return tuple(silences)
        mapped = (
            Silence(self.compress(silence.start), self.compress(silence.end))
            for silence in silences
        )
        return tuple(silence for silence in mapped if silence.end > silence.start)

    def compress_features(self, features: AcousticFeatures | None) -> AcousticFeatures | None:
        """Return the acoustic features with the held vowels outside the cuts, on this axis."""
        if features is None or not self.cuts:
            return features
        vowels = tuple(
            HeldVowel(self.compress(vowel.start), self.compress(vowel.end), vowel.flux)
            for vowel in features.held_vowels
            if not any(start < vowel.end and vowel.start < end for start, end in self.cuts)
        )
        return replace(features, held_vowels=vowels)


def _merge(cuts: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(cuts):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return tuple(merged)
