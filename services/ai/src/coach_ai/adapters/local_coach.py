"""The local coach: judgement and conversation without a language model and without a network."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from coach_ai.adapters import local_chat
from coach_ai.adapters.embeddings import Embeddings
from coach_ai.adapters.local_judge import LocalJudge
from coach_ai.domain import Answer, Judgement, Message, Talk, extract


class LocalCoach:
    """A Coach without a language model. Deterministic."""

    def __init__(self, embeddings: Embeddings | None = None) -> None:
        self._embeddings = embeddings
        self._judge = LocalJudge(embeddings)

    async def judge(self, answer: Answer) -> Judgement:
        """Judge by signals; without enough to go on, say so and give no score."""
        return await asyncio.to_thread(self._judge.judge, answer)

    async def reply(self, talk: Talk) -> AsyncGenerator[str, None]:
        """Answer from the handbook, with the person's own feedback where it fits."""
        for piece in await asyncio.to_thread(local_chat.reply, talk, self._embeddings):
            yield piece

    async def summarise(self, summary: str, messages: Sequence[Message], *, budget: int) -> str:
        """Say how each turn began."""
        return extract(summary, messages, budget=budget)

    async def check(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """Nothing to give back."""
