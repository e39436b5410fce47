"""What a turn of the interviewer has to say, and the interviewer that words it by fixed rules."""

from dataclasses import dataclass

from coach_ai.domain import PointCoverage
from coach_ai.interview.flow import Decision, Step, join_answer
from coach_ai.interview.model import Intent, Interview, Turn, WordingMethod
from coach_ai.interview.wording import write_probe, write_response
from coach_ai.token_usage import TokenUsage


@dataclass(frozen=True, slots=True)
class TurnToWord:
    """A decision of the rules, and the interview that led to it. All texts are data.

    `turns` are the stored turns, oldest first. `message` is the candidate's new one. `coverage` is
    how the answer treats the expected points of the open question, if they were checked.
    """

    interview: Interview
    turns: tuple[Turn, ...]
    intent: Intent
    message: str
    decision: Decision
    coverage: tuple[PointCoverage, ...] = ()

    @property
    def is_reaction(self) -> bool:
        """True if the turn reacts to an answer and asks something. Only these turns are worded."""
        return self.intent is Intent.ANSWER and self.decision.step in (Step.NEXT, Step.FOLLOW_UP)

    @property
    def answer(self) -> str:
        """All parts of the answer to the open question, the new message included."""
        return join_answer(self.turns, self.interview.question_number, self.message)

    @property
    def asked(self) -> str:
        """What the rules ask: the next planned question, or the question of the follow-up."""
        decision = self.decision
        if decision.gap is not None:
            return write_probe(decision.gap, decision.follow_ups)
        return "" if decision.question is None else decision.question.question.text


class RuleInterviewer:
    """An Interviewer without a language model. Deterministic."""

    method = WordingMethod.RULES

    def max_tokens_needed(self, turn: TurnToWord) -> int:
        """Return 0: no language model is used."""
        return 0

    async def word_turn(self, turn: TurnToWord, usage: TokenUsage) -> str:
        """Return the phrases of the persona around the decision."""
        return write_response(turn.interview.setup.persona, turn.decision)

    async def close(self) -> None:
        """There is nothing to close."""
