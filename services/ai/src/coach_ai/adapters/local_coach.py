"""The local coach: judgement and conversation without a language model and without a network.

`python -m coach_ai.adapters.local_coach` checks the embeddings once, after an installation, and
keeps the vectors of the handbook and of the questions: else the first turn makes them.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence

from coach_ai.adapters import embeddings, handbook, local_chat
from coach_ai.adapters.embeddings import Embeddings
from coach_ai.adapters.local_judge import LocalJudge, nearness
from coach_ai.domain import Answer, Judgement, Message, Talk, extract
from coach_ai.spending import Spent


class LocalCoach:
    """A Coach without a language model. Deterministic."""

    def __init__(self, meaning: Embeddings | None = None) -> None:
        self._meaning = meaning
        self._judge = LocalJudge(meaning)

    def most_tokens(self, work: Answer | Talk) -> int:
        """It has no model."""
        return 0

    async def judge(self, answer: Answer, spent: Spent) -> Judgement:
        """Judge by signals; without enough to go on, say so and give no score."""
        return await asyncio.to_thread(self._judge.judge, answer)

    async def reply(self, talk: Talk, spent: Spent) -> AsyncGenerator[str, None]:
        """Answer from the handbook, with the person's own feedback where it fits."""
        for piece in await asyncio.to_thread(local_chat.reply, talk, self._meaning):
            yield piece

    async def summarise(
        self, summary: str, messages: Sequence[Message], spent: Spent, *, budget: int
    ) -> str:
        """Say how each turn began."""
        return extract(summary, messages, budget=budget)

    async def check(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """Nothing to give back."""


def main() -> int:
    """Check the installed model, and make what is kept."""
    folder = embeddings.installed()
    if folder is None:
        print(f"The package {embeddings.PACKAGE} is not there: the local coach goes by words.")
        return 0
    try:
        embeddings.check(folder)
    except (embeddings.EmbeddingsWrong, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    meaning = Embeddings(folder, embeddings.default_keep())
    handbook.search("What is STAR?", meaning)
    nearness.bank(meaning)
    print("The embeddings are checked.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
