"""An OpenAITranscriber without a child process: its recording is decoded already."""

import functools
from pathlib import Path

import numpy as np

from coach_ai.domain import AcousticFeatures, AudioAnalysis
from coach_ai.openai.request_forms import SpeechForm
from coach_ai.openai.transcriber import Chunk, OpenAITranscriber
from coach_ai.ports import ProgressCallback
from coach_ai.speech.audio import SAMPLE_RATE
from coach_ai.speech.chunking import encode_opus, encode_wav

RECORDING_SECONDS = 40.0

_ANALYSIS = AudioAnalysis(RECORDING_SECONDS, (), AcousticFeatures(None, None, 0.0, (), ()))


class DecodedTranscriber(OpenAITranscriber):
    """Sends chunks of a recording of 40 s. The audio of each chunk is one second of silence."""

    async def _split(
        self, recording: Path, directory: Path, form: SpeechForm, on_progress: ProgressCallback
    ) -> tuple[AudioAnalysis, list[Chunk]]:
        chunks: list[Chunk] = []
        begin = 0.0
        while begin < RECORDING_SECONDS:
            end = min(RECORDING_SECONDS, begin + form.chunk_seconds)
            file = directory / f"{len(chunks)}"
            file.write_bytes(_audio(is_wav=form.is_wav))
            chunks.append(Chunk(begin, end, file))
            begin = end
        return _ANALYSIS, chunks


@functools.cache
def _audio(*, is_wav: bool) -> bytes:
    silence = np.zeros(SAMPLE_RATE, np.float32)
    return encode_wav(silence) if is_wav else encode_opus(silence)
