"""The local coach: judgement and conversation without a model and without a network."""

from collections.abc import Sequence

from coach_ai.adapters import handbook
from coach_ai.adapters.local_judge import LocalJudge
from coach_ai.domain import Answer, Judgement, Message, PastSession


class LocalCoach:
    """A Coach without a model. Deterministic."""

    def __init__(self) -> None:
        self._judge = LocalJudge()

    async def judge(self, answer: Answer) -> Judgement:
        """Judge by signals; without enough to go on, say so and give no score."""
        return self._judge.judge(answer)

    async def reply(self, conversation: Sequence[Message], past: Sequence[PastSession]) -> str:
        """Answer from the handbook, with the person's own feedback where it fits."""
        return handbook.reply(conversation, past)

    async def check(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """Nothing to give back."""
