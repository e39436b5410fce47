"""The local coach: judgement and conversation without a model and without a network."""

from collections.abc import AsyncGenerator, Sequence

from coach_ai.adapters import local_chat
from coach_ai.adapters.local_judge import LocalJudge
from coach_ai.domain import Answer, Judgement, Message, Talk, extract
from coach_ai.spending import Spent


class LocalCoach:
    """A Coach without a model. Deterministic."""

    def __init__(self) -> None:
        self._judge = LocalJudge()

    def most_tokens(self, work: Answer | Talk) -> int:
        """It has no model."""
        return 0

    async def judge(self, answer: Answer, spent: Spent) -> Judgement:
        """Judge by signals; without enough to go on, say so and give no score."""
        return self._judge.judge(answer)

    async def reply(self, talk: Talk, spent: Spent) -> AsyncGenerator[str, None]:
        """Answer from the handbook, with the person's own feedback where it fits."""
        for piece in local_chat.reply(talk):
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
