"""Recordings, transcripts and acoustic features. Times are seconds from the recording's start."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from coach_common.errors import CoachError

NO_SPEECH = "We found no speech in this recording."
NOT_INTELLIGIBLE = "We could not understand what is said in this recording."


class CannotTranscribe(CoachError):
    """The recording can never be transcribed: no speech, unreadable or refused. Not retried."""

    code = "cannot_transcribe"


@dataclass(frozen=True, slots=True)
class Word:
    """One transcribed word. `probability` is None if the provider does not return one."""

    text: str
    start: float
    end: float
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch without speech, found by signal energy."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class PitchWindow:
    """Mean and standard deviation of the pitch over the voiced 10 ms frames of up to 10 s."""

    start: float
    mean_hz: float
    sd_hz: float
    frames: int


@dataclass(frozen=True, slots=True)
class HeldVowel:
    """A stretch with steady pitch and spectrum, inside a word or between words.

    `flux` is the mean change of the spectrum within 100 ms, in dB.
    """

    start: float
    end: float
    flux: float


@dataclass(frozen=True, slots=True)
class AcousticFeatures:
    """Features computed from the samples when the recording is decoded.

    Levels are RMS in dB below full scale: `speech_dbfs` is the median of the frames with speech,
    `noise_dbfs` the 5th percentile of all frames. Both are None for an empty recording. `clipped`
    is the share of samples at full scale, from 0 to 1.
    """

    speech_dbfs: float | None
    noise_dbfs: float | None
    clipped: float
    pitch: tuple[PitchWindow, ...]
    held_vowels: tuple[HeldVowel, ...]


class GapReason(StrEnum):
    """Why a part of a recording was not transcribed."""

    DAMAGED = "damaged"
    """The data cannot be decoded."""
    MISSING = "missing"
    """The container has no data for this time."""
    TOO_LONG = "too_long"
    """It lies after the first 30 minutes."""
    OTHER_LANGUAGE = "other_language"


@dataclass(frozen=True, slots=True)
class AudioGap:
    """A part of a recording that was not transcribed. `language` is the code of another one."""

    start: float
    end: float
    reason: GapReason
    language: str | None = None


@dataclass(frozen=True, slots=True)
class AudioCoverage:
    """How much of a recording was transcribed. `duration_seconds` includes the gaps."""

    duration_seconds: float
    heard_seconds: float
    gaps: tuple[AudioGap, ...] = ()

    def list_gaps(self, *reasons: GapReason) -> list[AudioGap]:
        """Return the gaps with one of these reasons, in order."""
        return [gap for gap in self.gaps if gap.reason in reasons]


@dataclass(frozen=True, slots=True)
class AudioAnalysis:
    """Everything that is known about a recording before its transcript."""

    duration_seconds: float
    silences: tuple[Silence, ...]
    acoustic_features: AcousticFeatures
    coverage: AudioCoverage | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the transcription of a long recording."""

    done_seconds: float
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """The transcript of a recording.

    `words` is empty if the provider returned no word times. `silences`, `acoustic_features` and
    `coverage` are None if the audio was not decoded. `duration_seconds` is then the provider's, or
    0 if it returned none.
    """

    text: str
    language: str
    duration_seconds: float
    provider: str
    model: str
    words: tuple[Word, ...] = ()
    silences: tuple[Silence, ...] | None = None
    acoustic_features: AcousticFeatures | None = None
    coverage: AudioCoverage | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A confirmed recording. `etag` and `size_bytes` identify the confirmed content."""

    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None
    etag: str
    size_bytes: int
    transcript: Transcript | None = None
    has_failed: bool = False
    is_restartable: bool = False
    """Whether it failed for another reason than the recording itself."""
    failure_reason: str | None = None
    finished_at: datetime | None = None
    """When it was transcribed or has failed. None also for a row of an older release."""

    @property
    def has_no_answer(self) -> bool:
        """True if it was read completely, and nothing but noise was found."""
        return self.has_failed and self.failure_reason in (NO_SPEECH, NOT_INTELLIGIBLE)

    @property
    def is_finished(self) -> bool:
        """True once the recording was transcribed or can never be transcribed."""
        return self.transcript is not None or self.has_failed
