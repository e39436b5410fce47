"""An OpenAITranscriber without a child process: its recording is decoded already."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from coach_ai.domain import AcousticFeatures
from coach_ai.openai.recording_splitter import Chunk, SplitRecording
from coach_ai.openai.request_forms import SpeechForm
from coach_ai.openai.transcriber import OpenAITranscriber
from coach_ai.ports import ProgressCallback
from coach_ai.speech.audio import SAMPLE_RATE
from coach_ai.speech.chunking import encode_opus, encode_wav

RECORDING_SECONDS = 40.0


class DecodedTranscriber(OpenAITranscriber):
    """Sends chunks of a recording of 40 s. The audio of each chunk is one second of silence."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, splitter=_DecodedSplitter(), **options)


class _DecodedSplitter:
    async def split(
        self, recording: Path, directory: Path, form: SpeechForm, on_progress: ProgressCallback
    ) -> SplitRecording:
        chunks: list[Chunk] = []
        begin = 0.0
        while begin < RECORDING_SECONDS:
            seconds = min(RECORDING_SECONDS - begin, form.chunk_seconds)
            file = directory / f"{len(chunks)}"
            file.write_bytes(_audio(is_wav=form.is_wav))
            media_type = "audio/wav" if form.is_wav else "audio/ogg"
            chunks.append(
                Chunk(
                    file, media_type, begin, seconds,
                    can_convert=not form.is_wav, can_split=True,
                )
            )  # fmt: skip
            begin += seconds
        return SplitRecording(
            tuple(chunks),
            RECORDING_SECONDS,
            silences=(),
            acoustic_features=AcousticFeatures(None, None, 0.0, (), ()),
        )

    async def close(self) -> None:
        """There is nothing to stop."""


@functools.cache
def _audio(*, is_wav: bool) -> bytes:
    silence = np.zeros(SAMPLE_RATE, np.float32)
    return encode_wav(silence) if is_wav else encode_opus(silence)
