"""Live speech by the local model: a child of its own, for a long recording would stand before."""

import asyncio
from pathlib import Path

from coach_ai.adapters import speech_model
from coach_ai.adapters.speech_process import SpeechProcess
from coach_ai.agreement import Hypothesis
from coach_ai.domain import Word
from coach_common.errors import Unavailable


class LocalLiveSpeech:
    """What is being said, heard again and again; one hypothesis at a time, first come first."""

    def __init__(self, model_folder: Path | None) -> None:
        self._folder = model_folder
        self._process = SpeechProcess(model_folder, threads=2)
        self._turn = asyncio.Lock()

    async def hear(
        self, spool: Path, *, rate: int | None, begin: float, language: str | None
    ) -> tuple[Hypothesis, str | None] | None:
        """Return what is said from `begin` to the end of the spool so far, and in what language;
        None where that is nothing new.

        `rate` is that of raw 16-bit mono; None: a container that can be read while it grows.
        """
        try:
            speech_model.resolve(self._folder)
        except speech_model.ModelMissing as error:
            raise Unavailable(str(error)) from None
        async with self._turn:
            said = await self._process.ask(
                {"path": str(spool), "rate": rate, "begin": begin, "language": language}
            )
        heard = said["heard"]
        if heard is None:
            return None
        words = tuple(Word(*word) for word in heard["words"])
        return Hypothesis(words, heard["end"], heard["pause"]), heard["language"]

    async def close(self) -> None:
        """End the child."""
        await self._process.kill()
