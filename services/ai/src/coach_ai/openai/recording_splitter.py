"""How recordings are prepared for OpenAI's API.

With a decoder they are re-encoded and split at silences. Without one they are sent unchanged, and
only WAV files are split and cut after 30 minutes.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from coach_ai.domain import (
    AcousticFeatures,
    AudioAnalysis,
    AudioCoverage,
    AudioGap,
    CannotTranscribe,
    GapReason,
    Silence,
)
from coach_ai.openai import wav
from coach_ai.openai.request_forms import SpeechForm
from coach_ai.ports import ProgressCallback
from coach_ai.speech.process import AUDIO_ANALYSIS, UNREADABLE_MESSAGE, SpeechProcess
from coach_common.recordings import MAGIC_BYTES_LENGTH, MAX_RECORDING_SECONDS, Format, detect_format

MAX_FILE_BYTES = 25_000_000
"""Limit of OpenAI's API for one file."""

_TOO_LARGE = "This recording is larger than the 25 MB that the AI provider accepts."
_EMPTY = "This recording is empty."
_WAV_HEADER_BYTES = 1_000
"""More than the header of a WAV file takes."""
_MIN_BYTES_PER_SECOND = 500
"""Phones record at least 4 kbit/s. Longer audio than this allows is not expected in a file."""
_PROVIDER_TYPES = {Format.MPEG_AUDIO: "audio/mp3", Format.CAF: "audio/caf"}
"""Media types whose second part is the file extension that providers expect."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of the recording that is sent in one request, as a separate file.

    `seconds` is the length of the audio, or its upper bound if the recording was not decoded.
    """

    path: Path
    media_type: str
    begin: float
    seconds: float
    can_convert: bool = False
    """Whether the same audio can be encoded in another format."""
    can_split: bool = False
    """Whether the same audio can be sent in shorter chunks."""

    @property
    def end(self) -> float:
        """Where the chunk ends in the recording."""
        return self.begin + self.seconds

    @property
    def file_name(self) -> str:
        """A name that tells the server the format of the file."""
        return f"answer.{self.media_type.rpartition('/')[2]}"


@dataclass(frozen=True, slots=True)
class SplitRecording:
    """The chunks of a recording, and what is known about its audio before its transcript."""

    chunks: tuple[Chunk, ...]
    duration_seconds: float | None
    """None if only the provider can measure it."""
    silences: tuple[Silence, ...] | None = None
    acoustic_features: AcousticFeatures | None = None
    coverage: AudioCoverage | None = None

    @property
    def sent_seconds(self) -> float:
        """The length of the audio that is sent, or its upper bound."""
        return round(sum(chunk.seconds for chunk in self.chunks), 3)


class RecordingSplitter(Protocol):
    """Prepares recordings for a provider."""

    async def split(
        self, recording: Path, directory: Path, form: SpeechForm, on_progress: ProgressCallback
    ) -> SplitRecording:
        """Return the chunks of a recording, and write their files to the directory if necessary.

        Raises:
            CannotTranscribe: If the recording cannot be sent.
            Unavailable: If the machine has a fault.
        """

    async def close(self) -> None:
        """Stop child processes."""


class DecodingSplitter:
    """A RecordingSplitter that decodes recordings, in a child process.

    Recordings without speech are not sent. Mono Opus at 32 kbit/s keeps half an hour under the
    limit of 25 MB.
    """

    def __init__(self) -> None:
        self._process = SpeechProcess(None, threads=1)
        self._lock = asyncio.Lock()

    async def split(
        self, recording: Path, directory: Path, form: SpeechForm, on_progress: ProgressCallback
    ) -> SplitRecording:
        """Decode the recording, and write its chunks to the directory."""
        async with self._lock:
            response = await self._process.request(
                {
                    "path": str(recording),
                    "chunks_dir": str(directory),
                    "max_seconds": form.chunk_seconds,
                    "is_wav": form.is_wav,
                },
                on_progress,
            )
        analysis: AudioAnalysis = AUDIO_ANALYSIS.validate_python(response["analysis"])
        media_type = "audio/wav" if form.is_wav else "audio/ogg"
        return SplitRecording(
            tuple(
                Chunk(
                    Path(file),
                    media_type,
                    begin,
                    end - begin,
                    can_convert=not form.is_wav,
                    can_split=True,
                )
                for begin, end, file in response["chunks"]
            ),
            analysis.duration_seconds,
            analysis.silences,
            analysis.acoustic_features,
            analysis.coverage,
        )

    async def close(self) -> None:
        """Stop the child process."""
        await self._process.kill()


class UnchangedSplitter:
    """A RecordingSplitter without a decoder. It sends the recording as it is.

    WAV files are split in quiet places, and cut after 30 minutes. Other formats are sent whole, up
    to 25 MB. The audio is not analysed.
    """

    async def split(
        self, recording: Path, directory: Path, form: SpeechForm, on_progress: ProgressCallback
    ) -> SplitRecording:
        """Return the recording as one chunk, or the chunks of a WAV file."""
        return await asyncio.to_thread(_split_unchanged, recording, directory, form)

    async def close(self) -> None:
        """There is nothing to stop."""


def _split_unchanged(recording: Path, directory: Path, form: SpeechForm) -> SplitRecording:
    with recording.open("rb") as file:
        media_type = _identify(file.read(MAGIC_BYTES_LENGTH))
    duration = wav.read_duration(recording) if media_type == "audio/wav" else None
    if duration is not None:
        return _split_wav(recording, directory, form, duration)
    size = recording.stat().st_size
    if size > MAX_FILE_BYTES:
        raise CannotTranscribe(_TOO_LARGE)
    longest = min(float(MAX_RECORDING_SECONDS), size / _MIN_BYTES_PER_SECOND)
    return SplitRecording((Chunk(recording, media_type, 0.0, longest),), None)


def _split_wav(
    recording: Path, directory: Path, form: SpeechForm, duration: float
) -> SplitRecording:
    parts = wav.split(
        recording,
        directory,
        max_seconds=form.chunk_seconds,
        max_bytes=MAX_FILE_BYTES - _WAV_HEADER_BYTES,
        end_seconds=MAX_RECORDING_SECONDS,
    )
    gaps: tuple[AudioGap, ...] = ()
    if duration > MAX_RECORDING_SECONDS:
        gaps = (AudioGap(float(MAX_RECORDING_SECONDS), round(duration, 2), GapReason.TOO_LONG),)
    return SplitRecording(
        tuple(
            Chunk(part.path, "audio/wav", part.begin, part.seconds, can_split=True)
            for part in parts
        ),
        round(duration, 3),
        coverage=AudioCoverage(
            round(duration, 3), round(sum(part.seconds for part in parts), 3), gaps
        ),
    )


def _identify(head: bytes) -> str:
    """Return the media type of a recording by its first bytes.

    Raises:
        CannotTranscribe: If they begin no format of recordings.
    """
    if not head:
        raise CannotTranscribe(_EMPTY)
    found = detect_format(head)
    if found is None:
        raise CannotTranscribe(UNREADABLE_MESSAGE)
    return _PROVIDER_TYPES.get(found, found.value)
