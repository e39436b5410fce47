"""Recordings, transcripts and acoustic features. Times are seconds from the recording's start."""

from dataclasses import dataclass
from uuid import UUID

from coach_common.errors import CoachError


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


@dataclass(frozen=True, slots=True)
class AudioAnalysis:
    """Everything that is known about a recording before its transcript."""

    duration_seconds: float
    silences: tuple[Silence, ...]
    acoustic_features: AcousticFeatures


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the transcription of a long recording."""

    done_seconds: float
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """The transcript of a recording.

    `words` is empty if the provider returned no word times. `silences` and `acoustic_features` are
    None if the audio was not analysed.
    """

    text: str
    language: str
    duration_seconds: float
    provider: str
    model: str
    words: tuple[Word, ...] = ()
    silences: tuple[Silence, ...] | None = None
    acoustic_features: AcousticFeatures | None = None


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
