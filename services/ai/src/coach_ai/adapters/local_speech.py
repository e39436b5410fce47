"""Local speech recognition: child processes with a Whisper model, kept warm."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from coach_ai.adapters import speech_model
from coach_ai.adapters.speech_process import SpeechProcess
from coach_ai.domain import Silence, Sound, Transcript, Word
from coach_ai.ports import Tell, nobody
from coach_common.errors import Unavailable

PROVIDER = "local"


class LocalTranscriber:
    """A Transcriber over `processes` children, which share the processors; a recording each."""

    def __init__(self, model_folder: Path | None, processes: int = 1) -> None:
        self._folder = model_folder
        threads = max(1, min(4, os.cpu_count() or 1) // max(1, processes))
        self.processes = [SpeechProcess(model_folder, threads) for _ in range(max(1, processes))]
        self._idle = asyncio.Queue[SpeechProcess]()
        for process in self.processes:
            self._idle.put_nowait(process)

    async def transcribe(self, recording: Path, tell: Tell = nobody) -> Transcript:
        """Return the words, with times, and the silences."""
        await self.check()
        async with self._turn() as process:
            said = await process.ask({"path": str(recording)}, tell)
        return _transcript(said["transcript"], speech_model.name_of(self._folder))

    async def warm_up(self) -> None:
        """Start the children ahead of the first recording."""
        await self.check()
        for _ in self.processes:
            async with self._turn() as process:
                await process.ask({})

    async def check(self) -> None:
        """Raise Unavailable where there is no model."""
        try:
            speech_model.resolve(self._folder)
        except speech_model.ModelMissing as error:
            raise Unavailable(str(error)) from None

    async def close(self) -> None:
        """End the children."""
        await asyncio.gather(*(process.kill() for process in self.processes))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[SpeechProcess]:
        process = await self._idle.get()
        try:
            yield process
        finally:
            self._idle.put_nowait(process)


def _transcript(said: dict[str, Any], model: str) -> Transcript:
    return Transcript(
        text=said["text"],
        language=said["language"],
        duration_seconds=said["duration_seconds"],
        provider=PROVIDER,
        model=model,
        words=tuple(Word(*word) for word in said["words"]),
        silences=tuple(Silence(**silence) for silence in said["silences"]),
        sound=Sound.of(said["sound"]),
    )
