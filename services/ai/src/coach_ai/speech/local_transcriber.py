"""Local speech recognition: child processes that keep a Whisper model loaded."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from coach_ai.domain import AudioAnalysis, AudioCoverage, AudioGap, Transcript, Word
from coach_ai.ports import ProgressCallback, ignore_progress
from coach_ai.speech import whisper_model
from coach_ai.speech.process import AUDIO_ANALYSIS, SpeechProcess
from coach_ai.token_usage import TokenBudget
from coach_common.errors import Unavailable

PROVIDER = "local"
GAPS = TypeAdapter(list[AudioGap])

_MAX_THREADS = 4


class LocalTranscriber:
    """A Transcriber over child processes that share the processors. Each takes one recording."""

    def __init__(self, model_dir: Path | None, processes: int = 1) -> None:
        self._model_dir = model_dir
        threads = max(1, min(_MAX_THREADS, os.cpu_count() or 1) // max(1, processes))
        self.processes = [SpeechProcess(model_dir, threads) for _ in range(max(1, processes))]
        self._idle = asyncio.Queue[SpeechProcess]()
        for process in self.processes:
            self._idle.put_nowait(process)

    async def transcribe(
        self,
        recording: Path,
        on_progress: ProgressCallback = ignore_progress,
        *,
        prompt: str = "",
        budget: TokenBudget | None = None,
    ) -> Transcript:
        """Return the transcript with word times, silences and acoustic features."""
        await self.check()
        async with self._borrow_process() as process:
            response = await process.request(
                {"path": str(recording), "prompt": prompt}, on_progress
            )
        return _parse_transcript(response, whisper_model.get_name(self._model_dir))

    async def warm_up(self) -> None:
        """Start the child processes and load their models."""
        await self.check()
        for _ in self.processes:
            async with self._borrow_process() as process:
                await process.request({})

    async def check(self) -> None:
        """Raise Unavailable if there is no model."""
        try:
            whisper_model.resolve(self._model_dir)
        except whisper_model.ModelMissing as error:
            raise Unavailable(str(error)) from None

    async def close(self) -> None:
        """Stop the child processes."""
        await asyncio.gather(*(process.kill() for process in self.processes))

    @asynccontextmanager
    async def _borrow_process(self) -> AsyncIterator[SpeechProcess]:
        process = await self._idle.get()
        try:
            yield process
        finally:
            self._idle.put_nowait(process)


def _parse_transcript(response: Mapping[str, Any], model: str) -> Transcript:
    transcript = response["transcript"]
    analysis: AudioAnalysis = AUDIO_ANALYSIS.validate_python(response["analysis"])
    return Transcript(
        text=transcript["text"],
        language=transcript["language"],
        duration_seconds=analysis.duration_seconds,
        provider=PROVIDER,
        model=model,
        words=tuple(Word(*word) for word in transcript["words"]),
        silences=analysis.silences,
        acoustic_features=analysis.acoustic_features,
        coverage=_add_gaps(analysis.coverage, GAPS.validate_python(transcript["gaps"])),
    )


def _add_gaps(coverage: AudioCoverage | None, gaps: list[AudioGap]) -> AudioCoverage | None:
    if coverage is None or not gaps:
        return coverage
    lost_seconds = sum(gap.end - gap.start for gap in gaps)
    return AudioCoverage(
        coverage.duration_seconds,
        round(max(0.0, coverage.heard_seconds - lost_seconds), 3),
        tuple(sorted((*coverage.gaps, *gaps), key=lambda gap: gap.start)),
    )
